//! The controller as a process behind a proxy.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use tempfile::TempDir;

use crate::proxy::Proxy;

/// The controller of one namespace. Ends with its case.
pub struct Controller {
    pub proxy: Arc<Proxy>,
    namespace: String,
    folder: TempDir,
}

impl Controller {
    /// Not running yet.
    pub fn new(namespace: &str) -> Self {
        let proxy = Proxy::start();
        let folder = tempfile::tempdir().expect("a folder");
        let server = format!("http://{}", proxy.address);
        let kubeconfig = format!(
            "{{apiVersion: v1, kind: Config, current-context: x, users: [{{name: x, user: {{}}}}],\n clusters: [{{name: x, cluster: {{server: '{server}'}}}}], contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"
        );
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).expect("written");
        Self { proxy, namespace: namespace.to_owned(), folder }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts it, or starts it again.
    pub fn start(&self) {
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_logsidecar"))
            .args(["run", "--namespace", &self.namespace, "--health-address=127.0.0.1:0", "--log-level=debug,hyper=off"])
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
    fn drop(&mut self) {
        self.proxy.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the controller\n{}", self.log());
            for request in self.proxy.seen() {
                eprintln!("{request:?}");
            }
        }
    }
}
