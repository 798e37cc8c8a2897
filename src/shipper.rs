//! Shippers: from a pipeline that we understand to a container that a shipper's own expert would write. Pure.
//!
//! * `tail`: everything on standard output, by a shell script; no config, no state
//! * [`fluent_bit`], [`fluentd`], [`otel_collector`]: a pipeline → the shipper's native config, and its container
//! * `kind`: the table of shippers, and the one that a spec asks for
//! * [`engine`]: what these three have in common: config, state, secrets, metadata
//! * [`dialect`]: whether a shipper understands an expression
//! * `own`: whether a config that the user has written can work
//!
//! A config depends on nothing but the spec: what differs from pod to pod (its name, the container that writes the files) comes by
//! environment variables. So one ConfigMap serves all targets of a `LogSidecar`.

pub mod dialect;
pub mod engine;
pub mod fluent_bit;
pub mod fluentd;
mod kind;
pub mod otel_collector;
mod own;
pub mod tail;

use serde_json::{Map, Value};

pub use self::kind::{NativeConfig, Shipper, ShipperKind};
pub use self::own::OwnConfig;
use crate::api::{Log, LogSidecarSpec, Multiline, Output, Parser, ShipperName, Stdout};

/// What a shipper has to do, with all paths as the sidecar sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline<'a> {
    /// Where lines come from, one for each entry of `logs`.
    pub sources: Vec<Source<'a>>,
    /// Where all of them go: at least one.
    pub outputs: Vec<Output>,
    /// How much may wait on the disk, in bytes.
    pub buffer: u64,
    /// The longest line, in bytes.
    pub max_line: u64,
    /// The port for the kubelet's question whether it is alive.
    pub port: u16,
    /// Whether the image is the user's own: then nobody knows which plugins are in it.
    pub own_image: bool,
}

/// Files of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Source<'a> {
    /// The name of the entry of `logs`.
    pub name: &'a str,
    /// Absolute shell patterns.
    pub files: Vec<String>,
    /// How lines become fields.
    pub parser: Option<&'a Parser>,
    /// Which lines belong together.
    pub multiline: Option<&'a Multiline>,
}

impl<'a> Source<'a> {
    /// The files of an entry of `logs`.
    #[must_use]
    pub fn of(log: &'a Log) -> Self {
        let directory = log.sidecar_directory.as_deref().unwrap_or(&log.directory);
        let files = log.files.iter().map(|file| format!("{directory}/{file}")).collect();
        Self { name: &log.name, files, parser: log.parser.as_ref(), multiline: log.multiline.as_ref() }
    }
}

/// What rotation makes of a file, and what is not text: the ends of names, after a dot.
const ROTATED: [&str; 10] = ["gz", "zip", "bz2", "xz", "zst", "[0-9]", "[0-9][0-9]", "[0-9][0-9][0-9]", "old", "tmp"];

/// Those of them that no pattern asks for. Whoever writes `app.log.1` or `*.log.[0-9]*` asks for all that have numbers.
fn excluded(patterns: &[String]) -> impl Iterator<Item = &'static str> {
    let ends = || patterns.iter().filter_map(|pattern| Some(pattern.rsplit_once('.')?.1));
    ROTATED.into_iter().filter(move |excluded| {
        let numbered = excluded.starts_with('[');
        !ends().any(|end| if numbered { end.starts_with(|c: char| c == '[' || c.is_ascii_digit()) } else { end == *excluded })
    })
}

/// The fields of a JSON object.
fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The outputs of a spec: standard output where it names none.
#[must_use]
pub fn outputs(spec: &LogSidecarSpec) -> Vec<Output> {
    if spec.outputs.is_empty() {
        return vec![Output { name: "stdout".to_owned(), stdout: Some(Stdout {}), ..Output::default() }];
    }
    spec.outputs.clone()
}

/// A pipeline cannot be written for a shipper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot send there.
    #[error("{0}")]
    Output(String),
    /// It does not understand an expression.
    #[error("{field}: {problem}")]
    Expression {
        /// The field of the spec.
        field: String,
        /// What is wrong with it, in the dialect of the shipper.
        problem: String,
    },
    /// A field has a value that no shipper, or not this one, can use.
    #[error("{field}: {problem}")]
    Field {
        /// The field of the spec.
        field: String,
        /// What to write instead.
        problem: String,
    },
}

impl Error {
    /// An output that the shipper has no plugin for. The schema refuses it with the same words.
    #[must_use]
    pub fn unsupported(output: &Output, shipper: ShipperName) -> Self {
        let why = shipper.features().lacks_because;
        Self::Output(format!("outputs[{}].{}: {why}", output.name, output.destination().field()))
    }
}

