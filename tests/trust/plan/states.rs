//! `logsidecar explain` and `logsidecar status`, for each state that a workload can be in where no pod ever runs.

use serde_json::Value;

use crate::{
    kubernetes::eventually,
    plan::Answer,
    stage::{SIDECAR, Stage},
};

/// What `explain` says of one LogSidecar.
fn block(stage: &Stage, sidecar: &str) -> Value {
    let explained = stage.ask(&["explain", "deployment/web", "-o", "json"]);
    assert_eq!(explained.code, Some(0), "{explained:?}");
    let blocks = explained.json()["sidecars"].as_array().cloned().unwrap_or_default();
    blocks.into_iter().find(|block| block["sidecar"] == sidecar).unwrap_or_else(|| panic!("{explained:?}"))
}

/// The reason in both answers, which have to agree.
fn reason(stage: &Stage, sidecar: &str) -> String {
    // Between the two questions something may have happened.
    eventually("both to agree", || {
        let status = stage.ask(&["status", sidecar, "-o", "json"]).json();
        let in_status = status["targets"][0]["reason"].as_str().unwrap_or_default();
        (block(stage, sidecar)["reason"] == in_status).then(|| in_status.to_owned())
    })
}

fn becomes(stage: &Stage, sidecar: &str, expected: &str) {
    eventually(expected, || (reason(stage, sidecar) == expected).then_some(()));
}

fn change(stage: &Stage, patch: &str) {
    stage.run(&format!("kubectl patch logsidecar ship --type=merge -p '{patch}'"));
}

