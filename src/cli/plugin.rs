//! The plugin `kubectl logsidecar`: the same file under the name that kubectl looks for.

use std::{ffi::OsStr, path::Path};

use clap::{Command, CommandFactory, FromArgMatches};

use super::Cli;

/// The name under which kubectl finds a plugin `logsidecar`.
const FILE: &str = "kubectl-logsidecar";

/// Parses the arguments. Usage and examples name the program as it was called.
pub(super) fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    if is_plugin(std::env::args_os().next().as_deref()) {
        command = renamed(command).bin_name("kubectl logsidecar");
    }
    let matches = command.clone().try_get_matches()?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn is_plugin(program: Option<&OsStr>) -> bool {
    program.and_then(|program| Path::new(program).file_stem()).is_some_and(|name| name == FILE)
}

/// Replaces the name of the program in all examples, so that they can be copied.
fn renamed(mut command: Command) -> Command {
    if let Some(help) = command.get_after_help().map(ToString::to_string) {
        command = command.after_help(help.replace(" logsidecar ", " kubectl logsidecar "));
    }
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, renamed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugin_is_recognised_by_its_file_name() {
        let table = [
            ("kubectl-logsidecar", true),
            ("/usr/local/bin/kubectl-logsidecar", true),
            ("./kubectl-logsidecar.exe", true),
            ("logsidecar", false),
            ("/kubectl-logsidecar/logsidecar", false),
        ];
        for (program, expected) in table {
            assert_eq!(is_plugin(Some(OsStr::new(program))), expected, "{program}");
        }
    }

    #[test]
    fn examples_of_the_plugin_name_the_plugin() {
        let command = renamed(Cli::command());
        let plan = command.find_subcommand("plan").and_then(Command::get_after_help).map(ToString::to_string);
        assert!(plan.is_some_and(|help| help.contains("\n  kubectl logsidecar plan -f logsidecar.yaml")));
    }
}
