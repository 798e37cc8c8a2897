//! The answers of the commands that read a cluster: as text for people, as JSON or YAML for programs. Pure.
//!
//! * [`plan`]: what would change
//! * [`status`]: one line for each target
//! * [`explain`]: why one workload is as it is
//! * `mismatch`: why a `LogSidecar` does not match a workload
//! * `style`: colours and columns

pub mod explain;
mod mismatch;
pub mod plan;
pub mod status;
mod style;

use serde::Serialize;

pub use self::{mismatch::mismatch, style::Paint};
use crate::{manifest, workload::kind::Kind};

/// The form of an answer.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Writes an answer in a form; `text` returns the one for people.
///
/// # Panics
/// Never: an answer is made of strings, numbers and JSON.
#[must_use]
pub fn write<T: Serialize>(form: OutputFormat, answer: &T, text: impl FnOnce(&T) -> String) -> String {
    let value = || serde_json::to_value(answer).expect("strings and numbers are JSON");
    match form {
        OutputFormat::Text => text(answer),
        OutputFormat::Json => format!("{:#}\n", value()),
        OutputFormat::Yaml => manifest::write(&value()),
    }
}

/// A reference to a workload in an answer.
#[derive(Serialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: String,
    /// Group and version of its kind.
    pub api_version: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl WorkloadRef {
    /// Returns a reference.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let (kind, api_version) = (kind.name().to_owned(), kind.api_version().to_owned());
        Self { kind, api_version, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl std::fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// `1 pod`, `2 pods`.
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("{count} {what}") } else { format!("{count} {what}s") }
}
