//! The shipper Fluentd.
//!
//! Each output has a label, so that what a destination gives back comes to it again and to no other:
//!
//! ```text
//! tail of each entry of logs → @LINES: fields and metadata → @name of each output
//! ```

mod destination;
mod expression;
mod fields;
mod multiline;
mod output;
mod pattern;
#[cfg(test)]
mod reader;
mod search;
mod source;
#[cfg(test)]
mod tests;
mod text;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{Error, Images, NativeConfig, OwnConfig, Pipeline, ShipperKind, Source, Url, engine, excluded, own};
use crate::api::{Destination, Output, ShipperName};
use text::{Section, refused};

/// The image that it runs by default.
pub const IMAGE: &str = "fluent/fluentd:v1.19.3-debian-1.0";

/// The same with one more plugin in place of `{plugin}`.
pub const PLUGIN_IMAGE: &str = "fluent/fluentd-kubernetes-daemonset:v1.19.3-debian-{plugin}-1.1";

/// How it is set up.
pub static KIND: ShipperKind = ShipperKind {
    name: ShipperName::Fluentd,
    image,
    container,
    config: Some(NativeConfig {
        file: FILE,
        port: PORT,
        render: config,
        own: OwnConfig { is_yaml: false, variables: &VARIABLES, check: |_| Ok(()) },
    }),
};

/// The config file.
pub const FILE: &str = "fluent.conf";

/// The port for the kubelet, by default.
pub const PORT: u16 = 24220;

/// A variable of the environment in a config of the author's own: not where Ruby is told what to do without it.
static VARIABLES: LazyLock<Regex> = LazyLock::new(|| own::compiled(r#"ENV\[['"](?P<name>\w+)['"]\]\s*(?:\.to_\w+|\)|\}|$)"#));

/// Renders the native config.
pub fn config(pipeline: &Pipeline<'_>) -> Result<String, Error> {
    one_image(pipeline)?;
    for (what, name) in named(pipeline) {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            return Err(refused(&format!("{what}[{name}].name"), "write a name made of lower-case letters, digits and -"));
        }
    }
    let mut sections = vec![system(), alive(pipeline.port)];
    let mut lines = Section::new("label", "@LINES");
    for source in &pipeline.sources {
        sections.push(source::tail(pipeline, source)?);
        lines = fields::filters(pipeline, source)?.into_iter().fold(lines, Section::section);
    }
    sections.push(Section::new("label", "@HEALTH").section(Section::new("match", "**").set("@type", "null")));
    sections.push(lines.section(copy(pipeline)));
    for output in &pipeline.outputs {
        sections.push(output::label(pipeline, output)?);
    }
    Ok(sections.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn named<'a>(pipeline: &'a Pipeline<'_>) -> impl Iterator<Item = (&'static str, &'a str)> {
    let outputs = pipeline.outputs.iter().map(|output| ("outputs", output.name.as_str()));
    pipeline.sources.iter().map(|source| ("logs", source.name)).chain(outputs)
}

fn system() -> Section {
    Section::new("system", "")
        .set("root_dir", engine::STATE)
        .comment("Among the lines on standard output there is nothing that is not JSON.")
        .set("log_level", "warn")
        .set("suppress_config_dump", true)
        .section(Section::new("log", "").set("format", "json"))
}

/// Answers the kubelet. `monitor_agent` would answer everybody who asks with our passwords, before Fluentd 1.19.3.
fn alive(port: u16) -> Section {
    Section::new("source", "")
        .set("@type", "http")
        .set("@id", "alive")
        .set("@label", "@HEALTH")
        .set("bind", "0.0.0.0")
        .set("port", port)
        .set("body_size_limit", "1k")
}

/// Hands every line to every output: those last that may refuse one for its length, which ends the round.
fn copy(pipeline: &Pipeline<'_>) -> Section {
    let relabel =
        |section: Section, output: &Output| section.set("@type", "relabel").set("@label", format!("@{}", output.name));
    if let [output] = pipeline.outputs.as_slice() {
        return relabel(Section::new("match", "**"), output);
    }
    let (last, first): (Vec<_>, Vec<_>) =
        pipeline.outputs.iter().partition(|output| matches!(output.destination(), Destination::Kafka(_)));
    let stores = first.into_iter().chain(last).map(|output| relabel(Section::new("store", ""), output));
    stores.fold(Section::new("match", "**").set("@type", "copy"), Section::section)
}

/// The plugin that an output needs, as the official images call it.
fn plugin(output: &Output) -> Option<&'static str> {
    match output.destination() {
        Destination::Elasticsearch(_) => Some("elasticsearch8"),
        Destination::OpenSearch(_) => Some("opensearch"),
        Destination::S3(_) => Some("s3"),
        Destination::Kafka(_) => Some("kafka2"),
        Destination::Stdout(_)
        | Destination::Loki(_)
        | Destination::Otlp(_)
        | Destination::Http(_)
        | Destination::Forward(_) => None,
    }
}

/// Each official image has one plugin.
fn one_image(pipeline: &Pipeline<'_>) -> Result<(), Error> {
    let mut plugins = pipeline.outputs.iter().filter_map(|output| plugin(output).map(|plugin| (output, plugin)));
    let Some((first, plugin)) = plugins.next().filter(|_| !pipeline.own_image) else { return Ok(()) };
    let Some((other, _)) = plugins.find(|(_, other)| *other != plugin) else { return Ok(()) };
    let field = |output: &Output| format!("outputs[{}].{}", output.name, output.destination().field());
    Err(Error::Output(format!(
        "{} and {}: no official image of Fluentd has the plugins of both: set sidecar.container.image to one that has, or write sidecar.fluentBit, which needs no plugins",
        field(first),
        field(other),
    )))
}

/// The container, without image, name, mounts and environment.
///
/// Ruby wants a directory for temporary files that belongs to nobody else, and Fluentd one for a socket. A single process takes
/// half the memory of two, and restarts with its container; but a config of the user's own may ask for several workers, and for
/// plugins that are files in the image.
#[must_use]
pub fn container(pipeline: &Pipeline<'_>) -> Map<String, Value> {
    let run = if pipeline.outputs.is_empty() {
        "[ ! -d /fluentd/plugins ] || set -- --plugin /fluentd/plugins\nexec fluentd \"$@\""
    } else {
        "exec fluentd --no-supervisor"
    };
    let script = format!(
        "set -e\nexport TMPDIR={state}/tmp SERVERENGINE_SOCKETMANAGER_SOCK_DIR={state}/tmp LANG=C.UTF-8\nrm -rf \"$TMPDIR\"\nmkdir -m 700 \"$TMPDIR\"\n{run} --config {config}/{FILE}\n",
        state = engine::STATE,
        config = engine::CONFIG,
    );
    super::fields(json!({
        "command": ["sh", "-c", script, "fluentd"],
        "ports": [{"name": "logsidecar", "containerPort": pipeline.port}],
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "384Mi"}},
        "livenessProbe": engine::liveness("/alive?json=%7B%7D", pipeline.port),
    }))
}

/// The image with the plugins that the outputs need.
#[must_use]
pub fn image(outputs: &[Output], images: &Images) -> String {
    match outputs.iter().find_map(plugin) {
        Some(plugin) => images.fluentd_plugin.replace("{plugin}", plugin),
        None => images.fluentd.clone(),
    }
}
