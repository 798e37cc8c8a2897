//! `logsidecar version`: what this program is, for people who compare a cluster with their own machine.

use clap::Args;
use kube::Resource;
use serde::Serialize;

use crate::{
    api::LogSidecar,
    report::{self, OutputFormat},
    shipper::Images,
};

/// The arguments of `logsidecar version`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The form of the answer.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Program {
    version: &'static str,
    /// Of the sources, where whoever built it has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'static str>,
    platform: String,
    /// The API that it serves.
    api_version: String,
    /// The shippers' images, unless options name others.
    images: Vec<String>,
}

/// The version, as it is printed.
pub(super) fn version(arguments: &Arguments) -> String {
    let Images { tail, fluent_bit, fluentd, fluentd_plugin, otel_collector } = Images::default();
    let program = Program {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("LOGSIDECAR_COMMIT").filter(|commit| !commit.is_empty()),
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        api_version: LogSidecar::api_version(&()).into_owned(),
        images: vec![tail, fluent_bit, fluentd, fluentd_plugin, otel_collector],
    };
    report::write(arguments.output, &program, |program| {
        let commit = program.commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
        let first = format!("logsidecar {}{commit} {}\napi: {}\n", program.version, program.platform, program.api_version);
        program.images.iter().fold(first, |text, image| format!("{text}image: {image}\n"))
    })
}
