//! What is measured, and how: from the environment, as `tests/bench/run` explains.

use std::path::PathBuf;

use crate::Result;

pub struct Settings {
    /// How many Deployments; ascending.
    pub sizes: Vec<usize>,
    pub rounds: usize,
    /// The command that starts the system.
    pub start: String,
    /// Its service account: namespace and name.
    pub account: (String, String),
    /// What is created to begin.
    pub manifest: PathBuf,
    /// A JSON pointer that a Deployment has once it is patched.
    pub done: String,
}

impl Settings {
    pub fn from_environment() -> Result<Self> {
        let get = |name: &str, default: &str| {
            std::env::var(name).ok().filter(|value| !value.trim().is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let controller = concat!(env!("CARGO_BIN_EXE_logsidecar"), " run --health-address=127.0.0.1:0");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/logsidecar.yaml");
        let account = get("SUT_ACCOUNT", "logsidecar-system/logsidecar");
        let (namespace, name) = account.split_once('/').ok_or("SUT_ACCOUNT: write NAMESPACE/NAME")?;
        let mut sizes: Vec<usize> =
            get("N", "100 1000 10000").split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        // Deployments are only ever added.
        sizes.sort_unstable();
        Ok(Self {
            sizes,
            rounds: get("ROUNDS", "3").parse()?,
            start: get("SUT_START", controller),
            account: (namespace.to_owned(), name.to_owned()),
            manifest: get("SUT_MANIFEST", manifest).into(),
            done: get("SUT_DONE", "/metadata/annotations/logsidecar.dev~1injected"),
        })
    }
}
