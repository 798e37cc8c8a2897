//! The commands that look at a cluster, where there is none, or one that does not answer as it should: what is wrong is named, with
//! what to do about it. What they say of a cluster that is there is tested in `tests/trust`.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use serde_json::json;
use tempfile::TempDir;

use crate::logsidecar::Run;

/// Each command, and its exit code for failures: for `plan`, 1 says that something would change.
const COMMANDS: [(&[&str], i32); 3] = [(&["plan"], 2), (&["status"], 1), (&["explain", "deployment/web"], 1)];

const SIDECAR: &str = "{apiVersion: logsidecar.dev/v1alpha1, kind: LogSidecar, metadata: {name: ship, namespace: shop}, spec: {target: {name: web}, logs: [{name: app, directory: /var/log/app}]}}";

/// Runs it for somebody who has nothing but this folder.
fn run(folder: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_logsidecar"))
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output();
    output.expect("the executable starts").into()
}

/// A folder with a kubeconfig for that address.
fn folder(address: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(address) = address {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "shop"}}],
        });
        fs::write(folder.path().join("kubeconfig"), text.to_string()).expect("written");
    }
    folder
}

/// A part of a path, and the status and the body that it is answered with.
type Rule = (&'static str, &'static str, &'static str);

/// An API server that answers by these rules, of which the first whose text is in the path counts, and 404 to everything else.
fn server(rules: &'static [Rule]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, rules));
        }
    });
    address
}

fn answer(stream: TcpStream, rules: &[Rule]) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    drop(reader.read_line(&mut request));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let rule = rules.iter().find(|(path, _, _)| request.contains(path));
    let (_, status, body) = rule.copied().unwrap_or(("", "404 Not Found", "404 page not found"));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let stream = reader.get_mut();
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())));
    drop(stream.read(&mut [0]));
}

const EMPTY: &str = r#"{"apiVersion":"v1","kind":"List","metadata":{},"items":[]}"#;
const WEB: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"1","resourceVersion":"1"},"spec":{"template":{"spec":{"containers":[]}}}}"#;
const FORBIDDEN: &str = r#"{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","message":"no","reason":"Forbidden","code":403,"details":{"kind":"deployments"}}"#;
const UNAUTHORIZED: &str = r#"{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;