/// The images of shippers: configuration of whoever runs the controller, because clusters have mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// An image with busybox' `sh` and `tail`.
    pub tail: String,
    /// Fluent Bit 5.1 or later.
    pub fluent_bit: String,
    /// Fluentd 1.18 or later with its core plugins.
    pub fluentd: String,
    /// Fluentd with one more plugin, whose name stands in place of `{plugin}`: `elasticsearch8`, `opensearch`, `s3`, `kafka2`.
    pub fluentd_plugin: String,
    /// The OpenTelemetry Collector in its distribution `contrib`.
    pub otel_collector: String,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            tail: tail::IMAGE.to_owned(),
            fluent_bit: fluent_bit::IMAGE.to_owned(),
            fluentd: fluentd::IMAGE.to_owned(),
            fluentd_plugin: fluentd::PLUGIN_IMAGE.to_owned(),
            otel_collector: otel_collector::IMAGE.to_owned(),
        }
    }
}

/// Escapes text for `command`, `args` and `env` of a container, where the kubelet expands `$(NAME)`.
#[must_use]
pub fn literal(text: &str) -> Value {
    Value::String(text.replace("$(", "$$("))
}

/// The parts of a URL that the schema has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// Whether it is `https`.
    pub encrypted: bool,
    /// The host, without the brackets of an IPv6 address.
    pub host: &'a str,
    /// The port; that of the scheme where none is written.
    pub port: u16,
    /// The path with its query, without a trailing `/`: empty, or begins with `/`.
    pub path: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL apart.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let encrypted = scheme == "https";
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (authority, None),
        };
        let port = port.unwrap_or(if encrypted { 443 } else { 80 });
        Self { encrypted, host: host.trim_start_matches('[').trim_end_matches(']'), port, path: path.trim_end_matches('/') }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest;

    /// Texts made of all that means something to a shipper, Ruby, JSON, YAML, the kubelet or a date, some of them long.
    pub(super) fn hostile() -> impl Strategy<Value = String> {
        let pieces = [
            "'",
            "\"",
            "\\",
            "#",
            "#{",
            "}",
            "${",
            "${tag}",
            "${HOME}",
            "${env:HOME}",
            "$$",
            ": ",
            "- ",
            "$(",
            "%",
            "%Y",
            "%{",
            "%%",
            "{{",
            "}}",
            ",",
            "|",
            ";",
            "[",
            "]",
            "*",
            "?",
            " ",
            "\t",
            "@include x",
            "<a>",
            "</match>",
            "é",
            "\u{2028}",
            "😀",
            "a",
            "0",
            "(",
            ")",
            "=begin",
            "\r",
            "\n",
            "`",
            "&",
            "~",
            "!",
        ];
        let text = prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..12).prop_map(|pieces| pieces.concat());
        // The longest that the schema takes anywhere.
        let long = text.clone().prop_map(|text| text.repeat((64 << 10) / text.len()));
        prop_oneof![20 => text, 1 => long]
    }

    /// What a shipper makes of one entry of `logs` and of outputs, read back as YAML.
    pub(super) fn read_back(
        config: fn(&Pipeline<'_>) -> Result<String, Error>,
        log: &Value,
        outputs: &Value,
    ) -> Result<Value, Error> {
        let log: Log = serde_json::from_value(log.clone()).expect("an entry of logs");
        let outputs: Vec<Output> = serde_json::from_value(outputs.clone()).expect("outputs");
        let sources = vec![Source::of(&log)];
        let pipeline = Pipeline { sources, outputs, buffer: 64 << 20, max_line: 1 << 20, port: 1, own_image: false };
        Ok(manifest::read("config", config(&pipeline)?.as_bytes()).expect("YAML").remove(0).value)
    }

    #[test]
    fn what_was_rotated_away_is_left_out_unless_a_pattern_asks_for_it() {
        let all = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|pattern| format!("/l/{pattern}")).collect();
            excluded(&patterns).collect::<Vec<_>>()
        };
        let without = |some: &[&str]| ROTATED.into_iter().filter(|end| !some.contains(end)).collect::<Vec<_>>();
        let numbers = without(&["[0-9]", "[0-9][0-9]", "[0-9][0-9][0-9]"]);
        assert_eq!(all(&["*.log", "plain", "a.*"]), ROTATED);
        assert_eq!(all(&["*.log", "*.log.[0-9]*"]), numbers);
        assert_eq!(all(&["app.log.1"]), numbers);
        assert_eq!(all(&["*.log.old", "*.gz"]), without(&["old", "gz"]));
    }

    #[test]
    fn urls_are_taken_apart() {
        let url = |encrypted, host, port, path| Url { encrypted, host, port, path };
        for (text, expected) in [
            ("http://loki:3100", url(false, "loki", 3100, "")),
            ("https://a.b-c.d/x/y/", url(true, "a.b-c.d", 443, "/x/y")),
            ("http://[fd00::1]:99/x?y=1", url(false, "fd00::1", 99, "/x?y=1")),
            ("http://[fd00::1]", url(false, "fd00::1", 80, "")),
            ("https://h?q=/", url(true, "h", 443, "?q=")),
        ] {
            assert_eq!(Url::of(text), expected, "{text}");
        }
    }
}
