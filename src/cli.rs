//! The command line: data on stdout, everything else on stderr; exit code 0 for success, 1 for bad input or failure, 2 for
//! wrong usage (`plan` says by its code whether something would change, so a failure is 2 there, too). A reader that goes away is
//! no failure. The same file under the name `kubectl-logsidecar` is a plugin of kubectl.

mod cluster;
mod completions;
mod configs;
mod explain;
mod files;
mod inject;
mod plan;
mod plugin;
mod policy;
mod render;
mod status;
mod validate;
mod version;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::files::Input;
use crate::{
    api, inspect, manifest, operator,
    options::{ImageOptions, KindOptions},
    shipper::Images,
    workload::kind::Kinds,
};

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
    #[command(after_help = "Example:\n  KUBECONFIG=~/.kube/config logsidecar run --log-level=debug")]
    Run(operator::OperatorOptions),
    /// Put sidecars into workloads in files, and print the result.
    #[command(
        after_help = "Example:\n  helm template my-chart | logsidecar inject -f logsidecar.yaml -f - | kubectl apply -f -"
    )]
    Inject(Inject),
    /// Take out of workloads in files what `inject` or the controller put in, and print the result.
    #[command(after_help = "Example:\n  kubectl get deployment web -o yaml | logsidecar uninject -f -")]
    Uninject(Files),
    /// Check LogSidecars and workloads in files, without a cluster.
    #[command(after_help = "Example:\n  logsidecar validate -f examples/tail-builtin")]
    Validate(Files),
    /// Show what the controller would change, by a server-side dry-run.
    #[command(after_help = plan::HELP, long_about = cluster::about("Show what the controller would change, by a server-side dry-run."))]
    Plan(plan::Arguments),
    /// Say why a workload is, or is not, injected.
    #[command(after_help = explain::HELP, long_about = cluster::about("Say why a workload is, or is not, injected."))]
    Explain(explain::Arguments),
    /// Show how things stand: one line for each target of each `LogSidecar`, the worst first.
    #[command(after_help = status::HELP, long_about = cluster::about("Show how things stand: one line for each target of each LogSidecar, the worst first."))]
    Status(status::Arguments),
    /// Print an admission policy for each LogSidecar in files: new workloads are created with their sidecar in them.
    #[command(after_help = "Example:\n  logsidecar policy -f logsidecar.yaml | kubectl apply -f -")]
    Policy(policy::Options),
    /// Print the native config of the shipper of each LogSidecar in files.
    #[command(
        after_help = "Example:\n  logsidecar render -f logsidecar.yaml > fluent-bit.yaml && fluent-bit --dry-run -c fluent-bit.yaml"
    )]
    Render(render::Options),
    /// Print the CustomResourceDefinition.
    #[command(after_help = "Example:\n  logsidecar crd | kubectl apply -f -")]
    Crd,
    /// Print what version this is, which API it serves, and which images it runs.
    #[command(after_help = "Example:\n  logsidecar version -o json")]
    Version(version::Arguments),
    /// Print a script by which a shell completes these commands.
    #[command(after_help = "Example:\n  source <(logsidecar completions bash)")]
    Completions(completions::Arguments),
}

/// Where manifests come from.
#[derive(Args, Debug)]
struct Files {
    /// A file, a directory (its .yaml, .yml and .json files), or - for standard input. May be given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    filenames: Vec<String>,
    /// The namespace of objects that do not name one.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    kinds: KindOptions,
}

#[derive(Args, Debug)]
struct Inject {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    images: ImageOptions,
}

/// Why a command failed; told to the user as it is.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// One line for each problem.
    #[error("{}", told(.0))]
    Input(Vec<String>),
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The controller ended.
    #[error(transparent)]
    Controller(#[from] operator::Error),
    /// The process could not start what it needs.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// The cluster could not be asked.
    #[error(transparent)]
    Cluster(Box<inspect::connection::InspectError>),
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// There is no such `LogSidecar`.
    #[error("there is no LogSidecar {0} in namespace {1}: see `kubectl get logsidecars --all-namespaces`")]
    NoSuch(String, String),
    /// Something that is wished for cannot be done.
    #[error("{0}")]
    Blocked(String),
}

