//! `logsidecar completions`: what a shell has to know to complete our commands.

use clap::Args;
use clap_complete::{Shell, generate};

/// The arguments of `logsidecar completions`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// The script.
pub(super) fn completions(arguments: &Arguments) -> String {
    let mut script = Vec::new();
    generate(arguments.shell, &mut super::command(), "logsidecar", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
