//! The chart, by Helm itself. It takes the place of what was installed before, so it runs after all other cases, and one after the other.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    cluster::{Namespace, eventually, kubectl, left_out, script, tell, try_kubectl},
    docs, process,
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What Helm says, or what is wrong.
fn helm(arguments: &[&str], values: &str) -> Result<String, String> {
    let mut command = Command::new("helm");
    command.args(arguments).current_dir(root());
    let output = process::run(&mut command, values.as_bytes()).map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn is_there() -> bool {
    let there = helm(&["version"], "").is_ok();
    if !there {
        left_out("the chart", "helm is not installed here");
    }
    there
}

const CHART: &str = "deploy/helm/logsidecar";

#[test]
fn helm_gives_the_installation() {
    if !is_there() {
        return;
    }
    let set = "namespace.create=true,crds.keep=false,image.tag=dev";
    let made = helm(&["template", "logsidecar", CHART, "--namespace", "logsidecar-system", "--skip-tests", "--set", set], "");
    let made = made.expect("a rendered chart");
    // One document after the other, without where each is from.
    let documents = made.split("---\n").map(|document| {
        let lines = document.lines().filter(|line| !line.starts_with("# Source: ")).collect::<Vec<_>>().join("\n");
        lines.trim().to_owned()
    });
    let text = documents.filter(|document| !document.is_empty()).collect::<Vec<_>>().join("\n---\n") + "\n";
    let path = root().join("deploy/install.yaml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    assert!(
        text == std::fs::read_to_string(path).expect("deploy/install.yaml"),
        "deploy/install.yaml is not the chart: make generate"
    );
}

/// Values that cannot work, and the field that Helm has to name.
const BAD: [(&str, &str); 23] = [
    ("replicas: two", "replicas"),
    ("replicas: -1", "replicas"),
    ("replicas: 100", "replicas"),
    ("replica: 2", "replica"),
    ("image: logsidecar:dev", "image"),
    ("image: {repository: ''}", "repository"),
    ("image: {repository: 'HTTP://mirror/logsidecar'}", "repository"),
    ("image: {tag: 'a b'}", "tag"),
    ("image: {digest: 'sha256:123'}", "digest"),
    ("image: {pullPolicy: Sometimes}", "pullPolicy"),
    ("imagePullSecrets: [registry]", "imagePullSecrets"),
    ("shipperImages: {vector: 'x:1'}", "shipperImages"),
    ("shipperImages: {fluentBit: 'a b'}", "fluentBit"),
    ("watchNamespace: Shop", "watchNamespace"),
    ("workloadKinds: ['argoproj.io/v1alpha1/Rollout=/spec/template']", "workloadKinds"),
    ("workloadKinds: [{kind: Rollout, resource: rollouts}]", "kind"),
    ("concurrency: 0", "concurrency"),
    ("sweep: 10", "sweep"),
    ("log: {format: xml}", "format"),
    ("networkPolicy: {enabled: 'yes'}", "enabled"),
    ("networkPolicy: {apiServerPorts: [0]}", "apiServerPorts"),
    ("podLabels: {tier: 1}", "podLabels"),
    ("serviceMonitor: {interval: often}", "interval"),
];

#[test]
fn helm_refuses_bad_values_and_says_which() {
    if !is_there() {
        return;
    }
    for (values, field) in BAD {
        let told = helm(&["template", "logsidecar", CHART, "-f", "-"], values);
        assert!(told.as_ref().is_err_and(|told| told.contains(field) && told.contains("schema")), "{values}: {told:?}");
    }
    let good = "{replicas: 3, image: {digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}, watchNamespace: shop,
        workloadKinds: [{kind: argoproj.io/v1alpha1/Rollout=/spec/template, resource: rollouts}], networkPolicy: {enabled: true}, serviceMonitor: {enabled: true}}";
    let kinds = "workloadKinds: [{kind: argoproj.io/v1alpha1/Rollout=/spec/template, resource: rollouts}]";
    let made = helm(&["template", "logsidecar", CHART, "-f", "-"], kinds).expect("a rendered chart");
    assert!(made.contains("variables.group == 'argoproj.io' && variables.kind == 'Rollout' ? 'rollouts' :"), "{made}");
    let made = helm(&["template", "logsidecar", CHART, "-f", "-"], good).expect("a rendered chart");
    assert!(!made.contains("kind: ClusterRole"), "one namespace needs no ClusterRole");
    assert!(
        made.contains("@sha256:0000")
            && made.contains("kind: NetworkPolicy")
            && made.contains("kind: ServiceMonitor")
            && made.contains("resources: [rollouts]")
    );
}

