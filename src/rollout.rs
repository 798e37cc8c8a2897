//! Rolling out safely, as far as it can be decided without a cluster: how a workload is doing, how its sidecar is doing, and who
//! may be changed next. Pure: times are milliseconds that the caller has measured.
//!
//! * [`settings`]: `spec.rollout`, parsed
//! * [`health`]: its pods → does the sidecar run?
//! * [`verdict`]: has a workload that is being changed arrived, or failed?
//! * [`waves`]: who may start, who has to wait, what halts everything
//!
//! What is known after a restart of the controller is in the status of the `LogSidecar` (a rollout that was halted, a canary that
//! has succeeded), in the ledgers (which revision a workload has, and had before) and in the cluster itself (what is under way).

pub mod health;
pub mod settings;
pub mod verdict;
pub mod waves;

use serde_json::json;

use crate::{
    api::LogSidecarSpec,
    shipper::{Images, Shipper},
    workload::normal::fingerprint,
};

/// A hash of everything in a spec and in the program's configuration that decides what is put into templates. What else a spec
/// says (who is meant, how many at a time) makes no new revision.
#[must_use]
pub fn revision(spec: &LogSidecarSpec, images: &Images) -> String {
    // Only the image that is used: a new default for one shipper is nothing to the users of another.
    let image = Shipper::of(spec).map(|shipper| shipper.image(spec, images));
    let mut decisive = vec![json!(spec.logs), json!(spec.sidecar), json!(image)];
    // Those without any keep the revision that they had before there were outputs.
    decisive.extend((!spec.outputs.is_empty()).then(|| json!(spec.outputs)));
    fingerprint(&decisive.into())
}
