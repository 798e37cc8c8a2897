//! Policies beside the controller: it finds nothing to do but to note what is there, and takes it out again when its time comes.

use logsidecar::workload::kind::Kind;
use serde_json::{Value, json};

use crate::{
    kubernetes::eventually,
    policies::{Policies, converted, created, entries, in_force, ledger, object},
    stage::{SIDECAR, Stage, WORKLOAD},
};

fn rolls_out_once(case: &str, apply: &str) {
    let stage = Stage::new(case);
    let web = object(WORKLOAD);
    let plain = created(&stage, &web)["spec"]["template"].clone();
    stage.namespace.apply(SIDECAR);
    let _policies = Policies::of(&stage, SIDECAR);
    let admitted = in_force(&stage, &web, 1)["spec"]["template"].clone();
    let controller = stage.controller();
    controller.start();
    stage.run(apply);
    stage.namespace.wait_ready("ship");
    stage.converges();
    let taken = stage.namespace.json(&["get", "deployment", "web"]);
    assert_eq!(entries(&taken), [("ship".to_owned(), "controller".to_owned())]);
    assert_eq!(ledger(&taken).expect("a ledger")["sidecars"][0]["items"].as_object().expect("items").len(), 3);
    assert_eq!((stage.templates(), stage.namespace.rollouts("web")), (1, 1), "the controller has changed the template");
    assert_eq!(stage.template(), admitted);
    // Its owner sees nothing of it.
    stage.run(&format!("{apply}; {}", apply.replace("apply", "diff")));
    assert_eq!(stage.templates(), 1);
    stage.uninject();
    assert_eq!(stage.template(), plain);
    assert_eq!(ledger(&stage.namespace.json(&["get", "deployment", "web"])), None);
}

#[test]
fn a_new_deployment_rolls_out_once_and_is_given_back_as_it_was() {
    rolls_out_once("policy-apply", "kubectl apply -f web.yaml");
    rolls_out_once("policy-server-side", "kubectl apply --server-side -f web.yaml");
}

#[test]
fn what_was_created_while_the_controller_was_away_is_taken_over() {
    let stage = Stage::new("policy-away");
    stage.namespace.apply(SIDECAR);
    let before = created(&stage, &object(WORKLOAD))["spec"]["template"].clone();
    let policies = Policies::of(&stage, SIDECAR);
    let web = in_force(&stage, &object(WORKLOAD), 1);
    stage.run("kubectl apply -f web.yaml");
    assert_eq!(stage.template(), web["spec"]["template"]);
    drop(policies);
    let controller = stage.controller();
    controller.start();
    stage.namespace.wait_ready("ship");
    stage.converges();
    assert_eq!(stage.template(), web["spec"]["template"]);
    stage.uninject();
    assert_eq!(stage.template(), before);
}

#[test]
fn the_policies_of_several_logsidecars_add_to_each_other() {
    let stage = Stage::new("policy-several");
    let two = SIDECAR.replace("name: ship", "name: forward").replace("/var/log/app", "/srv/log");
    let third = SIDECAR
        .replace("name: ship", "name: own")
        .replace("/var/log/app}]", "/opt/log, container: app}], sidecar: {container: {image: x}}");
    let all = format!("{SIDECAR}\n---\n{two}\n---\n{third}");
    stage.namespace.apply(&all);
    let _policies = Policies::of(&stage, &all);
    let web = object(WORKLOAD);
    let plain = {
        let mut web = web.clone();
        web["metadata"]["labels"] = json!({"logsidecar.dev/inject": "false"});
        created(&stage, &web)["spec"]["template"].clone()
    };
    in_force(&stage, &web, 3);
    let controller = stage.controller();
    controller.start();
    stage.run("kubectl apply -f web.yaml");
    for name in ["ship", "forward", "own"] {
        stage.namespace.wait_ready(name);
    }
    stage.converges();
    let taken = stage.namespace.json(&["get", "deployment", "web"]);
    let by_controller = |name: &str| (name.to_owned(), "controller".to_owned());
    assert_eq!(entries(&taken), ["forward", "own", "ship"].map(by_controller));
    // The API server asks its policies in no particular order, so that of the items differs from one creation to the next.
    assert_eq!((stage.templates(), stage.namespace.rollouts("web")), (1, 1));
    stage.uninject();
    assert_eq!(stage.template(), plain);
}

