//! The controller as a process behind a proxy.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use tempfile::TempDir;

use crate::{kubernetes::try_kubectl, proxy::Proxy, stage::SECRET};

/// The controller of one namespace. Ends with its case.
pub struct Controller {
    pub proxy: Arc<Proxy>,
    namespace: String,
    options: Vec<String>,
    folder: TempDir,
}

impl Controller {
    /// Not running yet.
    pub fn new(namespace: &str, options: &[&str]) -> Self {
        let proxy = Proxy::start();
        let folder = tempfile::tempdir().expect("a folder");
        let server = format!("http://{}", proxy.address);
        let kubeconfig = format!(
            "{{apiVersion: v1, kind: Config, current-context: x, users: [{{name: x, user: {{}}}}],\n clusters: [{{name: x, cluster: {{server: '{server}'}}}}], contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"
        );
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).expect("written");
        let options = options.iter().map(ToString::to_string).collect();
        Self { proxy, namespace: namespace.to_owned(), options, folder }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts it, or starts it again.
    pub fn start(&self) {
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_logsidecar"))
            .args(["run", "--namespace", &self.namespace, "--health-address=127.0.0.1:0", "--log-level=debug,hyper=off"])
            .args(&self.options)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the controller starts");
        *self.proxy.process.lock().expect("no panic") = Some(child);
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Controller {
    /// Whatever the case was about: the shipped roles suffice for all of it, and no value of a workload's environment is told.
    fn drop(&mut self) {
        self.proxy.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the controller\n{}", self.log());
            self.proxy.seen().iter().for_each(|request| eprintln!("{request:?}"));
            return;
        }
        // For an Event, 403 may also say that its namespace is being deleted; `e2e uninstall` looks at the decisions themselves.
        let forbidden = self.proxy.count(|request| request.code == Some(403) && request.resource != "events");
        assert_eq!(forbidden, 0, "the shipped roles do not suffice");
        let told = try_kubectl(&["-n", &self.namespace, "get", "events.events.k8s.io,logsidecars", "-o", "json"], "");
        for (what, text) in [("its log", self.log()), ("Events and status", told.unwrap_or_default())] {
            assert!(!text.contains(SECRET), "{what} tells what is in somebody's environment");
        }
    }
}
