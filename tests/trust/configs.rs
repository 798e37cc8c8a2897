//! The ConfigMaps of shippers: there before anything refers to them, one for each content, kept for whoever may go back to them,
//! and gone when nobody can.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    kubernetes::{eventually, within},
    stage::Stage,
};

/// A LogSidecar whose config says so much about its buffer.
fn ship(shipper: &Value) -> String {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"}, "logs": [{"name": "app", "directory": "/var/log/app"}], "sidecar": {"fluentBit": shipper}}})
    .to_string()
}

fn configs(stage: &Stage) -> BTreeSet<String> {
    let all = stage.namespace.json(&["get", "configmaps", "-l", "logsidecar.dev/name=ship"]);
    let names =
        all["items"].as_array().expect("a list").iter().map(|config| config["metadata"]["name"].as_str().expect("a name"));
    names.map(str::to_owned).collect()
}

fn mounted(template: &Value) -> Option<String> {
    let volumes = template["spec"]["volumes"].as_array()?;
    volumes
        .iter()
        .find_map(|volume| Some(volume["configMap"]["name"].as_str()?.to_owned()).filter(|name| name.starts_with("ship-")))
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).expect("a version")
}

#[test]
fn another_config_rolls_once_the_same_never_and_an_undone_rollout_finds_its_own() {
    let stage = Stage::new("configs");
    let controller = stage.controller_with(&["--sweep=1s"]);
    controller.start();
    stage.namespace.apply(crate::stage::WORKLOAD);
    let plain = stage.template();
    stage.inject(&ship(&json!({})));
    let first = mounted(&stage.template()).expect("a config");
    let workload = stage.namespace.json(&["get", "deployment", "web"]);
    let config = stage.namespace.json(&["get", "configmap", &first]);
    assert!(version(&config) < version(&workload), "the config was there first");
    assert_eq!((&config["immutable"], &config["metadata"]["ownerReferences"][0]["name"]), (&true.into(), &"ship".into()));

    // The default, spelt out; and everything in another order.
    let templates = stage.templates();
    stage.inject(&ship(&json!({"bufferSize": "64Mi"})));
    stage.inject(&ship(&json!({"maxLineSize": "1Mi", "port": 2020, "bufferSize": "64Mi"})));
    assert_eq!((stage.templates(), configs(&stage)), (templates, [first.clone()].into()), "the same config");

    // The Deployment can go back only to what its controller has seen.
    eventually("the ReplicaSet of the first", || {
        stage.namespace.json(&["get", "replicasets"]).to_string().contains(&first).then_some(())
    });
    stage.inject(&ship(&json!({"bufferSize": "128Mi"})));
    let second = mounted(&stage.template()).expect("a config");
    assert_ne!(first, second);
    assert_eq!(stage.templates(), templates + 1, "another config rolls once");

    eventually("the ReplicaSet of the second", || {
        stage.namespace.json(&["get", "replicasets"]).to_string().contains(&second).then_some(())
    });

    // What the sweeper may not take: the Deployment can go back to the first, and mounts the second.
    stage.uninject();
    assert_eq!(stage.template(), plain);
    assert_eq!(configs(&stage), [first.clone(), second.clone()].into(), "kept although the LogSidecar is gone");
    controller.proxy.kill();
    stage.run("kubectl rollout undo deployment/web");
    let restored = stage.template();
    assert_eq!(mounted(&restored), Some(second.clone()));
    assert!(configs(&stage).contains(&second), "the pods of the undone rollout find their config");

    // Whose LogSidecar is gone is taken out again, and when nobody can go back any more, the configs go, too.
    controller.start();
    eventually("the orphan to be taken out", || (stage.template() == plain).then_some(()));
    stage.run(
        // Not waited for: the Deployment makes the one of its template anew, under the same name, and kubectl may wait for that one to go.
        "kubectl delete replicasets --all --cascade=orphan --wait=false && kubectl delete pods --all --force --wait=false",
    );
    within(Duration::from_secs(300), "the configs to go", || configs(&stage).is_empty().then_some(()));
}

#[test]
fn a_config_that_somebody_deletes_is_made_again() {
    let stage = Stage::new("configs-lost");
    let controller = stage.controller_with(&["--sweep=1s"]);
    controller.start();
    stage.namespace.apply(crate::stage::WORKLOAD);
    stage.inject(&ship(&json!({})));
    let before = configs(&stage);
    stage.run("kubectl delete configmaps -l logsidecar.dev/name=ship");
    eventually("the config", || (configs(&stage) == before).then_some(()));
}

#[test]
fn a_config_of_the_users_own_that_is_not_there_or_cannot_work_restarts_no_pod() {
    let stage = Stage::new("configs-own");
    let controller = stage.controller_with(&[]);
    controller.start();
    stage.namespace.apply(crate::stage::WORKLOAD);
    let before = stage.templates();
    stage.namespace.apply(&ship(&json!({"configMapRef": {"name": "mine", "key": "pipeline"}})));
    let told = |expected: &str| {
        eventually(expected, || {
            let status = stage.namespace.json(&["get", "logsidecar", "ship"])["status"].clone();
            let target = status["targets"].as_array()?.first()?.clone();
            (target["reason"] == "ConfigInvalid" && target["message"].as_str()?.contains(expected)).then_some(())
        });
    };
    let provide = |key: &str, text: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {key: text}});
        stage.namespace.kubectl(&["delete", "configmap", "mine", "--ignore-not-found"]);
        stage.namespace.apply(&object.to_string());
    };
    told("sidecar.fluentBit.configMapRef: there is no ConfigMap mine");
    provide("other", "pipeline: {}");
    told("ConfigMap mine has no key pipeline");
    provide("pipeline", "pipeline: {inputs: [{name: '${NOBODY}'}]}");
    told("nothing sets the variable NOBODY");
    assert_eq!(stage.templates(), before);
    provide("pipeline", "pipeline: {inputs: [{name: dummy}]}");
    eventually("the injection", || (stage.templates() == before + 1).then_some(()));
}
