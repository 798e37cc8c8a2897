//! Fluent Bit 5.1: small, and for every destination.
//!
//! Offsets are kept when a line is read, not when it is delivered, so what has been read is on the disk (`storage.type: filesystem`),
//! and when that is full, reading pauses (`storage.pause_on_chunks_overlimit`) instead of dropping the oldest. Retries never end.

mod inputs;
mod outputs;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{Error, NativeConfig, OwnConfig, Pipeline, ShipperKind, engine, fields, own};
use crate::{api::ShipperName, manifest};

/// The image that it runs by default.
pub const IMAGE: &str = "fluent/fluent-bit:5.1.1";

/// How it is set up.
pub static KIND: ShipperKind = ShipperKind {
    name: ShipperName::FluentBit,
    image: |_, images| images.fluent_bit.clone(),
    container,
    config: Some(NativeConfig {
        file: FILE,
        port: PORT,
        render: config,
        own: OwnConfig { is_yaml: true, variables: &VARIABLES, check: |_| Ok(()) },
    }),
};

/// The config file.
pub const FILE: &str = "fluent-bit.yaml";

/// The port for the kubelet, by default.
pub const PORT: u16 = 2020;

/// The variable with a dollar sign in it. Fluent Bit replaces `${NAME}` in every value and has no escape for it; what it puts in is
/// not looked at again.
const DOLLAR: &str = "LOGSIDECAR_DOLLAR";

/// A chunk of its buffer has about so many bytes.
const CHUNK: u64 = 2 << 20;

/// A variable of the environment in a config of the author's own.
static VARIABLES: LazyLock<Regex> = LazyLock::new(|| own::compiled(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}"));

/// Renders the native config.
pub fn config(pipeline: &Pipeline<'_>) -> Result<String, Error> {
    engine::refuse_two_aws_keys(&pipeline.outputs)?;
    let mut parsers = Vec::new();
    let mut multiline_parsers = Vec::new();
    let mut sources = Vec::new();
    let mut filters = Vec::new();
    for source in &pipeline.sources {
        parsers.extend(inputs::parser(source)?);
        multiline_parsers.extend(inputs::multiline(source)?);
        sources.push(inputs::input(source, pipeline.max_line)?);
        filters.extend(inputs::filters(source));
    }
    let outputs = pipeline.outputs.iter().map(outputs::output).collect::<Result<Vec<Value>, Error>>()?;
    let mut config = json!({"service": {
        "flush": 1,
        // Of the 30 seconds that a pod has.
        "grace": 20,
        "log_level": "info",
        "http_server": "on",
        "http_listen": "0.0.0.0",
        "http_port": pipeline.port,
        "storage.path": format!("{}/storage", engine::STATE),
        "storage.max_chunks_up": (pipeline.buffer / CHUNK).max(4),
        "storage.backlog.mem_limit": "8M",
        "scheduler.base": 2,
        "scheduler.cap": 30,
    }});
    for (section, entries) in [("parsers", parsers), ("multiline_parsers", multiline_parsers)] {
        if !entries.is_empty() {
            config[section] = entries.into();
        }
    }
    config["pipeline"] = json!({"inputs": sources, "filters": filters, "outputs": outputs});
    Ok(manifest::write(&config))
}

/// The container, without image, name, mounts and environment.
///
/// Requests are what was measured (18 MiB idle, 27 MiB and a tenth of a core at 10,000 lines a second) with some room.
#[must_use]
pub fn container(pipeline: &Pipeline<'_>) -> Map<String, Value> {
    let mut env = vec![json!({"name": DOLLAR, "value": "$"})];
    env.extend(engine::aws_environment(&pipeline.outputs));
    fields(json!({
        "command": ["/fluent-bit/bin/fluent-bit"],
        "args": ["-c", format!("{}/{FILE}", engine::CONFIG)],
        "env": env,
        "ports": [{"name": "flb-health", "containerPort": pipeline.port}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "192Mi"}},
        // Not /api/v1/health, which says that it is ill when a destination is down.
        "livenessProbe": engine::liveness("/api/v1/uptime", pipeline.port),
    }))
}

/// A user's text, in which Fluent Bit finds no variable.
fn text(user: &str) -> String {
    user.replace("${", &format!("${{{DOLLAR}}}{{"))
}

#[cfg(test)]
mod tests;
