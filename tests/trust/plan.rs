//! `logsidecar plan` says what the controller makes of a workload: the template that it shows is the one that is there afterwards,
//! byte for byte, and asking changes nothing.

mod generated;
mod states;

use logsidecar::{manifest, workload::kind::Kind};
use serde_json::Value;

use crate::{
    kubernetes::{eventually, example},
    stage::{SIDECAR, Stage},
};

/// What a command has answered.
#[derive(Debug)]
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The template of a workload, as it is planned, in the bytes of the API server.
    fn template(&self, kind: Kind, name: &str) -> String {
        self.workload(kind, name)["template"].to_string()
    }

    pub fn workload(&self, kind: Kind, name: &str) -> Value {
        let plan = self.json();
        let workloads = plan["workloads"].as_array().cloned().unwrap_or_default();
        let found = workloads.into_iter().find(|workload| workload["kind"] == kind.name() && workload["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name} in {self:?}"))
    }
}

impl Stage {
    /// Runs `logsidecar` as somebody does who works in this namespace.
    pub fn ask(&self, arguments: &[&str]) -> Answer {
        self.ask_as("kubeconfig", arguments)
    }

    /// The same with another kubeconfig of the folder.
    pub fn ask_as(&self, kubeconfig: &str, arguments: &[&str]) -> Answer {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_logsidecar"));
        command.args(arguments).current_dir(self.folder()).env("KUBECONFIG", self.folder().join(kubeconfig));
        let output = crate::process::run(&mut command, b"").expect("the executable starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() }
    }

    fn plan(&self, arguments: &[&str]) -> Answer {
        self.ask(&[&["plan", "-o", "json"], arguments].concat())
    }

    /// The template of a workload in the bytes of the API server: what kubectl prints otherwise is sorted.
    pub fn bytes(&self, kind: Kind, name: &str) -> String {
        let resource = kind.resource();
        let path = format!("/apis/{}/namespaces/{}/{}/{name}", kind.api_version(), self.namespace.name, resource.plural);
        let object: Value = serde_json::from_str(&self.run(&format!("kubectl get --raw {path}"))).expect("JSON");
        object.pointer(kind.template()).expect("a template").to_string()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder().join(file), text).expect("written");
    }

    /// Waits until a workload has just this template.
    fn becomes(&self, kind: Kind, name: &str, template: &str) {
        let mut last = String::new();
        let start = std::time::Instant::now();
        while start.elapsed().as_secs() < 180 {
            last = self.bytes(kind, name);
            if last == template {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{kind} {name} does not become as planned:\n{template}\nbut\n{last}");
    }
}

/// From nothing to a sidecar and back, planned before each step.
fn plan_and_compare(case: &str) {
    let stage = Stage::new("plan");
    let file = |name: &str| example(case, name).unwrap_or_default();
    let (workload, sidecar) = (file("workload.yaml"), file("logsidecar.yaml"));
    let object = manifest::read("workload.yaml", workload.as_bytes()).expect("YAML").remove(0).value;
    let name = object["metadata"]["name"].as_str().expect("a name");
    stage.write("sidecar.yaml", &sidecar);
    eventually("a service account, as a Pod needs one", || stage.shell("kubectl get serviceaccount default").ok());
    stage.namespace.apply(&workload);
    if object["kind"] != "Deployment" {
        assert_eq!(stage.plan(&["-f", "sidecar.yaml"]).code, Some(0), "{case}: the controller does not act on it");
        return;
    }
    let before = stage.bytes(Kind::Deployment, name);

    let planned = stage.plan(&["-f", "sidecar.yaml"]);
    assert_eq!(planned.code, Some(1), "{case}: {planned:?}");
    assert_eq!(planned.workload(Kind::Deployment, name)["result"], "Change", "{case}");
    let template = planned.template(Kind::Deployment, name);
    stage.namespace.apply(&sidecar);
    assert_eq!(stage.plan(&[]).template(Kind::Deployment, name), template, "{case}: applied, and nobody acts on it yet");

    let controller = stage.controller();
    controller.start();
    stage.becomes(Kind::Deployment, name, &template);
    assert_eq!(stage.plan(&[]).code, Some(0), "{case}: at rest");

    controller.proxy.kill();
    stage.run("kubectl delete logsidecars --all --wait=false");
    let back = stage.plan(&[]);
    assert_eq!((back.code, &back.workload(Kind::Deployment, name)["reason"]), (Some(1), &"Removed".into()), "{case}");
    assert_eq!(back.template(Kind::Deployment, name), before, "{case}: back");
    controller.start();
    stage.becomes(Kind::Deployment, name, &before);
    stage.uninject();
}

#[test]
fn what_is_planned_for_an_example_is_what_becomes_of_it() {
    let examples = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).expect("a folder");
    let mut cases: Vec<String> =
        examples.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    cases.sort();
    assert_eq!(cases.len(), 16);
    cases.iter().for_each(|case| plan_and_compare(case));
}

/// The version of everything that could be written to.
fn versions(stage: &Stage) -> String {
    stage.run("kubectl get deployments,logsidecars,events,controllerrevisions -o jsonpath='{range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}'")
}

/// Waits until no one else writes any more: the rollout has ended, and so has the LogSidecar, if there is one. What comes last is an
/// Event, so a second look has to find the same.
fn rests(stage: &Stage) {
    let is_done = |object: &Value, kind: &str, field: &str, wanted: &str| {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == kind && condition[field] == wanted)
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    let mut before = String::new();
    eventually("the end of the rollout, and of all writes", || {
        let all = |kind: &str| stage.namespace.json(&["get", kind])["items"].as_array().cloned().unwrap_or_default();
        let rolled_out = all("deployments").iter().all(|one| is_done(one, "Progressing", "reason", "NewReplicaSetAvailable"));
        let ready = all("logsidecars").iter().all(|one| is_done(one, "Ready", "status", "True"));
        let now = versions(stage);
        let is_same = std::mem::replace(&mut before, now) == before;
        (rolled_out && ready && is_same).then_some(())
    });
}

#[test]
fn the_exit_code_says_what_would_happen_and_asking_changes_nothing() {
    let stage = Stage::new("plan");
    let ask = |arguments: &[&str]| {
        let before = (versions(&stage), stage.templates());
        let answer = stage.ask(arguments);
        stage.ask(&["status"]);
        stage.ask(&["explain", "deployment/web"]);
        assert_eq!((versions(&stage), stage.templates()), before, "{arguments:?} has written something");
        answer
    };
    stage.run("kubectl apply -f web.yaml");
    rests(&stage);
    let nothing = ask(&["plan"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), "Plan: no workload is concerned.\n"), "{nothing:?}");
    let something = ask(&["plan", "-f", "ship.yaml"]);
    assert_eq!(something.code, Some(1), "{something:?}");
    let first = something.stdout.lines().next().unwrap_or_default().to_owned();
    assert_eq!(first, format!("Deployment {}/web  (LogSidecar ship)  1 rollout, 0 pods", stage.namespace.name));
    assert!(something.stdout.ends_with("soak 15s; on failure: Halt\n"), "{something:?}");

