//! What is done at a workload at which a rollout has failed: it stays as it is, or gets back what it had before.
//!
//! The order matters: that the rollout was halted is written down first. Whoever starts anew after that knows that nothing more is
//! to be tried; one who starts before finds the failure again.

use std::sync::Arc;

use super::{cache::Sidecar, context::Context, revisions, rollout, workload::Workload};
use crate::{
    api::{LogSidecarSpec, OnFailure},
    rollout::settings::Settings,
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
    /// Nothing yet: it could not be written down.
    NotRecorded,
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
        let Some(halt) = halt.filter(|halt| halt.at == workload.key || halt.also.contains(&workload.key)) else { continue };
        let way = if halt.recorded || rollout::record(context, sidecar).await {
            way(context, workload, sidecar).await
        } else {
            Way::NotRecorded
        };
        found.push(Recovery { uid: sidecar.uid.clone(), cause: halt.cause, way });
    }
    found
}

async fn way(context: &Context, workload: &Workload, sidecar: &Sidecar) -> Way {
    let Ok(spec) = &sidecar.spec else { return Way::Stay };
    if Settings::of(spec.rollout.as_ref()).on_failure == OnFailure::Halt {
        return Way::Stay;
    }
    match rollout::entry(workload, sidecar) {
        None => Way::Done,
        Some(entry) if entry.revision.as_ref() != Some(&sidecar.revision) => Way::Done,
        Some(entry) => match entry.previous {
            None => Way::Nothing,
            Some(before) => match revisions::get(&context.client, sidecar, &before).await {
                Some(spec) => Way::Back(Box::new(spec), before),
                None => Way::Unknown,
            },
        },
    }
}
