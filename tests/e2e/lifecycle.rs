//! The life of a LogSidecar on a Deployment: how often we write, what is in the template, what is left in the end.

use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, kubectl, left_out};

/// A Deployment without pods: what counts here is its template.
fn deployment(namespace: &Namespace, name: &str, labels: &Value) {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": "busybox:1.36", "env": [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]}]}}},
    });
    namespace.apply(&object.to_string());
}

/// Until then a change of the template would not be a rollout of its own.
fn first_rollout(namespace: &Namespace, name: &str) {
    eventually("its first ReplicaSet", || (namespace.rollouts(name) == 1).then_some(()));
}

fn sidecar(name: &str, target: &Value, directory: &str, image: &str) -> Value {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": name}, "spec": {
        "target": target, "logs": [{"name": "logs", "directory": directory}],
        "sidecar": {"container": {"name": name, "image": image}}}})
}

/// Mounts of the application, names of all containers, volumes.
fn shape(namespace: &Namespace, name: &str) -> Value {
    let spec = namespace.template(name)["spec"].clone();
    let names = |list: &str| spec[list].as_array().into_iter().flatten().map(|item| item["name"].clone()).collect::<Vec<_>>();
    let mounts = spec["containers"][0]["volumeMounts"].as_array().into_iter().flatten();
    json!([names("containers"), names("volumes"), mounts.map(|mount| mount["mountPath"].clone()).collect::<Vec<_>>()])
}

fn becomes(namespace: &Namespace, name: &str, wanted: &Value) {
    eventually(&format!("{name} to become {wanted}, not {}", shape(namespace, name)), || {
        (shape(namespace, name) == *wanted).then_some(())
    });
}

/// Waits until the controller has worked through everything that happened before: a new Deployment comes to it by the same
/// watch and the same queue.
fn fence(namespace: &Namespace, number: usize) {
    let name = format!("fence-{number}");
    deployment(namespace, &name, &json!({"fence": "yes"}));
    namespace.apply(&sidecar("fence", &json!({"selector": {"matchLabels": {"fence": "yes"}}}), "/l", "x").to_string());
    becomes(namespace, &name, &json!([["app", "fence"], ["logs-app-l"], ["/l"]]));
}

fn count_writes(namespace: &Namespace, case: &str) -> Option<usize> {
    let writes = namespace.answered(200);
    if writes.is_none() {
        left_out(case, "this cluster's audit log cannot be read, so requests are not counted (rollouts are)");
    }
    writes
}

#[test]
fn one_write_and_one_rollout_and_then_nothing() {
    let namespace = Namespace::new("one-write");
    deployment(&namespace, "web", &json!({}));
    first_rollout(&namespace, "web");
    namespace.apply(&sidecar("ship", &json!({"name": "web"}), "/var/log/app", "busybox:1.36").to_string());
    namespace.wait_ready("ship");
    assert_eq!(namespace.rollouts("web"), 2);
    if let Some(writes) = count_writes(&namespace, "one_write_and_one_rollout_and_then_nothing") {
        assert_eq!(writes, 1);
    }
    let template = namespace.template("web");
    namespace.kubectl(&["scale", "deployment/web", "--replicas=1"]);
    namespace.kubectl(&["annotate", "deployment/web", "owner=me"]);
    namespace.kubectl(&["label", "deployment/web", "tier=front"]);
    namespace.kubectl(&["annotate", "logsidecar/ship", "owner=me"]);
    fence(&namespace, 1);
    kubectl(&["-n", "logsidecar-system", "rollout", "restart", "deployment/logsidecar"], "");
    kubectl(&["-n", "logsidecar-system", "rollout", "status", "deployment/logsidecar", "--timeout=180s"], "");
    fence(&namespace, 2);
    if let Some(writes) = namespace.answered(200) {
        // One for `web` and one for each fence.
        assert_eq!(writes, 3);
    }
    assert_eq!((namespace.template("web"), namespace.rollouts("web")), (template, 2));
}

#[test]
fn each_change_is_one_rollout_and_the_rest_stays_the_users() {
    let namespace = Namespace::new("changes");
    deployment(&namespace, "web", &json!({"ship": "yes"}));
    first_rollout(&namespace, "web");
    let before = namespace.template("web");
    let by_label = json!({"selector": {"matchLabels": {"ship": "yes"}}});
    let put = |directory: &str, image: &str| namespace.apply(&sidecar("ship", &by_label, directory, image).to_string());

    put("/var/log/app", "busybox:1.36");
    becomes(&namespace, "web", &json!([["app", "ship"], ["logs-app-var-log-app"], ["/var/log/app"]]));
    put("/logs", "busybox:1.36");
    // Whoever waits for the condition must not be told of the spec before.
    namespace.wait_ready("ship");
    assert_eq!(shape(&namespace, "web"), json!([["app", "ship"], ["logs-app-logs"], ["/logs"]]));
    becomes(&namespace, "web", &json!([["app", "ship"], ["logs-app-logs"], ["/logs"]]));
    put("/logs", "busybox:1.37.0");
    eventually("the new image", || {
        (namespace.template("web")["spec"]["containers"][1]["image"] == "busybox:1.37.0").then_some(())
    });
    let with_volume = json!({"spec": {"logs": [{"name": "logs", "directory": "/logs", "volume": {"name": "mine", "emptyDir": {"medium": "Memory"}}}]}});
    namespace.kubectl(&["patch", "logsidecar/ship", "--type=merge", "-p", &with_volume.to_string()]);
    becomes(&namespace, "web", &json!([["app", "ship"], ["mine"], ["/logs"]]));
    assert_eq!(namespace.rollouts("web"), 5);

    let injected = namespace.template("web");
    namespace.kubectl(&["label", "deployment/web", "logsidecar.dev/inject=false"]);
    eventually("opted out", || (namespace.template("web") == before).then_some(()));
    namespace.kubectl(&["label", "deployment/web", "logsidecar.dev/inject-"]);
    eventually("opted in", || (namespace.template("web") == injected).then_some(()));
    namespace.kubectl(&["label", "deployment/web", "ship-"]);
    eventually("no match", || (namespace.template("web") == before).then_some(()));
    namespace.kubectl(&["label", "deployment/web", "ship=yes"]);
    eventually("a match", || (namespace.template("web") == injected).then_some(()));
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
    assert_eq!(namespace.template("web"), before);
    let annotations = &namespace.json(&["get", "deployment", "web"])["metadata"]["annotations"];
    assert_eq!(annotations.get("logsidecar.dev/injected"), None);
}

