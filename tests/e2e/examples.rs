//! Every example runs: its pods become ready, and what the application writes is read back.

use std::collections::BTreeMap;

use logsidecar::manifest;
use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, example, has_image, kubectl, left_out, try_kubectl};

fn objects(text: &str) -> Vec<Value> {
    manifest::read("example", text.as_bytes()).expect("a manifest").into_iter().map(|document| document.value).collect()
}

/// Runs an example by way of the controller; returns the name of the Deployment.
fn run(case: &str, namespace: &Namespace) -> String {
    let file = |name: &str| example(case, name).expect("a file of the example");
    let workload = objects(&file("workload.yaml")).remove(0);
    let name = workload["metadata"]["name"].as_str().expect("a name").to_owned();
    if let Some(claim) = example(case, "claim.yaml") {
        namespace.provide_volume("app-logs", "16Mi");
        namespace.apply(&claim);
    }
    namespace.apply(&file("workload.yaml"));
    namespace.apply(&file("logsidecar.yaml"));
    eventually("the sidecar in the template", || (namespace.template(&name) == as_injected(case, namespace)).then_some(()));
    name
}

/// The template of `injected.yaml`, as the API server stores it.
fn as_injected(case: &str, namespace: &Namespace) -> Value {
    let mut injected = objects(&example(case, "injected.yaml").expect("injected.yaml")).pop().expect("a workload");
    injected["metadata"]["name"] = "golden".into();
    let stored =
        kubectl(&["-n", &namespace.name, "create", "--dry-run=server", "-o", "json", "-f", "-"], &injected.to_string());
    serde_json::from_str::<Value>(&stored).expect("JSON")["spec"]["template"].clone()
}

fn ready(namespace: &Namespace, deployment: &str) {
    namespace.kubectl(&["rollout", "status", &format!("deployment/{deployment}"), "--timeout=180s"]);
}

/// The logs of one container of a pod of the current template.
fn logs(namespace: &Namespace, of: &str, container: &str) -> String {
    try_kubectl(&["-n", &namespace.name, "logs", of, "-c", container], "").unwrap_or_default()
}

/// An HTTP request to a pod, by way of the API server: no packet of ours goes to the address of a pod.
fn get(namespace: &Namespace, pod: &str, path: &str) -> Result<String, String> {
    try_kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{}/pods/{pod}:80/proxy/{path}", namespace.name)], "")
}

fn newest_pod(namespace: &Namespace) -> String {
    let pods = namespace.json(&["get", "pods", "--field-selector=status.phase=Running"]);
    let alive = pods["items"].as_array().expect("a list").iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let newest = alive.max_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
    newest.expect("a pod")["metadata"]["name"].as_str().expect("a name").to_owned()
}

/// Requests with a word that only this run knows appear in the access log that the sidecar prints.
fn requests_appear(namespace: &Namespace, of: &str, container: &str) {
    let pod = newest_pod(namespace);
    let word = format!("nonce-{}", namespace.name);
    eventually("nginx to answer", || {
        // The page does not exist, which is as good for the access log.
        get(namespace, &pod, &word).map_or_else(|error| error.contains("NotFound").then_some(()), |_| Some(()))
    });
    eventually("the request in the sidecar's log", || logs(namespace, of, container).contains(&word).then_some(()));
}

#[test]
fn fluentd_agent() {
    let namespace = Namespace::new("fluentd-agent");
    let deployment = run("fluentd-agent", &namespace);
    if has_image("fluentd") {
        ready(&namespace, &deployment);
        let line =
            namespace.kubectl(&["exec", "deploy/application", "-c", "log-agent", "--", "tail", "-n1", "/var/log/app/app.log"]);
        assert!(line.contains("UTC"), "{line}");
    } else {
        left_out("examples/fluentd-agent", "no image fluentd:latest can be had here; shown up to the spec of the pod");
        let pods = eventually("a pod", || {
            let pods = namespace.json(&["get", "pods"])["items"].as_array().expect("a list").clone();
            pods.into_iter().find(|pod| pod["spec"]["containers"][1]["name"] == "log-agent")
        });
        let mount = |container: usize| pods["spec"]["containers"][container]["volumeMounts"][0]["mountPath"].clone();
        assert_eq!((mount(0), mount(1)), ("/var/log/app".into(), "/var/log/app".into()));
    }
}

