//! What is done at a workload at which a rollout has failed: it stays as it is, or gets back what it had before.
//!
//! The order matters: that the rollout was halted is written down first. Whoever starts anew after that knows that nothing more is
//! to be tried; one who starts before finds the failure again.

use std::sync::Arc;

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{apply::TIMEOUT, cache::Sidecar, context::Context, look::Look, revisions, rollout, workload::Workload};
use crate::{
    api::{LogSidecar, LogSidecarSpec, MANAGER, OnFailure, Reason, Stage},
    plan::{Claim, Evidence, Refusal, Stance},
};

/// A `LogSidecar` whose rollout has failed at this workload.
pub(super) struct Recovery {
    pub uid: String,
    pub cause: String,
    pub way: Way,
}

/// What is done about it.
#[derive(Debug, PartialEq)]
pub(super) enum Way {
    /// Nothing, as its owner wants it.
    Stay,
    /// Nothing yet: it could not be written down, or what was there before could not be read.
    Later,
    /// There was nothing of it before: it is taken out.
    Nothing,
    /// This was there before, under that revision.
    Back(Box<LogSidecarSpec>, String),
    /// It is as before already.
    Done,
    /// Nobody knows what was there before.
    Unknown,
}

/// The LogSidecars whose rollouts have failed here.
pub(super) async fn at(context: &Context, workload: &Workload, known: &[Arc<Sidecar>]) -> Vec<Recovery> {
    let mut found = Vec::new();
    for sidecar in known {
        let halt = context.rollouts.waves().halt(&sidecar.key).cloned();
        let Some(halt) = halt.filter(|halt| halt.is_at(&workload.key)) else { continue };
        let way =
            if halt.recorded || record(context, sidecar).await { way(context, workload, sidecar).await } else { Way::Later };
        found.push(Recovery { uid: sidecar.uid.clone(), cause: halt.cause, way });
    }
    found
}

async fn way(context: &Context, workload: &Workload, sidecar: &Sidecar) -> Way {
    if sidecar.settings().is_none_or(|settings| settings.on_failure == OnFailure::Halt) {
        return Way::Stay;
    }
    match rollout::entry(workload, sidecar) {
        None => Way::Done,
        // What is in a manifest has no revision.
        Some(entry) if entry.revision.is_none() => Way::Unknown,
        Some(entry) if entry.revision.as_ref() == Some(&sidecar.revision) => match entry.previous {
            None => Way::Nothing,
            Some(before) => match revisions::get(&context.client, sidecar, &before).await {
                Ok(Some(spec)) => Way::Back(Box::new(spec), before),
                Ok(None) => Way::Unknown,
                Err(error) => {
                    tracing::warn!(workload = %workload.key, "cannot read what was there before: {error}");
                    Way::Later
                }
            },
        },
        Some(entry) if entry.previous.as_ref() == Some(&sidecar.revision) => Way::Done,
        // The revision that failed put in what was there already.
        Some(_) => Way::Stay,
    }
}

/// Writes down that a rollout was halted, before anything is done about it: whoever starts anew must not try the next workload.
/// Says whether it is written.
async fn record(context: &Context, sidecar: &Sidecar) -> bool {
    let status = rollout::status(context, sidecar);
    if status.stage != Stage::Halted {
        return true;
    }
    let api: Api<LogSidecar> = Api::namespaced(context.client.clone(), &sidecar.key.namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": {"uid": sidecar.uid}, "status": {"rollout": status}}));
    match tokio::time::timeout(TIMEOUT, api.patch_status(&sidecar.key.name, &params, &patch)).await {
        Ok(Ok(_)) => {
            context.rollouts.waves().recorded(&sidecar.key, &status.revision);
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(sidecar = %sidecar.key, "cannot write down that the rollout was halted: {error}");
            false
        }
        Err(_) => false,
    }
}

impl<'a> Look<'a> {
    /// Whose rollout has failed here: what it had before comes back, or all stays as it is.
    pub fn recover_from(&mut self, halt: &'a Recovery) {
        let is_its = |claim: &&mut Claim<'_>| claim.uid == Some(halt.uid.as_str()) && matches!(claim.stance, Stance::Apply(_));
        let Some(claim) = self.claims.iter_mut().find(is_its) else { return };
        let cause = &halt.cause;
        let (reason, message) = match &halt.way {
            Way::Stay => (Reason::RolloutFailed, cause.clone()),
            Way::Later => {
                claim.stance = Stance::Keep(Reason::Halted);
                (Reason::RolloutFailed, cause.clone())
            }
            Way::Unknown => {
                claim.stance = Stance::Keep(Reason::Halted);
                (Reason::RolloutFailed, format!("{cause}; what was here before is not known any more, and not given back"))
            }
            Way::Nothing => {
                claim.stance = Stance::Remove(Evidence::Failed);
                self.restoring.insert(claim.name);
                (Reason::RolledBack, format!("{cause}; taken out again"))
            }
            Way::Back(spec, revision) => {
                (claim.stance, claim.revision) = (Stance::Apply(spec), Some(revision.as_str()));
                self.restoring.insert(claim.name);
                (Reason::RolledBack, format!("{cause}; given back what was here before"))
            }
            Way::Done => {
                claim.stance = Stance::Keep(Reason::RolledBack);
                (Reason::RolledBack, format!("{cause}; given back what was here before"))
            }
        };
        self.told.insert(claim.name, Refusal::new(reason, message));
    }
}