    stage.write("bad.yaml", &SIDECAR.replace("directory: /var/log/app", "directory: /var/log/app, container: nobody"));
    let blocked = ask(&["plan", "-f", "bad.yaml"]);
    assert_eq!(blocked.code, Some(2), "{blocked:?}");
    assert!(blocked.stdout.contains("  Blocked: ContainerNotFound: "), "{blocked:?}");
    assert_eq!(blocked.stderr, "error: 1 workload cannot be what it is to be: see Blocked in the plan\n");

    stage.namespace.apply(SIDECAR);
    assert_eq!(ask(&["plan"]).code, Some(1));
    let other = ask(&["plan", "other"]);
    assert_eq!((other.code, other.stdout.as_str()), (Some(2), ""), "{other:?}");
    let controller = stage.controller();
    controller.start();
    stage.converges();
    rests(&stage);
    let done = ask(&["plan", "ship"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.ends_with("Plan: nothing would change, 1 stays as it is.\n"), "{done:?}");
    stage.uninject();
}

#[test]
fn somebody_who_may_not_is_told_which_rule_he_lacks() {
    let stage = Stage::new("plan");
    stage.run("kubectl apply -f web.yaml");
    stage.run("kubectl config view --raw --flatten > reader && kubectl --kubeconfig=reader config set-credentials nobody --token=none");
    stage.run("sed -i 's/^- name: admin$/&/' reader");
    let text = stage.run("cat kubeconfig");
    let as_reader = |text: &str| {
        text.replace("  user:\n    client-certificate-data", "  user:\n    as: reader\n    client-certificate-data")
    };
    stage.write("reader", &as_reader(&text));
    assert!(as_reader(&text) != text, "{text}");
    let forbidden = stage.ask_as("reader", &["plan", "-f", "ship.yaml"]);
    assert_eq!((forbidden.code, forbidden.stdout.as_str()), (Some(2), ""));
    let told = format!("error: not allowed to list deployments in namespace {}: ", stage.namespace.name);
    assert!(forbidden.stderr.starts_with(&told), "{forbidden:?}");

    stage.run("kubectl create role reader --verb=get,list --resource=deployments,statefulsets,daemonsets,cronjobs,logsidecars && kubectl create rolebinding reader --role=reader --user=reader");
    let status = stage.ask_as("reader", &["status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let forbidden = stage.ask_as("reader", &["plan", "-f", "ship.yaml"]);
    assert!(forbidden.stderr.contains(&format!("not allowed to patch deployments web in namespace {}", stage.namespace.name)));

    // What preflight asks for is only advice.
    stage.run("kubectl create role patcher --verb=patch --resource=deployments && kubectl create rolebinding patcher --role=patcher --user=reader");
    let planned = stage.ask_as("reader", &["plan", "-f", "ship.yaml"]);
    assert_eq!(planned.code, Some(1), "{planned:?}");
    assert!(planned.stderr.contains("warning: not allowed to read "), "{planned:?}");
}
