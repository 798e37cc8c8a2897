//! The command line: data on stdout, everything else on stderr; exit code 0 for success, 1 for bad input or failure, 2 for
//! wrong usage (`plan` reports by its exit code whether something would change, so a failure is 2 there, too). A reader that
//! closes stdout early is no failure. The same file under the name `kubectl-logsidecar` is a plugin of kubectl.
//!
//! * one module for each command: its help text, its arguments and `run`
//! * `files`, `input`, `file_workload`, `output`, `config_maps`: manifests in files
//! * `cluster`: what the commands that read a cluster have in common
//! * `exit`, `stdio`, `plugin`: exit codes and messages, output, the name of the program

mod cluster;
mod completions;
mod config_maps;
mod crd;
mod exit;
mod explain;
mod file_workload;
mod files;
mod inject;
mod input;
mod output;
mod plan;
mod plugin;
mod policy;
mod render;
mod run;
mod status;
mod stdio;
mod uninject;
mod validate;
mod verb;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use self::verb::Verb;
use self::{cluster::about, exit::Failure};
use crate::operator;

/// Gives existing workloads a log sidecar, and takes out exactly what it put in.
#[derive(Parser, Debug)]
#[command(
    name = "logsidecar",
    version,
    after_help = "Example:\n  logsidecar inject -f logsidecar.yaml -f deployment.yaml | kubectl apply -f -"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the controller.
    #[command(after_help = run::HELP)]
    Run(operator::OperatorOptions),
    /// Put sidecars into workloads in files, and print the result.
    #[command(after_help = inject::HELP)]
    Inject(inject::InjectArguments),
    /// Take out of workloads in files what `inject` or the controller put in, and print the result.
    #[command(after_help = uninject::HELP)]
    Uninject(uninject::UninjectArguments),
    /// Check LogSidecars and workloads in files, without a cluster.
    #[command(after_help = validate::HELP)]
    Validate(validate::ValidateArguments),
    /// Show what the controller would change, by a server-side dry-run.
    #[command(after_help = plan::HELP, long_about = about("Show what the controller would change, by a server-side dry-run."))]
    Plan(plan::PlanArguments),
    /// Say why a workload is, or is not, injected.
    #[command(after_help = explain::HELP, long_about = about("Say why a workload is, or is not, injected."))]
    Explain(explain::ExplainArguments),
    /// Show how things stand: one line for each target of each `LogSidecar`, the worst first.
    #[command(after_help = status::HELP, long_about = about("Show how things stand: one line for each target of each LogSidecar, the worst first."))]
    Status(status::StatusArguments),
    /// Print an admission policy for each LogSidecar in files: new workloads are created with their sidecar in them.
    #[command(after_help = policy::HELP)]
    Policy(policy::PolicyArguments),
    /// Print the native config of the shipper of each LogSidecar in files.
    #[command(after_help = render::HELP)]
    Render(render::RenderArguments),
    /// Print the CustomResourceDefinition.
    #[command(after_help = crd::HELP)]
    Crd,
    /// Print what version this is, which API it serves, and which images it runs.
    #[command(after_help = version::HELP)]
    Version(version::VersionArguments),
    /// Print a script by which a shell completes these commands.
    #[command(after_help = completions::HELP)]
    Completions(completions::CompletionsArguments),
}

impl Command {
    fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(options) => run::run(options),
            Self::Inject(arguments) => inject::run(&arguments),
            Self::Uninject(arguments) => uninject::run(&arguments),
            Self::Validate(arguments) => validate::run(&arguments),
            Self::Plan(arguments) => plan::run(&arguments),
            Self::Explain(arguments) => explain::run(&arguments),
            Self::Status(arguments) => status::run(&arguments),
            Self::Policy(arguments) => policy::run(&arguments),
            Self::Render(arguments) => render::run(&arguments),
            Self::Crd => crd::run(),
            Self::Version(arguments) => version::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments),
        }
    }

    /// The exit code of a failure. As for `kubectl diff`, 1 reports of `plan` that something would change.
    const fn failure_code(&self) -> u8 {
        if matches!(self, Self::Plan(_)) { 2 } else { 1 }
    }
}

/// Returns all commands with their options: the source of completions and of the reference in `docs`.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    match plugin::parse() {
        Ok(Cli { command }) => {
            let failure_code = command.failure_code();
            exit::code(command.run(), failure_code)
        }
        Err(error) => exit::usage(&error),
    }
}
