//! One case: a namespace, a controller behind a proxy, a witness.

use std::{path::Path, process::Command, sync::OnceLock};

use kube::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    controller::Controller,
    kubernetes::{Namespace, eventually, kubectl},
    oracle, process,
    proxy::runtime,
    witness::Witness,
};

/// The workload of every case: an application, what else may be in a pod, and a value that must never be seen anywhere else.
pub const WORKLOAD: &str = include_str!("web.yaml");

/// What [`WORKLOAD`] has as a plain value in its environment.
pub const SECRET: &str = "hunter2-never-to-be-told";

/// The LogSidecar of most cases.
pub const SIDECAR: &str = "{apiVersion: logsidecar.dev/v1alpha1, kind: LogSidecar, metadata: {name: ship}, spec: {target: {name: web}, logs: [{name: app, directory: /var/log/app}]}}";

/// The person who runs the suite: may do everything.
pub fn admin() -> Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| runtime().block_on(Client::try_default()).expect("KUBECONFIG names a control plane")).clone()
}

/// A namespace in which somebody works with his own tools.
pub struct Stage {
    pub namespace: Namespace,
    pub witness: Witness,
    folder: TempDir,
}

impl Stage {
    pub fn new(case: &str) -> Self {
        let namespace = Namespace::new(case);
        let folder = tempfile::tempdir().expect("a folder");
        let config = kubectl(&["config", "view", "--raw", "--flatten"], "");
        std::fs::write(folder.path().join("kubeconfig"), config).expect("written");
        std::fs::write(folder.path().join("web.yaml"), WORKLOAD).expect("written");
        std::fs::write(folder.path().join("ship.yaml"), SIDECAR).expect("written");
        let witness = Witness::of(&admin(), &namespace.name);
        let stage = Self { namespace, witness, folder };
        stage.shell("kubectl config set-context --current --namespace=$NAMESPACE").expect("a context");
        stage
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a script in a shell in which `kubectl` and `helm` mean this namespace and `web.yaml` is the workload; the error is
    /// what it says.
    pub fn shell(&self, script: &str) -> Result<String, String> {
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.folder.path())
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("NAMESPACE", &self.namespace.name);
        let output = process::run(&mut command, b"").expect("bash");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
    }

    /// The same, which has to succeed.
    pub fn run(&self, script: &str) -> String {
        self.shell(script).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The template as it is now.
    pub fn template(&self) -> Value {
        self.namespace.template("web")
    }

    /// How often the workload has got another template.
    pub fn templates(&self) -> usize {
        // The watch may be behind what kubectl has just read.
        let live = self.namespace.json(&["get", "deployment", "web", "--ignore-not-found"])["spec"]["template"].clone();
        eventually("the witness to see the template", || {
            let seen = self.witness.templates("web");
            (live.is_null() || seen.last() == Some(&live)).then_some(seen.len())
        })
    }

    pub fn controller(&self) -> Controller {
        self.controller_with(&[])
    }

    /// The same with more options.
    pub fn controller_with(&self, options: &[&str]) -> Controller {
        Controller::new(&self.namespace.name, options)
    }

    /// Waits until everything is as the LogSidecars ask for.
    pub fn converges(&self) {
        let mut why = None;
        let start = std::time::Instant::now();
        loop {
            let before = std::mem::replace(&mut why, oracle::wrong(&admin(), &self.namespace.name));
            match &why {
                None => return,
                Some(why) if start.elapsed().as_secs() > 180 => panic!("not after three minutes: {why} (before: {before:?})"),
                Some(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
            }
        }
    }

    /// Puts a LogSidecar in and waits for it.
    pub fn inject(&self, manifest: &str) {
        self.namespace.apply(manifest);
        self.converges();
    }

    /// Takes all LogSidecars out and waits for that.
    pub fn uninject(&self) {
        self.namespace.kubectl(&["delete", "logsidecars", "--all", "--timeout=600s"]);
    }
}

impl Drop for Stage {
    /// Without a controller a LogSidecar would keep its namespace for ever.
    fn drop(&mut self) {
        drop(self.shell("for name in $(kubectl get logsidecars -o name); do kubectl patch $name --type=merge -p '{\"metadata\": {\"finalizers\": null}}'; done"));
    }
}
