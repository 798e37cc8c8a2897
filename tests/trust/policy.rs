//! `logsidecar policy` on a real API server: what is created under a policy is what `inject` would have made of it, and the
//! controller finds nothing to do but to note that it knows it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use logsidecar::{api::LEDGER_ANNOTATION, kind::Kind, manifest};
use serde_json::{Value, json};

use crate::{
    kubernetes::{eventually, example, kubectl, try_kubectl},
    stage::{SIDECAR, Stage, WORKLOAD},
};

/// Runs `logsidecar`, which has to succeed, and has much to say about what a policy leaves alone.
fn logsidecar(arguments: &[&str], stdin: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logsidecar"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts");
    child.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "logsidecar {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Policies of one stage; they go with their case.
struct Policies {
    names: Vec<String>,
}

impl Policies {
    /// Prints and applies the policies of LogSidecars. They are not in force yet.
    fn of(stage: &Stage, sidecars: &str) -> Self {
        let text = logsidecar(&["policy", "-n", &stage.namespace.name, "-f", "-"], sidecars);
        kubectl(&["apply", "-f", "-"], &text);
        let names = objects(&text).into_iter().map(|object| object["metadata"]["name"].as_str().expect("a name").to_owned());
        Self { names: names.collect() }
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let kinds = "mutatingadmissionpolicybindings,mutatingadmissionpolicies";
        drop(try_kubectl(&[&["delete", "--ignore-not-found", "--wait=false", kinds], &names[..]].concat(), ""));
    }
}

fn objects(text: &str) -> Vec<Value> {
    manifest::read("text", text.as_bytes()).expect("a manifest").into_iter().map(|document| document.value).collect()
}

fn object(text: &str) -> Value {
    objects(text).remove(0)
}

/// An object as the API server would store it.
fn created(stage: &Stage, object: &Value) -> Value {
    let arguments = ["-n", &stage.namespace.name, "create", "--dry-run=server", "-o", "json", "-f", "-"];
    // A namespace that has just been made has no service account yet, and no pod without one.
    let stored = eventually("the object to be accepted", || match try_kubectl(&arguments, &object.to_string()) {
        Ok(stored) => Some(stored),
        Err(error) if error.contains("serviceaccount") => None,
        Err(error) => panic!("{error}"),
    });
    serde_json::from_str(&stored).expect("JSON")
}

fn ledger(object: &Value) -> Option<Value> {
    let text = object["metadata"]["annotations"][LEDGER_ANNOTATION].as_str()?;
    Some(serde_json::from_str(text).expect("a ledger"))
}

/// Who has an entry in the ledger, and by whom it was made.
fn entries(object: &Value) -> Vec<(String, String)> {
    let ledger = ledger(object).unwrap_or_default();
    let entries = ledger["sidecars"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| (text(&entry["name"]), text(&entry["origin"]))).collect()
}

/// Waits until an object is created with the sidecars of so many policies.
fn in_force(stage: &Stage, object: &Value, policies: usize) -> Value {
    eventually("the policies to be in force", || {
        let stored = created(stage, object);
        (entries(&stored).len() == policies).then_some(stored)
    })
}