#[test]
fn suspending_freezes_what_is_there() {
    let namespace = Namespace::new("suspend");
    deployment(&namespace, "web", &json!({}));
    first_rollout(&namespace, "web");
    let mut object = sidecar("ship", &json!({"name": "web"}), "/var/log/app", "busybox:1.36");
    namespace.apply(&object.to_string());
    namespace.wait_ready("ship");
    let injected = namespace.template("web");
    object["spec"]["suspend"] = true.into();
    object["spec"]["logs"][0]["directory"] = "/elsewhere".into();
    namespace.apply(&object.to_string());
    let condition = namespace.settled("ship", |status| status == "True");
    assert_eq!(condition["reason"], "Suspended");
    fence(&namespace, 1);
    assert_eq!((namespace.template("web"), namespace.rollouts("web")), (injected, 2));
    // Deletion overrides it.
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
    becomes(&namespace, "web", &json!([["app"], [], []]));
}

#[test]
fn what_was_put_in_is_put_back() {
    let namespace = Namespace::new("drift");
    deployment(&namespace, "web", &json!({}));
    first_rollout(&namespace, "web");
    namespace.apply(&sidecar("ship", &json!({"name": "web"}), "/var/log/app", "busybox:1.36").to_string());
    namespace.wait_ready("ship");
    let injected = namespace.template("web");
    namespace.kubectl(&["set", "image", "deployment/web", "ship=busybox:latest"]);
    eventually("the image", || (namespace.template("web") == injected).then_some(()));
    namespace.kubectl(&[
        "patch",
        "deployment/web",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/spec/template/spec/containers/1"}]"#,
    ]);
    eventually("the container", || (namespace.template("web") == injected).then_some(()));
}

#[test]
fn a_tug_of_war_is_not_fought_with_all_might() {
    let namespace = Namespace::new("contest");
    deployment(&namespace, "web", &json!({}));
    namespace.apply(&sidecar("ship", &json!({"name": "web"}), "/l", "busybox:1.36").to_string());
    namespace.wait_ready("ship");
    let removal = r#"[{"op":"remove","path":"/spec/template/spec/containers/1"}]"#;
    let reason = || namespace.json(&["get", "logsidecar", "ship"])["status"]["conditions"][0]["reason"].clone();
    eventually("the contest to be seen", || {
        // Fails while the sidecar is out.
        drop(crate::cluster::try_kubectl(
            &["-n", &namespace.name, "patch", "deployment/web", "--type=json", "-p", removal],
            "",
        ));
        (reason() == "Contested").then_some(())
    });
    // The other has stopped: it is put back, after a pause.
    becomes(&namespace, "web", &json!([["app", "ship"], ["logs-app-l"], ["/l"]]));
    namespace.wait_ready("ship");
}

#[test]
fn two_on_one_workload_come_and_go_alone() {
    let namespace = Namespace::new("two");
    deployment(&namespace, "web", &json!({}));
    first_rollout(&namespace, "web");
    let before = namespace.template("web");
    namespace.apply(&sidecar("one", &json!({"name": "web"}), "/l", "busybox:1.36").to_string());
    namespace.wait_ready("one");
    let only_one = namespace.template("web");
    namespace.apply(&sidecar("two", &json!({"name": "web"}), "/l", "busybox:1.37.0").to_string());
    becomes(&namespace, "web", &json!([["app", "one", "two"], ["logs-app-l"], ["/l"]]));
    namespace.kubectl(&["delete", "logsidecar/two", "--timeout=180s"]);
    assert_eq!(namespace.template("web"), only_one);
    namespace.apply(&sidecar("two", &json!({"name": "web"}), "/l", "busybox:1.37.0").to_string());
    becomes(&namespace, "web", &json!([["app", "one", "two"], ["logs-app-l"], ["/l"]]));
    namespace.kubectl(&["delete", "logsidecar/one", "--timeout=180s"]);
    assert_eq!(shape(&namespace, "web"), json!([["app", "two"], ["logs-app-l"], ["/l"]]));
    namespace.kubectl(&["delete", "logsidecar/two", "--timeout=180s"]);
    assert_eq!(namespace.template("web"), before);
}

#[test]
fn an_orphaned_sidecar_stays() {
    let namespace = Namespace::new("orphan");
    deployment(&namespace, "web", &json!({}));
    first_rollout(&namespace, "web");
    let mut object = sidecar("ship", &json!({"name": "web"}), "/l", "busybox:1.36");
    object["spec"]["deletionPolicy"] = "Orphan".into();
    namespace.apply(&object.to_string());
    namespace.wait_ready("ship");
    let injected = namespace.template("web");
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
    assert_eq!((namespace.template("web"), namespace.rollouts("web")), (injected, 2));
}
