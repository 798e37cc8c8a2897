//! Rolling out safely, as far as it can be decided without a cluster: who may be changed next, and what became of it. Pure: the
//! caller says what time it is.
//!
//! * [`settings`]: `spec.rollout`, parsed
//! * [`scheduler`]: who may be changed, who has to wait, what halts a rollout
//! * [`canary`]: who is changed first
//! * [`in_flight`]: a workload that is being changed
//! * [`health`]: pods → the state of every container
//! * [`verdict`]: has a workload in flight succeeded, or failed?
//!
//! What a restart of the controller must not lose is in the status of the `LogSidecar` (a halted rollout, canaries that have
//! succeeded), in the ledgers (which revision a workload has, and had before) and in the cluster itself (what is in flight).

pub mod canary;
pub mod health;
pub mod in_flight;
pub mod scheduler;
pub mod settings;
pub mod verdict;

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
