//! `logsidecar validate`.

use super::{Failure, files::Input, warn};
use crate::shipper::Images;

/// Checks everything, the configs of shippers included; prints one line for each object that was understood.
pub(super) fn validate(input: &Input, images: &Images) -> Result<String, Failure> {
    let resolved = input.resolve(images);
    let problems = resolved.iter().filter_map(|(place, spec)| {
        let refusal = spec.refusal()?;
        Some(format!("{}: spec.{refusal}", input.title(place, "/spec")))
    });
    let problems: Vec<String> = problems.collect();
    if !problems.is_empty() {
        return Err(Failure::Input(problems));
    }
    if input.sidecars.is_empty() && input.workloads.is_empty() {
        warn("neither a LogSidecar nor a workload in these files");
    }
    let places = input.sidecars.iter().map(|(place, _)| place).chain(input.workloads.iter().map(|(place, _)| place));
    Ok(places.map(|place| format!("{}: valid\n", input.title(place, ""))).collect())
}
