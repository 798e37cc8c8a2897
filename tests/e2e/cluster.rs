//! The cluster under test, by way of `kubectl`, as a user would see it.

use std::{
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::process;

/// Runs `kubectl`; the error is what it says on standard error.
pub fn try_kubectl(arguments: &[&str], stdin: &str) -> Result<String, String> {
    let output = process::run(Command::new("kubectl").args(arguments), stdin.as_bytes())
        .expect("kubectl is in PATH: run the suite with `make test`");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs `kubectl`, which has to succeed.
pub fn kubectl(arguments: &[&str], stdin: &str) -> String {
    try_kubectl(arguments, stdin).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
}

/// Runs `logsidecar`, which has to succeed.
pub fn logsidecar(arguments: &[&str], stdin: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logsidecar"));
    let output = process::run(command.args(arguments), stdin.as_bytes()).expect("the executable starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "logsidecar {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("text")
}

/// Waits until `look` finds something. The cluster decides how long that takes; the limit is for when it never does.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(180), what, look)
}

/// The same for what takes longer.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    // A look is often a kubectl: many of them would keep a small machine from what they wait for.
    let mut pause = Duration::from_millis(50);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {} s for: {what}", limit.as_secs());
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// What the script that makes clusters prints, or says where it cannot do that.
pub fn script(command: &str) -> Result<String, String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/cluster");
    let output = process::run(Command::new(script).arg(command), b"").expect("the script runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Kills the kubelet and waits until it is there again.
pub fn restart_kubelet() {
    if let Err(why) = script("kill-kubelet") {
        left_out("a restart of the kubelet", &why);
    }
}

/// Says in the output of the suite why a part of a case is left out.
pub fn left_out(case: &str, why: &str) {
    tell(&format!("NOT SHOWN {case}: {why}"));
}

/// Says something in the output of the suite, past the capture of the test runner: a case that is left out silently would look like
/// one that passed, and a figure that nobody sees need not be measured.
pub fn tell(line: &str) {
    drop(std::io::stderr().write_all(format!("{line}\n").as_bytes()));
}

/// A namespace of one case; deleted with it.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new(case: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("e2e-{case}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        kubectl(&["create", "namespace", &name], "");
        Self { name }
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", &self.name], arguments].concat(), "")
    }

    pub fn apply(&self, manifest: &str) {
        kubectl(&["-n", &self.name, "apply", "-f", "-"], manifest);
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// A cluster without a provisioner needs the volume of a claim, too.
    pub fn provide_volume(&self, claim: &str, size: &str) {
        let classes: Value = serde_json::from_str(&kubectl(&["get", "storageclass", "-o", "json"], "")).expect("JSON");
        if classes["items"].as_array().is_some_and(Vec::is_empty) {
            let name = &self.name;
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
                "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "claimRef": {"namespace": name, "name": claim},
                "hostPath": {"path": format!("/run/{name}"), "type": "DirectoryOrCreate"}}});
            kubectl(&["apply", "-f", "-"], &volume.to_string());
        }
    }

    /// The pod template of a Deployment.
    pub fn template(&self, deployment: &str) -> Value {
        self.json(&["get", "deployment", deployment])["spec"]["template"].clone()
    }

    /// How many different templates a Deployment has rolled out.
    pub fn rollouts(&self, deployment: &str) -> usize {
        let sets = self.json(&["get", "replicasets"]);
        let owned = |set: &&Value| set["metadata"]["ownerReferences"][0]["name"] == deployment;
        sets["items"].as_array().expect("a list").iter().filter(owned).count()
    }

    pub fn wait(&self, object: &str, condition: &str) {
        self.kubectl(&["wait", object, &format!("--for={condition}"), "--timeout=180s"]);
    }

    /// Waits until a LogSidecar has seen its current spec through.
    pub fn wait_ready(&self, sidecar: &str) {
        // kubectl watches, and judges a condition of an older generation as not there.
        self.wait(&format!("logsidecar/{sidecar}"), "condition=Ready");
    }

    /// Waits until the status describes the current spec and `Ready` is as wanted; returns the condition.
    pub fn settled(&self, sidecar: &str, ready: impl Fn(&str) -> bool) -> Value {
        eventually(&format!("LogSidecar {sidecar}"), || {
            let object = self.json(&["get", "logsidecar", sidecar]);
            let conditions = object["status"]["conditions"].as_array()?.clone();
            let condition = conditions.into_iter().find(|condition| condition["type"] == "Ready")?;
            let current = condition["observedGeneration"] == object["metadata"]["generation"];
            (current && ready(condition["status"].as_str()?)).then_some(condition)
        })
    }

    /// How many writing requests of the controller for workloads of this namespace were answered with that code, dry-runs
    /// included; `None` if the cluster keeps no audit log that can be read here.
    pub fn answered(&self, code: u16) -> Option<usize> {
        let ours = requests()?.into_iter().filter(|event| {
            event["objectRef"]["namespace"] == self.name.as_str()
                && event["objectRef"]["resource"] == "deployments"
                && event["responseStatus"]["code"] == code
                && !["get", "list", "watch"].contains(&event["verb"].as_str().unwrap_or_default())
        });
        Some(ours.count())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            for arguments in [&["get", "logsidecars,deployments,replicasets,pods"][..], &["get", "events"]] {
                let text = try_kubectl(&[&["-n", &self.name], arguments].concat(), "").unwrap_or_else(|error| error);
                drop(std::io::stderr().write_all(text.as_bytes()));
            }
            return;
        }
        drop(try_kubectl(&["delete", "namespace", &self.name, "--wait=false"], ""));
    }
}

/// Everything that the controller has asked the API server, by the audit log; `None` if there is none that can be read here.
pub fn requests() -> Option<Vec<Value>> {
    let log = std::fs::read_to_string(std::env::var_os("LOGSIDECAR_AUDIT_LOG")?).ok()?;
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Some(events.filter(|event| event["user"]["username"] == "system:serviceaccount:logsidecar-system:logsidecar").collect())
}

/// A file of an example.
pub fn example(case: &str, file: &str) -> Option<String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "examples", case, file].iter().collect();
    std::fs::read_to_string(path).ok()
}

/// Images that this cluster can run, if it cannot pull; `None` if it can pull anything.
pub fn has_image(image: &str) -> bool {
    static IMAGES: OnceLock<Option<String>> = OnceLock::new();
    IMAGES
        .get_or_init(|| std::env::var("LOGSIDECAR_IMAGES").ok())
        .as_ref()
        .is_none_or(|images| images.split(',').any(|i| i == image))
}

/// Whether pods are being replaced: what `kubectl rollout status` waits for.
pub fn is_under_way(object: &Value) -> bool {
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let count = |field: &str| object["status"][field].as_i64().unwrap_or_default();
    let observed = count("observedGeneration") >= object["metadata"]["generation"].as_i64().unwrap_or_default();
    !observed || ["replicas", "updatedReplicas", "availableReplicas"].iter().any(|field| count(field) != wanted)
}