/// The chart of the last release, or else of the commit before this one, whose controller is `logsidecar:previous`.
fn previous() -> Option<String> {
    let chart = script("previous").map(|sources| format!("{sources}/{CHART}"));
    // It also tells how it gets on.
    let why = match &chart {
        Ok(chart) if std::path::Path::new(chart).exists() => return Some(chart.clone()),
        Ok(_) => "it had no chart",
        Err(told) => told.lines().last().unwrap_or_default(),
    };
    left_out("an upgrade from the release before", why);
    None
}

/// The pods of the user, which nothing that is done to the controller may restart.
fn pods(namespace: &Namespace) -> BTreeSet<String> {
    let all = namespace.json(&["get", "pods", "-l", "app=web"]);
    let all = all["items"].as_array().expect("a list").iter();
    all.map(|pod| format!("{} {}", pod["metadata"]["uid"], pod["status"]["initContainerStatuses"][0]["restartCount"])).collect()
}

/// There is one installation in a cluster.
static INSTALLATION: Mutex<()> = Mutex::new(());

/// Where the cluster has the image of the controller: repository and tag.
fn image() -> (String, String) {
    let image = std::env::var("IMAGE").unwrap_or_else(|_| "logsidecar:dev".to_owned());
    let (repository, tag) = image.rsplit_once(':').expect("IMAGE has a tag");
    (repository.to_owned(), tag.to_owned())
}

/// Back as it was, for whoever goes on with this cluster.
fn install_as_before() {
    let installation = std::fs::read_to_string(root().join("deploy/install.yaml")).expect("deploy/install.yaml");
    let (repository, tag) = image();
    let installation = installation.replace("logsidecar:dev", &format!("{repository}:{tag}"));
    eventually("the namespace to be free", || try_kubectl(&["apply", "-f", "-"], &installation).ok());
}

#[test]
fn helm_installs_what_the_first_example_of_the_readme_needs() {
    if !is_there() {
        return;
    }
    let _alone = INSTALLATION.lock().unwrap_or_else(PoisonError::into_inner);
    kubectl(&["delete", "-f", "deploy/install.yaml", "--ignore-not-found", "--timeout=180s"], "");
    let namespace = Namespace::new("helm-readme");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config");
    std::fs::write(&config, kubectl(&["config", "view", "--raw", "--flatten"], "")).expect("written");
    docs::paste(&format!("kubectl config set-context --current --namespace={}", namespace.name), Some(&config));
    let example = &docs::shell("README.md", Some("<!-- first example"))[0];
    let (repository, tag) = image();
    let install = docs::shell("README.md", Some("## Install"))[0]
        .replace("REGISTRY/logsidecar", &repository)
        .replace("tag=dev", &format!("tag={tag}"));
    let (_build, install) = install.split_once('\n').expect("two commands");

    let start = Instant::now();
    docs::paste(install, Some(&config));
    docs::paste(example, Some(&config));
    tell(&format!("from helm install to the end of the first example: {:.0} s", start.elapsed().as_secs_f64()));
    helm(&["uninstall", "logsidecar", "-n", "logsidecar-system", "--wait", "--timeout=180s"], "").expect("helm uninstall");
    install_as_before();
}

