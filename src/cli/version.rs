//! `logsidecar version`: what this program is, to compare a cluster with another machine.

use std::process::ExitCode;

use clap::Args;
use kube::Resource;
use serde::Serialize;

use super::{exit::Failure, stdio::print};
use crate::{
    api::LogSidecar,
    report::{self, OutputFormat},
    shipper::Images,
};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "Example:\n  logsidecar version -o json";

/// The arguments of `logsidecar version`.
#[derive(Args, Debug)]
pub(super) struct VersionArguments {
    /// The form of the answer.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// The program, as the command prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Program {
    version: &'static str,
    /// The commit of the sources, if the build recorded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'static str>,
    platform: String,
    /// The API that it serves.
    api_version: String,
    /// The shippers' images, unless options name others.
    images: Vec<String>,
}

/// Prints the version.
pub(super) fn run(arguments: &VersionArguments) -> Result<ExitCode, Failure> {
    print(&report::write(arguments.output, &Program::current(), Program::text))?;
    Ok(ExitCode::SUCCESS)
}

impl Program {
    fn current() -> Self {
        let Images { tail, fluent_bit, fluentd, fluentd_plugin, otel_collector } = Images::default();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("LOGSIDECAR_COMMIT").filter(|commit| !commit.is_empty()),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            api_version: LogSidecar::api_version(&()).into_owned(),
            images: vec![tail, fluent_bit, fluentd, fluentd_plugin, otel_collector],
        }
    }

    fn text(&self) -> String {
        let commit = self.commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
        let first = format!("logsidecar {}{commit} {}\napi: {}\n", self.version, self.platform, self.api_version);
        self.images.iter().fold(first, |text, image| format!("{text}image: {image}\n"))
    }
}
