//! `logsidecar policy`: what it prints, and what it says about that.

#![allow(clippy::panic, reason = "that is how a test fails")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Command,
    thread,
};

use serde_json::{Value, json};

use crate::logsidecar::{Run, run};

const SIDECAR: &str = r#"{"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship", "namespace": "shop"}, "spec": {"target": TARGET, "logs": LOGS}}"#;
const LOGS: &str = r#"[{"name": "app", "directory": "/var/log/app"}]"#;

fn printed(arguments: &[&str], target: &str, logs: &str) -> Run {
    let text = SIDECAR.replace("TARGET", target).replace("LOGS", logs);
    run(&[&["policy", "-f", "-"], arguments].concat(), text.as_bytes())
}

fn objects(run: &Run) -> Vec<Value> {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let documents = logsidecar::manifest::read("-", run.stdout.as_bytes()).expect("a manifest");
    documents.into_iter().map(|document| document.value).collect()
}

#[test]
fn a_policy_is_for_one_namespace_and_for_what_the_target_means() {
    let by_name = objects(&printed(&["--offline"], r#"{"name": "web"}"#, LOGS));
    let [policy, binding] = by_name.as_slice() else { panic!("{by_name:?}") };
    assert_eq!(policy["metadata"]["name"], "ship.shop.logsidecar.dev");
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    let constraints = &policy["spec"]["matchConstraints"];
    assert_eq!(constraints["namespaceSelector"], json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}}));
    assert_eq!(constraints["objectSelector"], Value::Null);
    assert_eq!(policy["spec"]["matchConditions"][0]["name"], "is-the-target");

    let by_label = r#"{"kind": "CronJob", "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}}"#;
    let by_label = objects(&printed(&["--offline", "--api-version=v1"], by_label, LOGS)).remove(0);
    assert_eq!(by_label["apiVersion"], "admissionregistration.k8s.io/v1");
    let constraints = &by_label["spec"]["matchConstraints"];
    let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]});
    assert_eq!(constraints["objectSelector"], selector);
    let rule = json!([{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["cronjobs"]}]);
    assert_eq!(constraints["resourceRules"], rule);
    assert_ne!(by_label["spec"]["matchConditions"][0]["name"], "is-the-target");
}