/// The pod spec, and the annotations of the template; without what differs from one creation to the next.
fn template(kind: Kind, object: &Value) -> Value {
    let template = object.pointer(kind.template()).expect("a template");
    let mut annotations = template["metadata"]["annotations"].clone();
    if let (Kind::Pod, Some(annotations)) = (kind, annotations.as_object_mut()) {
        annotations.shift_remove(LEDGER_ANNOTATION);
    }
    let mut spec = template["spec"].clone();
    if kind == Kind::Pod {
        // The token of the service account comes before what a policy puts in, and after what is in the manifest.
        let by = |field: &'static str| move |item: &Value| item[field].as_str().unwrap_or_default().to_owned();
        let lists = ["containers", "initContainers"].into_iter();
        let containers = lists.filter_map(|list| spec[list].as_array().cloned().map(|all| (list, all))).collect::<Vec<_>>();
        for (list, mut all) in containers {
            let mounts = all.iter_mut().filter_map(|container| container["volumeMounts"].as_array_mut());
            mounts.for_each(|mounts| mounts.sort_by_key(by("mountPath")));
            spec[list] = all.into();
        }
    }
    let mut text = spec.to_string();
    if let Some(at) = text.find("kube-api-access-") {
        let random = text[at..at + "kube-api-access-".len() + 5].to_owned();
        text = text.replace(&random, "kube-api-access");
    }
    let mut spec: Value = serde_json::from_str(&text).expect("JSON");
    if let (Kind::Pod, Some(volumes)) = (kind, spec["volumes"].as_array_mut()) {
        volumes.sort_by_key(|volume| volume["name"].as_str().unwrap_or_default().to_owned());
    }
    json!({"annotations": annotations, "spec": spec})
}

/// The workload of an example as one of that kind.
fn converted(workload: &Value, kind: Kind) -> Value {
    let of = Kind::of(workload).expect("a workload");
    let mut pod = workload.pointer(of.template()).expect("a template").clone();
    pod["metadata"] = json!({"labels": {"app": "x"}});
    let name = workload["metadata"]["name"].clone();
    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": name}});
    let selector = json!({"matchLabels": {"app": "x"}});
    match kind {
        Kind::Pod => object["spec"] = pod["spec"].clone(),
        Kind::PodTemplate => object["template"] = json!({"metadata": pod["metadata"], "spec": pod["spec"]}),
        Kind::Job | Kind::CronJob => {
            pod["spec"]["restartPolicy"] = "Never".into();
            let job = json!({"template": {"metadata": pod["metadata"], "spec": pod["spec"]}});
            object["spec"] =
                if kind == Kind::Job { job } else { json!({"schedule": "* * * * *", "jobTemplate": {"spec": job}}) };
        }
        Kind::ReplicationController => object["spec"] = json!({"template": {"metadata": pod["metadata"], "spec": pod["spec"]}}),
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet => {
            object["spec"] = json!({"selector": selector, "template": {"metadata": pod["metadata"], "spec": pod["spec"]}});
            if kind == Kind::StatefulSet {
                object["spec"]["serviceName"] = "x".into();
            }
        }
    }
    object
}

/// What the API server stores of what `inject` makes of the object.
fn injected(stage: &Stage, sidecar: &Value, object: &Value) -> Value {
    let text = logsidecar(&["inject", "-f", "-"], &format!("{sidecar}\n---\n{object}"));
    created(stage, &self::object(&text))
}

/// Creates the object in these kinds, under policies, and compares with what `inject` makes of it.
fn is_as_injected(case: &str, kinds: &[Kind], sidecar: &Value, workload: &Value) {
    let stage = Stage::new(case);
    let of_kind = |kind: Kind| {
        let mut sidecar = sidecar.clone();
        let name = format!("{}-{}", sidecar["metadata"]["name"].as_str().expect("a name"), kind.name().to_lowercase());
        (sidecar["metadata"]["name"], sidecar["spec"]["target"]["kind"]) = (name.into(), kind.name().into());
        sidecar
    };
    let all: Vec<String> = kinds.iter().map(|kind| of_kind(*kind).to_string()).collect();
    let _policies = Policies::of(&stage, &all.join("\n---\n"));
    for kind in kinds.iter().copied() {
        let (sidecar, object) = (of_kind(kind), converted(workload, kind));
        let admitted = in_force(&stage, &object, 1);
        let injected = injected(&stage, &sidecar, &object);
        assert_eq!(template(kind, &admitted), template(kind, &injected), "{case}: {kind}");
    }
}

