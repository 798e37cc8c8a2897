//! The `logsidecar` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    logsidecar::cli::main()
}