#[test]
fn a_logsidecar_that_goes_while_the_controller_is_away_takes_with_it_what_its_policy_has_put_in() {
    let stage = Stage::new("policy-gone");
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(SIDECAR);
    eventually("the finalizer", || {
        let sidecar = stage.namespace.json(&["get", "logsidecar", "ship"]);
        sidecar["metadata"]["finalizers"].is_array().then_some(())
    });
    controller.proxy.kill();
    let plain = created(&stage, &object(WORKLOAD))["spec"]["template"].clone();
    let _policies = Policies::of(&stage, SIDECAR);
    in_force(&stage, &object(WORKLOAD), 1);
    stage.run("kubectl apply -f web.yaml; kubectl delete logsidecar ship --wait=false");
    assert_ne!(stage.template(), plain);
    // The commands see in the ledger of a policy what the controller sees.
    let planned = stage.ask(&["plan", "-o", "json"]);
    assert_eq!(planned.code, Some(1), "{planned:?}");
    let web = planned.workload(Kind::Deployment, "web");
    assert_eq!((&web["reason"], &web["template"]), (&json!("Removed"), &plain), "{planned:?}");
    let explained = stage.ask(&["explain", "deployment/web", "-o", "json"]);
    let ship = explained.json()["sidecars"][0].clone();
    assert_eq!((&ship["reason"], &ship["change"]), (&json!("Removing"), &json!("it would be taken out")), "{explained:?}");
    controller.start();
    stage.namespace.kubectl(&["wait", "logsidecar/ship", "--for=delete", "--timeout=180s"]);
    assert_eq!(stage.template(), plain);
    assert_eq!(ledger(&stage.namespace.json(&["get", "deployment", "web"])), None);
}

#[test]
fn a_policy_that_is_out_of_date_is_named_and_what_it_put_in_is_left() {
    let stage = Stage::new("policy-old");
    let _policies = Policies::of(&stage, SIDECAR);
    let admitted = in_force(&stage, &object(WORKLOAD), 1)["spec"]["template"].clone();
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(&SIDECAR.replace("/var/log/app", "/srv/log"));
    stage.run("kubectl apply -f web.yaml");
    let target = eventually("the verdict", || {
        let target = stage.namespace.json(&["get", "logsidecar", "ship"])["status"]["targets"][0].clone();
        (target["reason"] == "ContainerNameTaken").then_some(target)
    });
    assert!(target["message"].as_str().is_some_and(|said| said.contains("print the policy anew")), "{target}");
    assert_eq!((stage.template(), stage.templates()), (admitted, 1));
}

#[test]
fn pods_and_jobs_get_it_whoever_makes_them() {
    let stage = Stage::new("policy-made");
    let pods = SIDECAR.replace("{name: web}", "{kind: Pod, selector: {matchLabels: {app: web}}}");
    let jobs =
        SIDECAR.replace("name: ship", "name: job").replace("{name: web}", "{kind: Job, selector: {matchLabels: {app: job}}}");
    let _policies = Policies::of(&stage, &format!("{pods}\n---\n{jobs}"));
    let job = object(
        "{apiVersion: batch/v1, kind: Job, metadata: {name: x, labels: {app: job}}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: x}]}}}}",
    );
    let mut pod = converted(&object(WORKLOAD), Kind::Pod);
    pod["metadata"]["labels"] = json!({"app": "web"});
    pod["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "app"});
    in_force(&stage, &pod, 1);
    in_force(&stage, &job, 1);
    stage.run("kubectl apply -f web.yaml; kubectl scale deployment/web --replicas=1");
    let cron_job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "clock"}, "spec": {
        "schedule": "0 0 1 1 *", "jobTemplate": {"metadata": {"labels": {"app": "job"}}, "spec": job["spec"]},
    }});
    stage.namespace.apply(&cron_job.to_string());
    // As the controller of CronJobs does, which would take a minute at least.
    stage.run("kubectl create job --from=cronjob/clock now");
    let job = stage.namespace.json(&["get", "job", "now"]);
    assert_eq!(job["metadata"]["ownerReferences"][0]["controller"], true);
    assert_eq!(entries(&job), [("job".to_owned(), "policy".to_owned())]);
    let pod = eventually("the pod", || {
        let pods = stage.namespace.json(&["get", "pods", "-l", "app=web"]);
        pods["items"].as_array()?.first().cloned()
    });
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    let names = |pod: &Value| -> Vec<String> {
        let list = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
        list.iter().map(|container| container["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&pod), ["prepare", "ship"]);
    assert_eq!((names(&stage.template()), stage.namespace.rollouts("web")), (vec!["prepare".to_owned()], 1));
}

#[test]
fn of_two_for_one_directory_the_second_is_left_to_the_controller() {
    let stage = Stage::new("policy-shared");
    let both = format!("{SIDECAR}\n---\n{}", SIDECAR.replace("name: ship", "name: forward"));
    let plain = created(&stage, &object(WORKLOAD))["spec"]["template"].clone();
    stage.namespace.apply(&both);
    let _policies = Policies::of(&stage, &both);
    let admitted = in_force(&stage, &object(WORKLOAD), 1);
    let controller = stage.controller();
    controller.start();
    stage.run("kubectl apply -f web.yaml");
    ["ship", "forward"].into_iter().for_each(|name| stage.namespace.wait_ready(name));
    stage.converges();
    // One volume for both, which the first has brought.
    let template = stage.template();
    assert_eq!(template["spec"]["volumes"], admitted["spec"]["template"]["spec"]["volumes"]);
    assert_eq!(template["spec"]["initContainers"].as_array().map(Vec::len), Some(3));
    assert_eq!(entries(&stage.namespace.json(&["get", "deployment", "web"])).len(), 2);
    assert_eq!(stage.templates(), 2);
    stage.uninject();
    assert_eq!(stage.template(), plain);
}