#[test]
fn every_example_is_created_as_inject_would_have_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut cases: Vec<String> = std::fs::read_dir(folder)
        .expect("examples")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    cases.sort();
    assert!(cases.len() >= 9, "only {cases:?}");
    for case in cases {
        let file = |name: &str| object(&example(&case, name).expect("a file of the example"));
        // A shipper has all that there is in a policy.
        let kinds = if case == "tail-builtin" { &Kind::ALL[..] } else { &[Kind::Deployment, Kind::Pod] };
        is_as_injected(&format!("policy-{case}"), kinds, &file("logsidecar.yaml"), &file("workload.yaml"));
    }
}

/// Text that would break out of a literal, a path or a pattern that is put together carelessly.
const HOSTILE: &str = "'\"\\ ${x} $(HOME) {{.}} `id` \" + object.metadata.name + \" %s \\u0041 é 😀 \u{202e}";

#[test]
fn no_text_breaks_out_of_an_expression() {
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"},
        "logs": [{"name": "a", "directory": "/l/a.b[c](d|e)*+?{2}^$ '\"\\é😀", "files": ["'\"'${x}'%ü", "*.log"],
            "volume": {"name": "logs", "subPath": "a/'\"b"}}],
        "sidecar": {"tail": {}, "container": {
            "args": [HOSTILE, "a\nb\tc\r\n", ""],
            "env": [{"name": "A", "value": HOSTILE}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a.b/c']"}}}],
            "resources": {"requests": {"cpu": "0.5", "memory": 1_048_576}},
            "livenessProbe": {"exec": {"command": ["sh", "-c", HOSTILE]}, "periodSeconds": 7},
        }},
    }});
    let workload = object(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: app, image: x}]}}}}",
    );
    is_as_injected("policy-hostile", &Kind::ALL, &sidecar, &workload);
}

#[test]
fn the_sidecar_is_the_user_that_can_read_the_files() {
    let stage = Stage::new("policy-user");
    let _policies = Policies::of(&stage, SIDECAR);
    let plain = object(WORKLOAD);
    let contexts = [json!({}), json!({"runAsUser": 0}), json!({"runAsUser": 7, "runAsGroup": 8}), json!({"runAsUser": 70000})];
    let roots = [json!({}), json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false})];
    let merged = |context: &Value, root: &Value| {
        let mut context = context.clone();
        context.as_object_mut().expect("a map").extend(root.as_object().cloned().expect("a map"));
        context
    };
    in_force(&stage, &plain, 1);
    for (context, root) in contexts.iter().flat_map(|context| roots.iter().map(move |root| (context, root))) {
        for (pods, own) in [
            (merged(context, root), json!({})),
            (root.clone(), context.clone()),
            (json!({"runAsNonRoot": true}), merged(context, root)),
        ] {
            let mut web = plain.clone();
            web["spec"]["template"]["spec"]["securityContext"] = pods.clone();
            web["spec"]["template"]["spec"]["containers"][0]["securityContext"] = own.clone();
            let (admitted, injected) = (created(&stage, &web), injected(&stage, &object(SIDECAR), &web));
            assert_eq!(template(Kind::Deployment, &admitted), template(Kind::Deployment, &injected), "{pods} {own}");
        }
    }
}

