//! `logsidecar validate`.

use super::{Failure, Files, files::Input, warn};

/// Checks everything; prints one line for each object that was understood.
pub(super) fn validate(files: &Files) -> Result<String, Failure> {
    let input = Input::read(files)?;
    if input.sidecars.is_empty() && input.workloads.is_empty() {
        warn("neither a LogSidecar nor a workload in these files");
    }
    let places = input.sidecars.iter().map(|(place, _)| place).chain(input.workloads.iter().map(|(place, _)| place));
    Ok(places.map(|place| format!("{}: valid\n", input.title(place, ""))).collect())
}
