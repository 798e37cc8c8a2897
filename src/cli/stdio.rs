//! Output: data on stdout, warnings on stderr.

use std::io::{self, Write};

use super::exit::{Failure, printable};

/// Writes data to stdout.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Writes a warning to stderr: the command works, but the user should know.
pub(super) fn warn(text: &str) {
    drop(writeln!(io::stderr(), "warning: {}", printable(&[text.to_owned()])));
}