#[test]
fn helm_installs_upgrades_rolls_back_and_removes_and_no_pod_restarts() {
    if !is_there() {
        return;
    }
    let _alone = INSTALLATION.lock().unwrap_or_else(PoisonError::into_inner);
    let (repository, tag) = image();
    let release = |command: &[&str], more: &str| {
        let set = format!("image.repository={repository},image.tag={tag},testImage=busybox:1.36{more}");
        let arguments = [command, &["-n", "logsidecar-system", "--wait", "--timeout=180s"]].concat();
        let is_of_chart = matches!(command[0], "install" | "upgrade");
        let arguments = if is_of_chart { [&arguments[..], &["--set", &set]].concat() } else { arguments };
        helm(&arguments, "").unwrap_or_else(|error| panic!("helm {}: {error}", command.join(" ")))
    };
    kubectl(&["delete", "-f", "deploy/install.yaml", "--ignore-not-found", "--timeout=180s"], "");

    // The later of two values counts.
    match previous() {
        Some(chart) => release(&["install", "logsidecar", &chart, "--create-namespace"], ",replicas=1,image.tag=previous"),
        None => release(&["install", "logsidecar", CHART, "--create-namespace"], ",replicas=1"),
    };
    let namespace = Namespace::new("helm");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "busybox:1.36", "command": ["sleep", "100000"]}]}}}});
    namespace.apply(&deployment.to_string());
    let before = namespace.template("web");
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"}, "logs": [{"name": "app", "directory": "/logs"}], "sidecar": {"tail": {}, "container": {"image": "busybox:1.36"}}}});
    namespace.apply(&sidecar.to_string());
    namespace.wait_ready("ship");
    namespace.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let settled = || eventually("two pods", || Some(pods(&namespace)).filter(|pods| pods.len() == 2));
    let seen = settled();
    let unharmed = |what: &str| assert_eq!((pods(&namespace), namespace.rollouts("web")), (seen.clone(), 2), "{what}");

    release(&["upgrade", "logsidecar", CHART], ",replicas=2,log.level=debug");
    unharmed("helm upgrade");
    let test = helm(&["test", "logsidecar", "-n", "logsidecar-system", "--timeout=180s"], "").expect("helm test");
    assert!(test.contains("Succeeded"), "{test}");
    release(&["rollback", "logsidecar", "1"], "");
    unharmed("helm rollback");

    release(&["uninstall", "logsidecar"], "");
    assert!(try_kubectl(&["get", "crd", "logsidecars.logsidecar.dev"], "").is_ok(), "the definition is kept");
    unharmed("helm uninstall");
    release(&["install", "logsidecar", CHART], "");
    namespace.apply(&json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship", "annotations": {"a": "b"}}, "spec": sidecar["spec"]}).to_string());
    namespace.wait_ready("ship");
    unharmed("helm install once more");
    namespace.kubectl(&["delete", "logsidecars", "--all", "--timeout=180s"]);
    assert_eq!(namespace.template("web"), before);

    // For one namespace alone.
    release(&["uninstall", "logsidecar"], "");
    let watched = format!(",watchNamespace={}", namespace.name);
    release(&["install", "logsidecar", CHART], &watched);
    namespace.apply(&sidecar.to_string());
    namespace.wait_ready("ship");
    let roles: Value = serde_json::from_str(&kubectl(&["get", "clusterroles", "-o", "json"], "")).expect("JSON");
    let ours = |role: &&Value| role["metadata"]["annotations"]["meta.helm.sh/release-name"] == "logsidecar";
    assert_eq!(roles["items"].as_array().expect("a list").iter().filter(ours).count(), 0, "a Role is enough for one namespace");
    let log = kubectl(&["-n", "logsidecar-system", "logs", "-l", "app.kubernetes.io/name=logsidecar", "--tail=-1"], "");
    assert!(log.contains("patched") && !log.contains("without preflight"), "{log}");
    namespace.kubectl(&["delete", "logsidecars", "--all", "--timeout=180s"]);
    release(&["uninstall", "logsidecar"], "");

    install_as_before();
}
