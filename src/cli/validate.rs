//! `logsidecar validate`: checks files without a cluster.

use std::process::ExitCode;

use clap::Args;

use super::{
    exit::Failure,
    files::FileArguments,
    input::Input,
    stdio::{print, warn},
};
use crate::shipper::Images;

/// What `--help` prints below the options.
pub(super) const HELP: &str = "Example:\n  logsidecar validate -f examples/tail-builtin";

/// The arguments of `logsidecar validate`.
#[derive(Args, Debug)]
pub(super) struct ValidateArguments {
    #[command(flatten)]
    files: FileArguments,
}

/// Prints which objects are valid.
pub(super) fn run(arguments: &ValidateArguments) -> Result<ExitCode, Failure> {
    print(&validate(&Input::read(&arguments.files)?, &Images::default())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks everything, the configs of shippers included. Returns one line for each LogSidecar and workload.
pub(super) fn validate(input: &Input, images: &Images) -> Result<String, Failure> {
    let resolved = input.resolve(images);
    let problems = resolved.iter().filter_map(|(location, spec)| {
        let refusal = spec.refusal()?;
        Some(format!("{}: spec.{refusal}", input.title(location, "/spec")))
    });
    Failure::unless_empty(problems.collect())?;
    if input.sidecars.is_empty() && input.workloads.is_empty() {
        warn("neither a LogSidecar nor a workload in these files");
    }
    let sidecars = input.sidecars.iter().map(|(location, _)| location);
    let locations = sidecars.chain(input.workloads.iter().map(|(location, _)| location));
    Ok(locations.map(|location| format!("{}: valid\n", input.title(location, ""))).collect())
}