impl From<inspect::connection::InspectError> for Failure {
    fn from(error: inspect::connection::InspectError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

/// One line for each problem, whatever the input makes of it: control characters are spelt out.
fn told(problems: &[String]) -> String {
    let spelt = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    problems.iter().map(|problem| problem.chars().map(spelt).collect::<String>()).collect::<Vec<_>>().join("\n")
}

/// All commands with their options: what completions and the reference in `docs` are made of.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match plugin::parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data that was asked for; the rest is wrong usage.
            if error.use_stderr() {
                drop(error.print());
                return ExitCode::from(2);
            }
            return ended(error.print().map_err(Failure::Output).map(|()| ExitCode::SUCCESS), 1);
        }
    };
    // As for kubectl diff: 1 says that something would change.
    let failure = if matches!(cli.command, Command::Plan(_)) { 2 } else { 1 };
    let done = match cli.command {
        Command::Plan(arguments) => return ended(plan::run(&arguments), failure),
        Command::Explain(arguments) => return ended(explain::run(&arguments), failure),
        Command::Status(arguments) => return ended(status::run(&arguments), failure),
        Command::Run(options) => operator::run(options).map_err(Failure::from),
        Command::Inject(Inject { files, images }) => carry_out(Verb::Inject, Input::read(&files), &images.into()),
        Command::Uninject(files) => carry_out(Verb::Uninject, Input::read(&files), &Images::default()),
        Command::Validate(files) => carry_out(Verb::Validate, Input::read(&files), &Images::default()),
        Command::Policy(options) => policy::policy(options).and_then(|text| print(&text)),
        Command::Render(options) => render::render(&options).and_then(|text| print(&text)),
        Command::Crd => serde_json::to_value(api::definition())
            .map_err(|error| Failure::Output(error.into()))
            .and_then(|crd| print(&manifest::write(&crd))),
        Command::Version(arguments) => print(&version::version(&arguments)),
        Command::Completions(arguments) => print(&completions::completions(&arguments)),
    };
    ended(done.map(|()| ExitCode::SUCCESS), failure)
}

fn carry_out(verb: Verb, input: Result<Input, Failure>, images: &Images) -> Result<(), Failure> {
    verb.on(input?, images).and_then(|text| print(&text))
}

/// What is done to manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `logsidecar inject`
    Inject,
    /// `logsidecar uninject`
    Uninject,
    /// `logsidecar validate`
    Validate,
}

impl Verb {
    /// What the command prints for a text on standard input, or the message that it fails with: the command line without the
    /// world around it. Nothing is read, and nothing but warnings is written.
    pub fn on_text(self, text: &[u8]) -> Result<String, String> {
        let documents = manifest::read("-", text).map_err(|error| told(&[error.to_string()]))?;
        let input = Input::of(documents, "default", Kinds::default());
        input.and_then(|input| self.on(input, &Images::default())).map_err(|failure| failure.to_string())
    }

    fn on(self, input: Input, images: &Images) -> Result<String, Failure> {
        match self {
            Self::Inject => inject::inject(input, images),
            Self::Uninject => inject::uninject(input),
            Self::Validate => validate::validate(&input, images),
        }
    }
}

fn ended(result: Result<ExitCode, Failure>, failure_code: u8) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { failure_code })
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// The whole chain of causes, on standard error. If that is closed there is nobody to tell.
fn report(failure: &Failure) {
    let mut text = format!("error: {failure}");
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    drop(writeln!(io::stderr(), "{text}"));
}

/// Something that the user should know although it works.
fn warn(text: &str) {
    drop(writeln!(io::stderr(), "warning: {}", told(&[text.to_owned()])));
}