#[test]
fn each_state_of_a_workload_is_explained() {
    let stage = Stage::new("explain");
    stage.run("kubectl apply -f web.yaml");
    let empty = stage.ask(&["explain", "deploy/web"]);
    let told = format!("Deployment {0}/web\nThere is no LogSidecar in namespace {0}.\n", stage.namespace.name);
    eventually("the Deployment to be observed", || (stage.ask(&["explain", "deploy/web"]).stdout == told).then_some(()));
    assert_eq!(empty.code, Some(0));

    // Nobody acts on it yet.
    stage.namespace.apply(SIDECAR);
    assert_eq!(reason(&stage, "ship"), "Pending");
    assert_eq!(
        block(&stage, "ship")["change"],
        "would be changed: +initContainers/ship, +volumes/logs-app-var-log-app, +mounts/app:/var/log/app"
    );

    let controller = stage.controller();
    controller.start();
    becomes(&stage, "ship", "Available");
    let there = block(&stage, "ship");
    let states: Vec<&Value> = there["items"].as_array().expect("a list").iter().map(|item| &item["state"]).collect();
    assert_eq!(states, ["AsPutIn"; 3]);
    assert_eq!((&there["matches"], &there["isCurrent"]), (&true.into(), &true.into()));

    change(&stage, r#"{"spec": {"suspend": true}}"#);
    becomes(&stage, "ship", "Suspended");
    change(&stage, r#"{"spec": {"suspend": false}}"#);
    becomes(&stage, "ship", "Available");

    stage.run("kubectl label deployment web logsidecar.dev/inject=false");
    becomes(&stage, "ship", "OptedOut");
    assert_eq!(block(&stage, "ship")["items"], Value::Array(Vec::new()));
    assert_eq!(block(&stage, "ship")["remedy"], "remove the label logsidecar.dev/inject from the workload to have it injected");
    stage.run("kubectl label deployment web logsidecar.dev/inject-");
    becomes(&stage, "ship", "Available");

    stage.run("kubectl rollout pause deployment web");
    becomes(&stage, "ship", "Paused");
    stage.run("kubectl rollout resume deployment web");
    becomes(&stage, "ship", "Available");

    change(&stage, r#"{"spec": {"rollout": {"mode": "Plan"}}}"#);
    change(&stage, r#"{"spec": {"logs": [{"name": "app", "directory": "/var/log/other"}]}}"#);
    becomes(&stage, "ship", "Planned");
    change(&stage, r#"{"spec": {"logs": [{"name": "app", "directory": "/var/log/app", "container": "nobody"}]}}"#);
    becomes(&stage, "ship", "ContainerNotFound");
    let refused = block(&stage, "ship");
    assert_eq!(refused["remedy"], "", "the message says it: {refused}");
    change(&stage, r#"{"spec": {"rollout": null, "logs": [{"name": "app", "directory": "/var/log/app"}]}}"#);
    becomes(&stage, "ship", "Available");

    // What somebody changes while nobody is there to put it back.
    controller.proxy.kill();
    stage.run("kubectl set image deployment/web ship=other:1");
    let spoilt = block(&stage, "ship");
    assert_eq!((&spoilt["items"][0]["state"], &spoilt["reason"]), (&"Changed".into(), &"Pending".into()));
    assert_eq!(spoilt["change"], "would be changed: ~initContainers/ship");

    stage.run("kubectl get deployment web -o jsonpath='{.metadata.annotations.logsidecar\\.dev/injected}' > ledger");
    stage.run("kubectl annotate deployment web --overwrite logsidecar.dev/injected='{'");
    let plan = stage.ask(&["plan"]);
    assert_eq!(plan.code, Some(2), "{plan:?}");
    assert!(plan.stdout.contains("  Blocked: LedgerUnreadable: the annotation logsidecar.dev/injected is not readable: "));
    assert_eq!(reason(&stage, "ship"), "LedgerUnreadable");
    stage.run("kubectl annotate deployment web --overwrite logsidecar.dev/injected=\"$(cat ledger)\"");

    change(&stage, r#"{"spec": {"target": {"name": "api"}}}"#);
    let other = block(&stage, "ship");
    assert_eq!((&other["matches"], &other["mismatch"]), (&false.into(), &"it is for the name api".into()));
    assert_eq!(other["change"], "it would be taken out");
    stage.run("kubectl delete logsidecar ship --wait=false");
    assert_eq!(reason(&stage, "ship"), "Removing");
    stage.run("kubectl annotate deployment web --overwrite logsidecar.dev/injected=\"broken $(cat ledger)\"");
    assert_eq!(reason(&stage, "ship"), "LedgerUnreadable");

    stage.run("kubectl patch logsidecar ship --type=merge -p '{\"metadata\": {\"finalizers\": null}}'");
}

#[test]
fn a_rollout_that_was_halted_is_told_by_whoever_asks() {
    let stage = Stage::new("explain");
    stage.run("kubectl apply -f web.yaml");
    stage.run("sed 's/name: web$/name: api/' web.yaml | kubectl apply -f -");
    stage.run("kubectl label deployment web api tier=front");
    stage.namespace.apply(&SIDECAR.replace("name: web", "selector: {matchLabels: {tier: front}}"));
    let controller = stage.controller();
    controller.start();
    becomes(&stage, "ship", "Available");
    controller.proxy.kill();

    // As a controller would have left it.
    let live = stage.namespace.json(&["get", "logsidecar", "ship"]);
    let generation = live["metadata"]["generation"].as_i64().expect("a number") + 1;
    stage.run("kubectl label deployment api tier-");
    stage.run("kubectl delete deployment api");
    stage
        .run("sed 's/name: web$/name: api/' web.yaml | sed 's/^  name: api/&\\n  labels: {tier: front}/' | kubectl apply -f -");
    let revision = live["status"]["rollout"]["revision"].as_str().expect("a revision");
    let halted = format!(
        r#"{{"status": {{"rollout": {{"stage": "Halted", "generation": {}, "revision": "{revision}", "haltedAt": {{"apiGroup": "apps", "kind": "Deployment", "name": "web", "cause": "it crashed"}}}}}}}}"#,
        generation - 1
    );
    stage.run(&format!("kubectl patch logsidecar ship --subresource=status --type=merge -p '{halted}'"));
    let status = stage.ask(&["status"]);
    assert!(status.stdout.contains("rollout Halted at Deployment web: it crashed\n"), "{status:?}");
    let plan = stage.ask(&["plan"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    let told = "  LeftAlone: Halted: left as it is: the rollout was halted at Deployment web: it crashed\n";
    assert!(plan.stdout.contains(told), "{plan:?}");
    // Any change of the spec is another try.
    let suspended = "suspend: false, deletionPolicy: Orphan, target: {selector: {matchLabels: {tier: front}}";
    stage.write("next.yaml", &SIDECAR.replace("target: {name: web", suspended));
    let next = stage.ask(&["plan", "-f", "next.yaml"]);
    assert_eq!(next.code, Some(1), "{next:?}");
    controller.start();
    stage.uninject();
}

#[test]
fn what_stops_the_new_pods_is_told_before_they_are_made() {
    let stage = Stage::new("explain");
    stage.run("kubectl apply -f web.yaml && kubectl scale deployment web --replicas=2");
    stage.run("kubectl create quota small --hard=limits.memory=1Mi");
    stage.namespace.apply(SIDECAR);
    let plan = stage.ask(&["plan"]);
    assert_eq!(plan.code, Some(2), "{plan:?}");
    assert!(plan.stdout.contains("  (LogSidecar ship)  Blocked: ResourceQuota small"), "{plan:?}");
    let explained = block(&stage, "ship");
    assert_eq!(explained["reason"], "Blocked", "{explained}");
    assert!(explained["message"].as_str().is_some_and(|message| message.contains("small")), "{explained}");
    stage.run("kubectl patch logsidecar ship --type=merge -p '{\"metadata\": {\"finalizers\": null}}'");
}

#[test]
fn pods_and_jobs_lead_to_the_workload_that_makes_them() {
    let stage = Stage::new("explain");
    stage.run("kubectl apply -f web.yaml && kubectl scale deployment web --replicas=1");
    stage.run(
        "kubectl create cronjob tick --image=busybox --schedule='0 0 1 1 *' && kubectl create job once --from=cronjob/tick",
    );
    let pod = eventually("a pod", || {
        let pod = stage.run("kubectl get pods -l app=web -o jsonpath='{.items[*].metadata.name}'");
        (!pod.is_empty()).then_some(pod)
    });
    let namespace = &stage.namespace.name;
    let Answer { stdout, code, .. } = stage.ask(&["explain", "po", &pod]);
    let expected = format!(
        "Pod {namespace}/{pod}\nA Pod cannot be changed once it runs: the controller does not touch it.\nIt belongs to Deployment web: `logsidecar explain deployments/web -n {namespace}`\n"
    );
    assert_eq!((stdout, code), (expected, Some(0)));
    let job = stage.ask(&["explain", "job/once"]);
    assert!(job.stdout.contains("It belongs to CronJob tick: `logsidecar explain cronjobs/tick -n "), "{job:?}");
    let alone = stage.ask(&["explain", "sts/none"]);
    let told = format!("error: statefulsets none in namespace {namespace} not found\n");
    assert_eq!((alone.stdout.as_str(), alone.stderr, alone.code), ("", told, Some(1)));
}

#[test]
fn kubectl_finds_it_as_a_plugin() {
    let stage = Stage::new("explain");
    stage.namespace.apply(SIDECAR);
    let binary = env!("CARGO_BIN_EXE_logsidecar");
    stage.run(&format!("cp {binary} kubectl-logsidecar"));
    let status = stage.run("PATH=$PWD:$PATH kubectl logsidecar status -n $NAMESPACE");
    assert!(status.starts_with(&format!("LogSidecar {}/ship: no conditions yet; 0 matched", stage.namespace.name)), "{status}");
    let all = stage.run("PATH=$PWD:$PATH kubectl logsidecar status --all-namespaces -o yaml");
    assert!(all.contains(&format!("namespace: {}", stage.namespace.name)), "{all}");
    let usage = stage.shell("PATH=$PWD:$PATH kubectl logsidecar explain").expect_err("wrong usage");
    assert!(usage.contains("Usage: kubectl logsidecar explain "), "{usage}");
    stage.run("kubectl patch logsidecar ship --type=merge -p '{\"metadata\": {\"finalizers\": null}}'");
}
