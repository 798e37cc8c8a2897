//! How a command ends: its exit code, and the message of a failure on stderr.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::{inspect::connection::InspectError, operator};

/// Why a command failed, with the message for the user.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The files have problems: one line for each.
    #[error("{}", printable(.0))]
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
    /// A request to the cluster failed.
    #[error(transparent)]
    Cluster(Box<InspectError>),
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// The `LogSidecar` that an argument names does not exist.
    #[error("there is no LogSidecar {0} in namespace {1}: see `kubectl get logsidecars --all-namespaces`")]
    NoSuch(String, String),
    /// A change that the LogSidecars ask for is not possible.
    #[error("{0}")]
    Blocked(String),
}

impl Failure {
    /// Fails with these problems, if there are any.
    pub fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self::Input(problems)) }
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

/// Returns one line for each problem. Control characters in the input are escaped, so that a terminal does not obey them.
pub(super) fn printable(problems: &[String]) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    problems.iter().map(|problem| problem.chars().map(escape).collect::<String>()).collect::<Vec<_>>().join("\n")
}

/// Returns the exit code of a command, and reports its failure. A reader that closes stdout early is no failure.
pub(super) fn code(result: Result<ExitCode, Failure>, failure_code: u8) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { failure_code })
        }
    }
}

/// Prints why the arguments were not taken. Help and version are data that was asked for; the rest is wrong usage.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() {
        return ExitCode::from(2);
    }
    code(printed.map_err(Failure::Output).map(|()| ExitCode::SUCCESS), 1)
}

/// Writes the whole chain of causes to stderr. A closed stderr is ignored: there is no other place to report to.
fn report(failure: &Failure) {
    let mut text = format!("error: {failure}");
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    drop(writeln!(io::stderr(), "{text}"));
}
