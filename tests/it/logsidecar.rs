//! Runs the real executable.

use std::process::{Command, Output};

use crate::process;

/// What a run gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

/// Runs `logsidecar` with these arguments and that standard input, in the root of the repository.
pub fn run(arguments: &[&str], stdin: &[u8]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logsidecar"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    process::run(&mut command, stdin).expect("the executable starts").into()
}

#[test]
#[should_panic(expected = "killed, as it had not ended after 0 s: \"sh\"")]
fn program_that_hangs_is_killed_with_what_it_started_and_named() {
    let mut command = Command::new("sh");
    drop(process::run_within(std::time::Duration::from_millis(100), command.args(["-c", "sleep 3600; true"]), b""));
}
