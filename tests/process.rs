//! Programs that the suites run. A program that hangs is killed and named: no suite waits for ever.

use std::{
    io::{Result, Write},
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// The longest that a program may run. Only a program that hangs reaches it, whatever the machine does besides.
const LIMIT: Duration = Duration::from_secs(900);

/// Runs a program with that standard input; fails if it does not start, panics if it does not end.
pub fn run(command: &mut Command, stdin: &[u8]) -> Result<Output> {
    run_within(LIMIT, command, stdin)
}

/// Does the same with another limit.
pub fn run_within(limit: Duration, command: &mut Command, stdin: &[u8]) -> Result<Output> {
    // A process group of its own: what a script has started is killed with it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().expect("piped");
    let bytes = stdin.to_owned();
    // A program that refuses its input early closes it.
    let writer = thread::spawn(move || drop(input.write_all(&bytes)));
    let group = format!("-{}", child.id());
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let hangs = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if hangs {
            drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        }
        hangs
    });
    let output = child.wait_with_output();
    drop(ended);
    writer.join().expect("written");
    let hangs = watchdog.join().expect("no panic");
    assert!(!hangs, "killed, as it had not ended after {} s: {command:?}", limit.as_secs());
    output
}
