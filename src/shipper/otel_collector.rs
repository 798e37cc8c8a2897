//! The OpenTelemetry Collector (distribution `contrib`).
//!
//! A line is in the queue on the disk before its position is: there is no `batch` processor, which would hold lines in memory that
//! the receiver has ticked off already. A queue that is full makes the receiver wait (`block_on_overflow`) and drops nothing.

mod exporters;
mod multiline;
mod pipelines;
mod receivers;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use self::{exporters::Exporter, pipelines::pipelines};
use super::{Error, NativeConfig, OwnConfig, Pipeline, ShipperKind, engine, fields, own};
use crate::{api::ShipperName, manifest};

/// The image that it runs by default.
pub const IMAGE: &str = "otel/opentelemetry-collector-contrib:0.159.0";

/// How it is set up.
pub static KIND: ShipperKind = ShipperKind {
    name: ShipperName::OtelCollector,
    image: |_, images| images.otel_collector.clone(),
    container,
    config: Some(NativeConfig {
        file: FILE,
        port: PORT,
        render: config,
        own: OwnConfig { is_yaml: true, variables: &VARIABLES, check: pipelines },
    }),
};

/// The config file.
pub const FILE: &str = "collector.yaml";

/// The port for the kubelet, by default.
pub const PORT: u16 = 13133;

/// The extension that keeps positions and queues.
const STORAGE: &str = "file_storage";

/// A variable of the environment in a config of the author's own: not where a default is given, or the dollar sign is escaped.
static VARIABLES: LazyLock<Regex> = LazyLock::new(|| own::compiled(r"\$\$|\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}"));

/// Renders the native config.
pub fn config(pipeline: &Pipeline<'_>) -> Result<String, Error> {
    engine::refuse_two_aws_keys(&pipeline.outputs)?;
    let labels = exporters::labels(&pipeline.outputs);
    let mut receivers = Map::new();
    for source in &pipeline.sources {
        receivers.insert(format!("filelog/{}", source.name), receivers::receiver(source, pipeline.max_line, &labels)?);
    }
    let directory = format!("{}/otel", engine::STATE);
    let mut extensions = Map::from_iter([
        (
            STORAGE.to_owned(),
            json!({
                "directory": directory,
                "create_directory": true,
                // What was needed once is given back.
                "compaction": {"directory": directory, "on_start": true, "on_rebound": true},
            }),
        ),
        ("health_check".to_owned(), json!({"endpoint": format!("0.0.0.0:{}", pipeline.port)})),
    ]);
    let mut sent = Map::new();
    let share = pipeline.buffer / (pipeline.outputs.len().max(1) as u64);
    for output in &pipeline.outputs {
        let Exporter { name, config, extension } = exporters::exporter(output, share)?;
        extensions.extend(extension);
        sent.insert(name, config);
    }
    let names = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    let pipeline = json!({"receivers": names(&receivers), "processors": ["memory_limiter"], "exporters": names(&sent)});
    Ok(manifest::write(&json!({
        "extensions": extensions,
        "receivers": receivers,
        "processors": {"memory_limiter": {"check_interval": "1s", "limit_mib": 180, "spike_limit_mib": 40}},
        "exporters": sent,
        "service": {
            "extensions": names(&extensions),
            // Its own metrics would take a port that somebody else may have.
            // At `warn` it would say nothing of a destination that is down: it tells of retries at `info`.
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "info"}},
            "pipelines": {"logs": pipeline},
        },
    })))
}

/// The container, without image, name, mounts and environment.
///
/// Requests are what was measured (27 MiB idle, 47 MiB and a fifth of a core at 10,000 lines a second, with five components) with
/// room for the many components of the public image.
#[must_use]
pub fn container(pipeline: &Pipeline<'_>) -> Map<String, Value> {
    let mut env = vec![json!({"name": "GOMEMLIMIT", "value": "200MiB"})];
    env.extend(engine::aws_environment(&pipeline.outputs));
    fields(json!({
        // Else up to a hundred lines wait in memory whose position is kept already, and a SIGKILL loses them (measured).
        "args": [format!("--config={}/{FILE}", engine::CONFIG), "--feature-gates=stanza.synchronousLogEmitter"],
        "env": env,
        "ports": [{"name": "otel-health", "containerPort": pipeline.port}],
        "resources": {"requests": {"cpu": "25m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "livenessProbe": engine::liveness("/", pipeline.port),
        // It does not look at the files once more when it is told to end: a line of the last half second would be lost (measured).
        // By the kubelet (Kubernetes 1.30 and later), as its image has no `sleep`.
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
    }))
}

/// A user's text, in which the collector finds no variable.
fn text(user: &str) -> String {
    user.replace('$', "$$")
}

/// What a variable of the environment holds.
fn variable(name: &str) -> String {
    format!("${{env:{name}}}")
}

#[cfg(test)]
mod tests;
