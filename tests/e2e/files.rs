//! The command line and the cluster agree.

use logsidecar::manifest;
use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, example, kubectl, logsidecar};

#[test]
fn kubectl_reads_what_we_print() {
    let words = [
        "on",
        "off",
        "yes",
        "no",
        "y",
        "n",
        "true",
        "null",
        "~",
        "0644",
        "0o17",
        "0x1F",
        "0b1",
        "12:30",
        "190:20:30",
        "1e3",
        "1_000",
        ".5",
        "+1",
        "-0",
        "1.0",
        "=",
        "<<",
        "2001-01-01",
        "- a",
        "a: b",
        "a #b",
        " a",
        "a ",
        "",
        "'",
        "\"",
        "a\nb",
        "a\n",
        "\n\n",
        "\t",
        "%",
        "@",
        "`",
        "!a",
        "&a",
        "*a",
        "?",
        "|",
        ">",
        "{",
        "[",
        ",",
        "é",
        "\u{1F600}",
        "---",
        "...",
        "a\r\nb",
        "0",
        "Infinity",
        ".inf",
        ".NaN",
        "NaN",
    ];
    let env: Vec<Value> =
        words.iter().enumerate().map(|(index, word)| json!({"name": format!("V{index}"), "value": word})).collect();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "words", "labels": {"a": "on"}},
        "spec": {"containers": [{"name": "app", "image": "x", "env": env, "securityContext": {"runAsUser": 420}}]}});
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"kind": "Pod", "name": "words"}, "logs": [{"name": "l", "directory": "/l"}], "sidecar": {"container": {"image": "on"}}}});
    let printed = logsidecar(&["inject", "-f", "-"], &format!("{sidecar}\n---\n{pod}\n"));
    let ours = manifest::read("printed", printed.as_bytes()).expect("our own output").remove(0).value;
    let theirs = kubectl(&["create", "--dry-run=client", "-o", "json", "-f", "-"], &printed);
    let theirs: Value = serde_json::from_str(&theirs).expect("JSON");
    assert_eq!(ours["spec"]["containers"][0]["env"], Value::from(env));
    assert_eq!(theirs["spec"], ours["spec"]);
    assert_eq!(theirs["metadata"]["annotations"], ours["metadata"]["annotations"]);
}

#[test]
fn kubectl_and_we_read_the_same() {
    let text = example("tail-builtin", "workload.yaml").expect("workload.yaml").replace(
        "      containers:\n",
        "      volumes:\n      - name: octal\n        secret: {secretName: s, defaultMode: 0644, optional: on}\n      priority: 1_0\n      containers:\n",
    );
    let ours = manifest::read("text", text.as_bytes()).expect("a manifest").remove(0).value;
    let theirs = kubectl(&["create", "--dry-run=client", "-o", "json", "-f", "-"], &text);
    assert_eq!(serde_json::from_str::<Value>(&theirs).expect("JSON")["spec"], ours["spec"]);
}

#[test]
fn a_manifest_that_holds_the_sidecar_is_kept_and_not_rolled_out_again() {
    let namespace = Namespace::new("rendered");
    namespace.apply(&example("tail-builtin", "injected.yaml").expect("injected.yaml"));
    eventually("its first ReplicaSet", || (namespace.rollouts("app") == 1).then_some(()));
    let template = namespace.template("app");
    namespace.apply(&example("tail-builtin", "logsidecar.yaml").expect("logsidecar.yaml"));
    namespace.wait_ready("app-logs");
    assert_eq!((namespace.template("app"), namespace.rollouts("app")), (template.clone(), 1));
    // Git holds the sidecar and would only bring it back.
    namespace.kubectl(&["delete", "logsidecar/app-logs", "--timeout=180s"]);
    assert_eq!((namespace.template("app"), namespace.rollouts("app")), (template, 1));
}

#[test]
fn uninject_cleans_what_the_controller_made() {
    let namespace = Namespace::new("uninject");
    namespace.apply(&example("tail", "workload.yaml").expect("workload.yaml"));
    let before = namespace.template("app");
    namespace.apply(&example("tail", "logsidecar.yaml").expect("logsidecar.yaml"));
    eventually("the sidecar", || (namespace.template("app") != before).then_some(()));
    let live = namespace.kubectl(&["get", "deployment", "app", "-o", "yaml"]);
    let cleaned = logsidecar(&["uninject", "-f", "-"], &live);
    let cleaned = manifest::read("cleaned", cleaned.as_bytes()).expect("our own output").remove(0).value;
    assert_eq!(cleaned["spec"]["template"], before);
}