#[test]
fn what_inject_would_refuse_and_what_is_somebody_elses_is_created_as_it_is() {
    let stage = Stage::new("policy-left");
    let _policies = Policies::of(&stage, SIDECAR);
    let web = object(WORKLOAD);
    in_force(&stage, &web, 1);
    let spec = "/spec/template/spec";
    let table = [
        ("/metadata/labels", json!({"logsidecar.dev/inject": "false"})),
        ("/metadata/name", json!("other")),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": true}])),
        ("/metadata/annotations", json!({LEDGER_ANNOTATION: "{\"version\":1,\"sidecars\":[]}"})),
        ("/metadata/annotations", json!({LEDGER_ANNOTATION: ""})),
        (
            "/metadata/annotations",
            json!({LEDGER_ANNOTATION: "{\"version\":1,\"sidecars\":[{\"name\":\"ship\",\"origin\":\"policy\",\"renderer\":1,\"items\":{}}]}"}),
        ),
        ("/spec/template/metadata/annotations", json!({})),
        (&format!("{spec}/containers/1/name"), json!("ship")),
        (&format!("{spec}/initContainers/0/name"), json!("ship")),
        (&format!("{spec}/volumes/1"), json!({"name": "logs-app-var-log-app", "emptyDir": {}})),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/var/log/app")),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/var/log/app//")),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/var")),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/")),
        (&format!("{spec}/os"), json!({"name": "windows"})),
    ];
    for (pointer, value) in table {
        let mut web = web.clone();
        let (holder, field) = pointer.rsplit_once('/').expect("a pointer");
        match web.pointer_mut(holder).expect("a holder") {
            Value::Array(list) => list.insert(1.min(list.len()), value.clone()),
            holder => holder[field] = value.clone(),
        }
        let mut opted_out = web.clone();
        opted_out["metadata"]["labels"] = json!({"logsidecar.dev/inject": "false"});
        let (stored, plain) = (created(&stage, &web), created(&stage, &opted_out));
        assert_eq!(stored["spec"], plain["spec"], "{pointer} {value}");
        assert_eq!(stored["metadata"]["annotations"], plain["metadata"]["annotations"], "{pointer} {value}");
    }
    // What is no reason to leave it alone.
    for path in ["/var/lo", "/var/log/apps", "/var/log/app.d", "/var/log/app/below"] {
        let mut web = web.clone();
        web["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = path.into();
        assert_eq!(entries(&created(&stage, &web)).len(), 1, "{path}");
    }
    let elsewhere = Stage::new("policy-elsewhere");
    assert_eq!(ledger(&created(&elsewhere, &web)), None);
}

#[test]
fn a_new_deployment_rolls_out_once_and_is_given_back_as_it_was() {
    let stage = Stage::new("policy-controller");
    let web = object(WORKLOAD);
    let plain = created(&stage, &web)["spec"]["template"].clone();
    stage.namespace.apply(SIDECAR);
    let _policies = Policies::of(&stage, SIDECAR);
    let admitted = in_force(&stage, &web, 1)["spec"]["template"].clone();
    let controller = stage.controller();
    controller.start();
    stage.run("kubectl apply -f web.yaml");
    stage.namespace.wait_ready("ship");
    stage.converges();
    let taken = stage.namespace.json(&["get", "deployment", "web"]);
    assert_eq!(entries(&taken), [("ship".to_owned(), "controller".to_owned())]);
    assert_eq!(ledger(&taken).expect("a ledger")["sidecars"][0]["items"].as_object().expect("items").len(), 3);
    assert_eq!((stage.templates(), stage.namespace.rollouts("web")), (1, 1), "the controller has changed the template");
    assert_eq!(stage.template(), admitted);
    // Its owner sees nothing of it.
    stage.run("kubectl apply -f web.yaml; kubectl diff -f web.yaml");
    assert_eq!(stage.templates(), 1);
    stage.uninject();
    assert_eq!(stage.template(), plain);
    assert_eq!(ledger(&stage.namespace.json(&["get", "deployment", "web"])), None);
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
    let admitted = in_force(&stage, &web, 3);
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
    assert_eq!((stage.templates(), stage.namespace.rollouts("web")), (1, 1));
    assert_eq!(stage.template(), admitted["spec"]["template"]);
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
    controller.start();
    stage.namespace.kubectl(&["wait", "logsidecar/ship", "--for=delete", "--timeout=60s"]);
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
    let condition = stage.namespace.settled("ship", |status| status == "False");
    let target = stage.namespace.json(&["get", "logsidecar", "ship"])["status"]["targets"][0].clone();
    assert_eq!(target["reason"], "ContainerNameTaken", "{condition}");
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
