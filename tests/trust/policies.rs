//! Policies of LogSidecars, and what is created under them.

use std::process::Command;

use logsidecar::{
    api::LEDGER_ANNOTATION,
    manifest,
    workload::kind::{Kind, Kinds},
};
use serde_json::{Value, json};

use crate::{
    kubernetes::{eventually, kubectl, try_kubectl},
    process,
    stage::Stage,
};

/// Runs `logsidecar`, which has to succeed, and has much to say about what a policy leaves alone.
pub fn logsidecar(arguments: &[&str], stdin: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logsidecar"));
    let output = process::run(command.args(arguments), stdin.as_bytes()).expect("the executable starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("no cluster answers"), "logsidecar {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("text")
}

/// Policies of one stage; they go with their case.
pub struct Policies {
    names: Vec<String>,
}

impl Policies {
    /// Prints and applies the policies of LogSidecars. They are not in force yet.
    pub fn of(stage: &Stage, sidecars: &str) -> Self {
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

pub fn objects(text: &str) -> Vec<Value> {
    manifest::read("text", text.as_bytes()).expect("a manifest").into_iter().map(|document| document.value).collect()
}

/// The first object that is not the config of a shipper.
pub fn object(text: &str) -> Value {
    objects(text).into_iter().find(|object| object["kind"] != "ConfigMap").expect("an object")
}

/// An object as the API server would store it.
pub fn created(stage: &Stage, object: &Value) -> Value {
    let arguments = ["-n", &stage.namespace.name, "create", "--dry-run=server", "-o", "json", "-f", "-"];
    // A namespace that has just been made has no service account yet, and no pod without one.
    let stored = eventually("the object to be accepted", || match try_kubectl(&arguments, &object.to_string()) {
        Ok(stored) => Some(stored),
        Err(error) if error.contains("serviceaccount") => None,
        Err(error) => panic!("{error}"),
    });
    serde_json::from_str(&stored).expect("JSON")
}

pub fn ledger(object: &Value) -> Option<Value> {
    let text = object["metadata"]["annotations"][LEDGER_ANNOTATION].as_str()?;
    Some(serde_json::from_str(text).expect("a ledger"))
}

/// Who has an entry in the ledger, and by whom it was made.
pub fn entries(object: &Value) -> Vec<(String, String)> {
    let ledger = ledger(object).unwrap_or_default();
    let entries = ledger["sidecars"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| (text(&entry["name"]), text(&entry["origin"]))).collect()
}

/// Waits until an object is created with the sidecars of so many policies.
pub fn in_force(stage: &Stage, object: &Value, policies: usize) -> Value {
    eventually("the policies to be in force", || {
        let stored = created(stage, object);
        (entries(&stored).len() == policies).then_some(stored)
    })
}

/// The workload of an example as one of that kind.
pub fn converted(workload: &Value, kind: Kind) -> Value {
    let of = Kinds::default().of(workload).expect("a workload");
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
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet | Kind::Custom(_) => {
            object["spec"] = json!({"selector": selector, "template": {"metadata": pod["metadata"], "spec": pod["spec"]}});
            if kind == Kind::StatefulSet {
                object["spec"]["serviceName"] = "x".into();
            }
        }
    }
    object
}
