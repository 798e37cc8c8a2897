//! `logsidecar completions`: a script by which a shell completes the commands.

use std::process::ExitCode;

use clap::Args;
use clap_complete::{Shell, generate};

use super::{exit::Failure, stdio::print};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "Example:\n  source <(logsidecar completions bash)";

/// The arguments of `logsidecar completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(arguments: &CompletionsArguments) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut super::command(), "logsidecar", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