#[test]
fn what_a_policy_leaves_alone_is_said_and_is_in_its_description() {
    let run = printed(&["--offline"], r#"{"name": "web"}"#, LOGS);
    let description =
        objects(&run)[0]["metadata"]["annotations"]["kubernetes.io/description"].as_str().expect("text").to_owned();
    let left: Vec<&str> = description.lines().filter_map(|line| line.strip_prefix("- ")).collect();
    assert!(left.len() > 5, "{description}");
    let said = format!("warning: -:1: LogSidecar shop/ship: Left to the controller is a Deployment {}\n", left.join("; or "));
    assert_eq!(run.stderr, said);
    let pod = printed(&["--offline"], r#"{"kind": "Pod", "name": "web"}"#, LOGS).stderr;
    assert!(pod.contains("Created without the sidecar is a Pod "), "{pod}");
}

#[test]
fn what_no_policy_can_do_is_refused_with_the_remedy_and_nothing_is_printed() {
    let good = SIDECAR.replace("TARGET", r#"{"name": "web"}"#).replace("LOGS", LOGS).replace("shop", "other");
    let table = [
        (
            r#"[{"name": "app", "directory": "/var/log/App"}]"#,
            "spec.logs[app]: the volume is named after its container by a digest, which the API server cannot compute: write logs[app].container, or logs[app].volume.name",
        ),
        (
            r#"[{"name": "a", "directory": "/a", "sidecarDirectory": "/l"}, {"name": "b", "directory": "/b", "sidecarDirectory": "/l"}]"#,
            "spec: MountPathTaken: two entries of logs would be seen at one path of the sidecar: write another logs[b].sidecarDirectory",
        ),
    ];
    for (logs, message) in table {
        let bad = SIDECAR.replace("TARGET", r#"{"name": "web"}"#).replace("LOGS", logs);
        let run = run(&["policy", "--offline", "-f", "-"], format!("{good}\n---\n{bad}").as_bytes());
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{}", run.stderr);
        let error = run.stderr.lines().last().expect("an error");
        assert_eq!(error, format!("error: -:3: LogSidecar shop/ship: {message}"));
    }
    for named in [r#""container": "app""#, r#""volume": {"name": "logs"}"#] {
        let logs = format!(r#"[{{"name": "app", "directory": "/var/log/App", {named}}}]"#);
        assert_eq!(printed(&["--offline"], r#"{"name": "web"}"#, &logs).code, Some(0), "{named}");
    }
}

#[test]
fn one_that_is_suspended_has_no_policy() {
    let text = SIDECAR.replace("TARGET", r#"{"name": "web"}, "suspend": true"#).replace("LOGS", LOGS);
    let run = run(&["policy", "--offline", "-f", "-"], text.as_bytes());
    let said = "warning: -:1: LogSidecar shop/ship: spec.suspend is true: it puts nothing in, so there is no policy for it\n";
    assert_eq!((run.stdout.as_str(), run.stderr.as_str(), run.code), ("", said, Some(0)));
}

#[test]
fn without_a_cluster_the_version_is_a_guess_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let sidecar = file("ship.yaml", &SIDECAR.replace("TARGET", r#"{"name": "web"}"#).replace("LOGS", LOGS));
    let nowhere = file(
        "kubeconfig",
        "{apiVersion: v1, kind: Config, current-context: x, users: [{name: x, user: {}}], clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}], contexts: [{name: x, context: {cluster: x, user: x}}]}",
    );
    for kubeconfig in [nowhere.as_str(), "/does/not/exist"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logsidecar"));
        let command = command.args(["policy", "-f", &sidecar]).env("KUBECONFIG", kubeconfig);
        let run = Run::from(command.env_remove("KUBERNETES_SERVICE_HOST").output().expect("it starts"));
        assert_eq!(objects(&run)[0]["apiVersion"], "admissionregistration.k8s.io/v1beta1");
        assert!(run.stderr.starts_with("warning: no cluster answers: printed for v1beta1"), "{}", run.stderr);
    }
}

/// An API server that serves policies in these versions, and answers nothing else.
fn serving(versions: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let version =
                |version: &str| json!({"groupVersion": format!("admissionregistration.k8s.io/{version}"), "version": version});
            let resource = json!({"name": "mutatingadmissionpolicies", "singularName": "", "namespaced": false, "kind": "MutatingAdmissionPolicy", "verbs": ["get"]});
            let body = match path.strip_prefix("/apis/admissionregistration.k8s.io/") {
                Some(asked) => {
                    let resources = if versions.contains(&asked) { json!([resource]) } else { json!([]) };
                    json!({"kind": "APIResourceList", "groupVersion": format!("admissionregistration.k8s.io/{asked}"), "resources": resources})
                }
                None => json!({"kind": "APIGroupList", "groups": [{"name": "admissionregistration.k8s.io", "versions": [version("v1"), version("v1beta1")], "preferredVersion": version("v1")}]}),
            }
            .to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    format!("http://{address}")
}

#[test]
fn the_version_is_the_one_that_the_cluster_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let sidecar = folder.path().join("ship.yaml");
    std::fs::write(&sidecar, SIDECAR.replace("TARGET", r#"{"name": "web"}"#).replace("LOGS", LOGS)).expect("written");
    // Connections wait in its queue, and nobody ever takes one.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("an address"));
    let lacks = "warning: this API server has no MutatingAdmissionPolicy: Kubernetes 1.36 has it; 1.34 and 1.35 need --feature-gates=MutatingAdmissionPolicy=true and --runtime-config=admissionregistration.k8s.io/v1beta1=true";
    let table = [
        (serving(&["v1", "v1beta1"]), "v1", "warning: -:"),
        (serving(&["v1"]), "v1", "warning: -:"),
        (serving(&["v1beta1"]), "v1beta1", "warning: -:"),
        (serving(&[]), "v1", lacks),
        (silent, "v1beta1", "warning: no cluster answers"),
    ];
    for (server, version, said) in table {
        let kubeconfig = folder.path().join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: x, users: [{{name: x, user: {{}}}}], clusters: [{{name: x, cluster: {{server: '{server}'}}}}], contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_logsidecar"));
        let command = command.args(["policy", "-f"]).arg(&sidecar).env("KUBECONFIG", &kubeconfig);
        let run = Run::from(command.output().expect("it starts"));
        for object in objects(&run) {
            assert_eq!(object["apiVersion"], format!("admissionregistration.k8s.io/{version}"), "{}", run.stderr);
        }
        let said = said.replace("-:", &format!("{}:", sidecar.display()));
        assert!(run.stderr.starts_with(&said), "{version}: {}", run.stderr);
    }
}
