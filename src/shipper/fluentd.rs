//! The shipper Fluentd.

use serde_json::{Map, Value, json};

use super::{Error, Pipeline, engine};

/// The config file.
pub const FILE: &str = "fluent.conf";

/// The port for the kubelet, by default.
pub const PORT: u16 = 24220;

/// The native config.
pub fn config(_: &Pipeline<'_>) -> Result<String, Error> {
    Ok(String::new())
}

/// The container, without image, name, mounts and environment.
#[must_use]
pub fn container(pipeline: &Pipeline<'_>) -> Map<String, Value> {
    let container = json!({
        "args": [],
        "livenessProbe": engine::liveness("/", pipeline.port),
    });
    match container {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The image with the plugins that the outputs need.
#[must_use]
pub fn image(_: &[super::Output], images: &super::Images) -> String {
    images.fluentd.clone()
}
