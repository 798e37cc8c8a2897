//! The commands on manifests as functions from text to text.

use super::{exit::printable, inject::inject, input::Input, uninject::uninject, validate::validate};
use crate::{manifest, shipper::Images, workload::kind::Kinds};

/// A command on manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `logsidecar inject`
    Inject,
    /// `logsidecar uninject`
    Uninject,
    /// `logsidecar validate`
    Validate,
}

impl Verb {
    /// Returns what the command prints for a text on standard input, or the message that it fails with. Reads nothing, and
    /// writes nothing but warnings.
    pub fn on_text(self, text: &[u8]) -> Result<String, String> {
        let documents = manifest::read("-", text).map_err(|error| printable(&[error.to_string()]))?;
        let images = Images::default();
        let output = Input::from_documents(documents, "default", Kinds::default()).and_then(|input| match self {
            Self::Inject => inject(input, &images),
            Self::Uninject => uninject(input),
            Self::Validate => validate(&input, &images),
        });
        output.map_err(|failure| failure.to_string())
    }
}
