//! What is generated is fresh, and what is deployed fits what is built. `UPDATE=1` rewrites the generated files.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use logsidecar::manifest;
use serde_json::{Value, json};

use crate::logsidecar::run;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The objects in a file.
pub fn documents(file: &str) -> Vec<Value> {
    let bytes = fs::read(root().join(file)).expect("a file of the repository");
    manifest::read(file, &bytes).expect("a manifest").into_iter().map(|document| document.value).collect()
}

/// Whether a generated file is what it would be now. `UPDATE=1` makes it so.
pub fn is_fresh(file: &str, text: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text).expect("written");
    }
    assert!(fs::read_to_string(path).expect(file) == text, "{file} is out of date: make generate");
}

#[test]
fn the_crd_in_the_repository_is_the_one_of_the_program() {
    let crd = run(&["crd"], b"").stdout;
    is_fresh("crds/logsidecar.yaml", &crd);
    // Helm packs nothing that is outside of the chart.
    is_fresh("deploy/helm/logsidecar/files/crd.yaml", &crd);
}

#[test]
fn the_crd_is_small_enough_for_kubectl_apply() {
    // The annotation that `kubectl apply` writes holds the object as JSON and may have 256 KiB.
    let crd = serde_json::to_string(&logsidecar::api::definition()).expect("JSON");
    assert!(crd.len() < 200_000, "{} bytes", crd.len());
}

/// `kubectl apply -f deploy/install.yaml` is the whole installation, so the CRD is in it. (That the rest is what the chart gives is
/// shown by the end-to-end suite, which has Helm.)
#[test]
fn the_installation_has_the_crd() {
    let crd = run(&["crd"], b"").stdout;
    let path = root().join("deploy/install.yaml");
    let text = fs::read_to_string(&path).expect("deploy/install.yaml");
    let is_crd = |document: &&str| document.contains("kind: CustomResourceDefinition");
    let there = text.split("---\n").find(is_crd).expect("a CRD");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text.replace(there, &crd)).expect("written");
    }
    assert_eq!(there, crd);
}

#[test]
fn the_controller_may_do_what_it_needs_and_no_more() {
    let documents = documents("deploy/install.yaml");
    let role = documents.iter().find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == "logsidecar");
    let mut may: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in role.expect("the role")["rules"].as_array().expect("rules") {
        for resource in rule["resources"].as_array().expect("resources") {
            let verbs = rule["verbs"].as_array().expect("verbs").iter().map(|verb| verb.as_str().expect("a verb").to_owned());
            may.insert(resource.as_str().expect("a resource").to_owned(), verbs.collect());
        }
    }
    let verbs = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = BTreeMap::from([
        ("logsidecars".to_owned(), verbs(&["get", "list", "watch", "patch"])),
        ("logsidecars/status".to_owned(), verbs(&["patch"])),
        ("deployments".to_owned(), verbs(&["get", "list", "watch", "patch"])),
        ("statefulsets".to_owned(), verbs(&["get", "list", "watch", "patch"])),
        ("daemonsets".to_owned(), verbs(&["get", "list", "watch", "patch"])),
        ("cronjobs".to_owned(), verbs(&["get", "list", "watch", "patch"])),
        ("controllerrevisions".to_owned(), verbs(&["get", "list", "create", "delete"])),
        ("configmaps".to_owned(), verbs(&["get", "list", "create", "patch", "delete"])),
        ("replicasets".to_owned(), verbs(&["list"])),
        ("jobs".to_owned(), verbs(&["list"])),
        ("pods".to_owned(), verbs(&["list"])),
        ("events".to_owned(), verbs(&["create", "patch"])),
        ("namespaces".to_owned(), verbs(&["get"])),
        ("resourcequotas".to_owned(), verbs(&["list"])),
        ("limitranges".to_owned(), verbs(&["list"])),
        ("horizontalpodautoscalers".to_owned(), verbs(&["list"])),
    ]);
    assert_eq!(may, expected);
    let leader = documents.iter().find(|object| object["kind"] == "Role" && object["metadata"]["name"] == "logsidecar-leader");
    let rules = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["logsidecar"], "verbs": ["get", "list", "watch", "update"]},
    ]);
    assert_eq!(leader.expect("the role of the leader")["rules"], rules);
}

/// The image is built where only `src` is; cargo wants to see every file that Cargo.toml names.
#[test]
fn the_image_can_be_built_without_the_tests() {
    let cargo = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let suites = cargo.split("path = \"tests/").skip(1).filter_map(|rest| rest.split('/').next());
    let suites: Vec<&str> = suites.collect();
    let containerfile = fs::read_to_string(root().join("deploy/Containerfile")).expect("deploy/Containerfile");
    assert!(containerfile.contains(&format!("for suite in {};", suites.join(" "))), "{suites:?}");
}

#[test]
fn this_version_can_be_released_and_no_other() {
    let release = |tag: &str| Command::new(root().join("tests/release")).arg(tag).output().expect("bash");
    let notes = release(concat!("v", env!("CARGO_PKG_VERSION")));
    assert!(notes.status.success() && notes.stdout.len() > 100, "{}", String::from_utf8_lossy(&notes.stderr));
    let told = release("v9.9.9");
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("and the tag v9.9.9"));
}