#[test]
fn without_a_cluster_it_is_said_how_to_point_to_one() {
    let folder = folder(None);
    for (arguments, code) in COMMANDS {
        let Run { stdout, stderr, code: found } = run(folder.path(), arguments);
        assert_eq!((stdout.as_str(), found), ("", Some(code)), "{arguments:?}: {stderr}");
        let told = "error: no cluster to connect to: set KUBECONFIG, or give --kubeconfig or --context: ";
        assert!(stderr.starts_with(told), "{stderr}");
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_no_empty_cluster() {
    // Nobody listens there any more.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address").to_string();
    let folder = folder(Some(&address));
    for (arguments, code) in COMMANDS {
        let Run { stdout, stderr, code: found } = run(folder.path(), arguments);
        assert_eq!((stdout.as_str(), found), ("", Some(code)), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: cannot ") && stderr.contains(" in namespace shop: is the cluster up"), "{stderr}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let table: [(&'static [Rule], &str); 3] = [
        (
            &[("/deployments/web", "200 OK", WEB), ("/apps/", "200 OK", EMPTY), ("/batch/", "200 OK", EMPTY)],
            "error: the cluster does not know LogSidecars: install them by `kubectl apply -f deploy/install.yaml`, or their definition alone by `logsidecar crd | kubectl apply -f -`\n",
        ),
        (
            &[("/apis/", "401 Unauthorized", UNAUTHORIZED)],
            ": the API server does not know you: log in again, or correct the user in the kubeconfig\n",
        ),
        (&[("/deployments", "403 Forbidden", FORBIDDEN)], "error: not allowed to "),
    ];
    for (rules, expected) in table {
        let folder = folder(Some(&server(rules)));
        for (arguments, code) in COMMANDS {
            let Run { stdout, stderr, code: found } = run(folder.path(), arguments);
            assert_eq!((stdout.as_str(), found), ("", Some(code)), "{arguments:?}: {stderr}");
            assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{arguments:?}: {stderr}");
        }
    }
}

#[test]
fn a_rule_that_is_missing_is_named() {
    let folder = folder(Some(&server(&[("/deployments", "403 Forbidden", FORBIDDEN)])));
    let told = run(folder.path(), &["status"]).stderr;
    let expected = "error: not allowed to list deployments in namespace shop: ask whoever runs the cluster for a role with that rule, and see `kubectl auth can-i list deployments`\n";
    assert_eq!(told, expected);
}

#[test]
fn an_empty_cluster_has_nothing_to_plan() {
    let rules = &[("/apis/", "200 OK", EMPTY)];
    let folder = folder(Some(&server(rules)));
    let plan = run(folder.path(), &["plan", "-A"]);
    assert_eq!((plan.stdout.as_str(), plan.stderr.as_str(), plan.code), ("Plan: no workload is concerned.\n", "", Some(0)));
    let status = run(folder.path(), &["status"]);
    assert_eq!((status.stdout.as_str(), status.stderr.as_str()), ("", "warning: no LogSidecar in namespace shop\n"));
    let missing = run(folder.path(), &["plan", "ship"]);
    let told = "error: there is no LogSidecar ship in namespace shop: see `kubectl get logsidecars --all-namespaces`\n";
    assert_eq!((missing.stderr.as_str(), missing.code), (told, Some(2)));
}

#[test]
fn wrong_usage_is_code_2_for_all_of_them() {
    let folder = folder(None);
    let table: [(&[&str], &str); 10] = [
        (&["explain", "web"], "error: `web` is not KIND/NAME, such as deployment/web\n"),
        (&["explain", "svc/web"], "error: `svc` is no kind with a pod template: write one of deployment, "),
        (&["explain", "deploy/"], "error: `` is no name of an object: "),
        (&["explain", "deploy/../secrets/x"], "error: `../secrets/x` is no name of an object: "),
        (&["explain"], "error: the following required arguments"),
        (&["explain", "deploy", "a", "b"], "error: unexpected value 'b'"),
        (&["plan", "ship", "-f", "x.yaml"], "error: the argument '[NAME]' cannot be used with '--filename <FILE>'"),
        (&["plan", "-A", "-n", "shop"], "error: the argument '--all-namespaces' cannot be used with '--namespace <NAMESPACE>'"),
        (&["status", "-A", "ship"], "error: the argument '--all-namespaces' cannot be used with '[NAME]'"),
        (&["status", "-o", "wide"], "error: invalid value 'wide' for '--output <OUTPUT>'"),
    ];
    for (arguments, expected) in table {
        let Run { stdout, stderr, code } = run(folder.path(), arguments);
        assert_eq!((stdout.as_str(), code), ("", Some(2)), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with(expected), "{arguments:?}: {stderr}");
    }
}

#[test]
fn files_are_checked_before_anybody_is_asked() {
    let folder = folder(None);
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("bad.yaml", &SIDECAR.replace("target", "targets"));
    write("none.yaml", "{apiVersion: v1, kind: Service, metadata: {name: x}}");
    write("shop.yaml", SIDECAR);
    let table: [(&[&str], &str); 4] = [
        (&["-f", "bad.yaml"], "error: bad.yaml:1: LogSidecar shop/ship: spec"),
        (&["-f", "none.yaml"], "error: no LogSidecar in these files\n"),
        (
            &["-f", "shop.yaml", "-n", "other"],
            "error: shop.yaml:1: LogSidecar shop/ship: it is in another namespace than --namespace other\n",
        ),
        (&["-f", "missing.yaml"], "error: missing.yaml: cannot read: "),
    ];
    for (arguments, expected) in table {
        let Run { stdout, stderr, code } = run(folder.path(), &[&["plan"], arguments].concat());
        assert_eq!((stdout.as_str(), code), ("", Some(2)), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with(expected), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_plugin_speaks_of_itself_as_kubectl_does() {
    let folder = folder(None);
    let plugin = folder.path().join("kubectl-logsidecar");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_logsidecar"), &plugin).expect("a link");
    let help = Command::new(&plugin).args(["plan", "--help"]).output().expect("it starts");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("\nUsage: kubectl logsidecar plan [OPTIONS] [NAME]\n"), "{help}");
    assert!(help.contains("\n  kubectl logsidecar plan -f logsidecar.yaml\n"), "{help}");
    let usage = Command::new(&plugin).arg("explain").output().expect("it starts");
    assert!(String::from_utf8_lossy(&usage.stderr).contains("\nUsage: kubectl logsidecar explain "), "{usage:?}");
}