/// The Secrets that a template refers to, with something in them.
fn provide_secrets(namespace: &Namespace, template: &Value) {
    let mut secrets: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut add = |name: &Value, key: &Value| {
        let (name, key) = (name.as_str().expect("a name"), key.as_str().expect("a key"));
        let value = if key == "ca.crt" { CERTIFICATE } else { "swordfish" };
        secrets.entry(name.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
    };
    for env in template["spec"]["initContainers"][0]["env"].as_array().into_iter().flatten() {
        let secret = &env["valueFrom"]["secretKeyRef"];
        if !secret.is_null() {
            add(&secret["name"], &secret["key"]);
        }
    }
    for volume in template["spec"]["volumes"].as_array().into_iter().flatten() {
        for item in volume["secret"]["items"].as_array().into_iter().flatten() {
            add(&volume["secret"]["secretName"], &item["key"]);
        }
    }
    for (name, data) in secrets {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        namespace.apply(&secret.to_string());
    }
}

/// Some certificate: nobody who holds its key is ever asked.
const CERTIFICATE: &str = include_str!("ca.crt");

/// An example whose destination is not there: its pods are ready all the same.
fn ready_without_its_destination(case: &str, image: &str) {
    let namespace = Namespace::new(case);
    provide_secrets(&namespace, &as_injected(case, &namespace));
    let deployment = run(case, &namespace);
    let config = namespace.template(&deployment)["spec"]["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .find_map(|volume| volume["configMap"]["name"].as_str().map(str::to_owned))
        .expect("a config");
    let stored = namespace.json(&["get", "configmap", &config]);
    let golden = objects(&example(case, "injected.yaml").expect("injected.yaml")).remove(0);
    assert_eq!((&stored["data"], &stored["immutable"]), (&golden["data"], &true.into()));
    assert_eq!(stored["metadata"]["ownerReferences"][0]["kind"], "LogSidecar");
    if has_image(image) {
        ready(&namespace, &deployment);
    } else {
        left_out(&format!("examples/{case}"), &format!("no image of {image} can be had here; shown up to the spec of the pod"));
    }
}

#[test]
fn fluent_bit() {
    ready_without_its_destination("fluent-bit", "fluent-bit");
}

#[test]
fn nginx_to_loki() {
    ready_without_its_destination("nginx-to-loki", "fluent-bit");
}

#[test]
fn audit_to_s3() {
    ready_without_its_destination("audit-to-s3", "fluent-bit");
}

#[test]
fn fluentd() {
    ready_without_its_destination("fluentd", "fluentd");
}

#[test]
fn java_to_elasticsearch() {
    ready_without_its_destination("java-to-elasticsearch", "fluentd");
}

#[test]
fn otel_collector() {
    ready_without_its_destination("otel-collector", "otelcol");
}

#[test]
fn json_to_loki() {
    ready_without_its_destination("json-to-loki", "otelcol");
}

#[test]
fn nginx_cat() {
    let namespace = Namespace::new("nginx-cat");
    let deployment = run("nginx-cat", &namespace);
    ready(&namespace, &deployment);
    requests_appear(&namespace, "deploy/webserver", "sidecar-container");
}

#[test]
fn nginx_cat_pod() {
    let namespace = Namespace::new("nginx-cat-pod");
    namespace.apply(&example("nginx-cat-pod", "injected.yaml").expect("injected.yaml"));
    namespace.wait("pod/webserver", "condition=Ready");
    requests_appear(&namespace, "pod/webserver", "sidecar-container");
}

fn app_lines_appear(case: &str, container: &str) {
    let namespace = Namespace::new(case);
    let deployment = run(case, &namespace);
    ready(&namespace, &deployment);
    let pod = newest_pod(&namespace);
    eventually("the application's lines", || {
        let lines = logs(&namespace, &format!("pod/{pod}"), container);
        (lines.lines().filter(|line| line.ends_with("written by app")).count() >= 3).then_some(())
    });
}

#[test]
fn tail() {
    app_lines_appear("tail", "sidecar");
}

#[test]
fn tail_memory() {
    app_lines_appear("tail-memory", "sidecar");
}

#[test]
fn tail_claim() {
    app_lines_appear("tail-claim", "sidecar");
}

#[test]
fn tail_other_path() {
    app_lines_appear("tail-other-path", "sidecar");
}

#[test]
fn tail_builtin() {
    app_lines_appear("tail-builtin", "app-logs");
}

#[test]
fn shared_content() {
    let namespace = Namespace::new("shared-content");
    let deployment = run("shared-content", &namespace);
    ready(&namespace, &deployment);
    let pod = newest_pod(&namespace);
    let page = |at_least: usize| {
        eventually("the page", || get(&namespace, &pod, "").ok().filter(|page| page.lines().count() >= at_least))
    };
    let first = page(1);
    let newer = page(first.lines().count() + 1);
    assert!(newer.lines().all(|line| line.starts_with(&pod)), "{newer}");
}

#[test]
fn every_example_is_run_here() {
    let folder = format!("{}/examples", env!("CARGO_MANIFEST_DIR"));
    let mut cases: Vec<String> = std::fs::read_dir(folder)
        .expect("examples")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    cases.sort();
    let source = include_str!("examples.rs");
    let missing: Vec<&String> =
        cases.iter().filter(|case| !source.contains(&format!("fn {}()", case.replace('-', "_")))).collect();
    assert_eq!(missing, Vec::<&String>::new());
}
