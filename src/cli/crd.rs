//! `logsidecar crd`: the `CustomResourceDefinition`.

use std::process::ExitCode;

use super::{exit::Failure, stdio::print};
use crate::{api, manifest};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "Example:\n  logsidecar crd | kubectl apply -f -";

/// Prints the `CustomResourceDefinition`.
pub(super) fn run() -> Result<ExitCode, Failure> {
    let crd = serde_json::to_value(api::definition()).map_err(|error| Failure::Output(error.into()))?;
    print(&manifest::write(&crd))?;
    Ok(ExitCode::SUCCESS)
}
