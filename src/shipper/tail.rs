//! The `tail` shipper: every line on the sidecar's standard output, by a shell script that busybox runs.
//!
//! No configuration file, no state: after a restart of the sidecar the files are printed from their beginning again.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{Images, Pipeline, ShipperKind, fields, literal};
use crate::api::ShipperName;

/// The image that it runs by default.
pub const IMAGE: &str = "busybox:1.37.0";

/// How it is set up.
pub static KIND: ShipperKind =
    ShipperKind { name: ShipperName::Tail, image: |_, images| images.tail.clone(), container: in_pipeline, config: None };

fn in_pipeline(pipeline: &Pipeline<'_>) -> Map<String, Value> {
    let files: Vec<String> = pipeline.sources.iter().flat_map(|source| source.files.iter().cloned()).collect();
    of_files(&files)
}

/// The program without its comments, which would be in every pod template.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let lines = include_str!("tail.sh").lines().filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
});

/// Returns the container that prints these files, without name and mounts.
///
/// Requests are what was measured (busybox at 1 line/s: 4 MiB for shell, tail, tr and awk of one file) with some room.
/// There is no CPU limit: throttling would only delay lines.
#[must_use]
pub fn container(files: &[String], images: &Images) -> Map<String, Value> {
    let mut container = of_files(files);
    container.shift_insert(0, "image".to_owned(), images.tail.as_str().into());
    container
}

fn of_files(files: &[String]) -> Map<String, Value> {
    let files: Vec<Value> = files.iter().map(|file| literal(file)).collect();
    fields(json!({
        "command": ["sh", "-c", *SCRIPT, "tail"],
        "args": files,
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_arguments_that_the_kubelet_does_not_expand() {
        let files = ["/l/$(HOME)*.log".to_owned(), "/l/$X".to_owned()];
        assert_eq!(container(&files, &Images::default())["args"], json!(["/l/$$(HOME)*.log", "/l/$X"]));
    }
}
