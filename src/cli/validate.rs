//! `logsidecar validate`.

use super::{files::Input, warn};

/// Checks everything; prints one line for each object that was understood.
pub(super) fn validate(input: &Input) -> String {
    if input.sidecars.is_empty() && input.workloads.is_empty() {
        warn("neither a LogSidecar nor a workload in these files");
    }
    let places = input.sidecars.iter().map(|(place, _)| place).chain(input.workloads.iter().map(|(place, _)| place));
    places.map(|place| format!("{}: valid\n", input.title(place, ""))).collect()
}
