//! Shippers: from a pipeline that we understand to a container that a shipper's own expert would write. Pure.

pub mod tail;

use serde_json::Value;

/// What a shipper has to do, with all paths as the sidecar sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Absolute shell patterns of the files.
    pub files: Vec<String>,
}

/// The images of shippers: configuration of whoever runs the controller, because clusters have mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// An image with busybox' `sh` and `tail`.
    pub tail: String,
}

impl Default for Images {
    fn default() -> Self {
        Self { tail: "busybox:1.37.0".to_owned() }
    }
}

/// Escapes text for `command`, `args` and `env` of a container, where the kubelet expands `$(NAME)`.
#[must_use]
pub fn literal(text: &str) -> Value {
    Value::String(text.replace("$(", "$$("))
}
