//! `logsidecar run`: the controller.

use std::process::ExitCode;

use super::exit::Failure;
use crate::operator;

/// What `--help` prints below the options.
pub(super) const HELP: &str = "Example:\n  KUBECONFIG=~/.kube/config logsidecar run --log-level=debug";

/// Runs the controller until a signal ends it.
pub(super) fn run(options: operator::OperatorOptions) -> Result<ExitCode, Failure> {
    operator::run(options)?;
    Ok(ExitCode::SUCCESS)
}
