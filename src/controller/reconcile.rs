//! One workload: what its LogSidecars want of it, and a [`Look`] at what can be done about that now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    cache::Sidecar,
    context::Context,
    follow::follow,
    look::Look,
    queue::Next,
    recovery::{self, Way},
    rollout,
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::Reason,
    plan::{
        Claim, Evidence, Refusal, Stance,
        claim::{Known, Labelled, claims},
    },
    status::Outcome,
    workload::ledger::Ledger,
};

/// Brings one workload to what its LogSidecars ask for, as far as it is its turn.
pub(super) async fn reconcile(context: &Arc<Context>, key: &WorkloadKey) -> Next {
    let next = look_at(context, key).await;
    let woken = {
        let mut waves = context.rollouts.waves();
        waves.looked_at(key);
        waves.wake()
    };
    woken.into_iter().for_each(|key| context.workloads.add(key));
    next
}

async fn look_at(context: &Arc<Context>, key: &WorkloadKey) -> Next {
    let known = context.cache.sidecars_in(&key.namespace);
    let Some(workload) = context.cache.workload(key) else {
        known.iter().for_each(|sidecar| context.note(sidecar, key, None));
        return Next::Await;
    };
    rollout::revise(context, &known);
    let again = follow(context, &workload, &known).await;
    let all: Vec<Known<'_>> = known.iter().map(|sidecar| sidecar.known()).collect();
    let (written, unreadable) = match workload.ledger.as_deref().map(Ledger::parse).transpose() {
        Ok(ledger) => (ledger, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let ledger = match &written {
        None if unreadable.is_none() => workload.recover(&all),
        None => None,
        Some(written) => workload.take_over(written, &all, context.setting(key.target.kind)),
    };
    let labelled = Labelled { kind: key.target.kind, name: &key.target.name, labels: &workload.labels() };
    let seen = ledger.as_ref().map(|ledger| ledger.seen_from(Some(&workload.uid)));
    let mut claims = claims(labelled, &all, seen.as_ref());
    if let Some(error) = unreadable {
        let message = format!("{error}: correct it, or remove it and what was put in");
        let refusal = Refusal::new(Reason::LedgerUnreadable, message);
        return refuse_all(context, &known, &workload, &claims, &refusal).within(again);
    }
    leave_to_its_controller(&workload, &mut claims);
    let Confirmed { complete } = confirm(context, &workload, &mut claims).await;
    let halts = recovery::at(context, &workload, &known).await;
    let mut look = Look {
        context,
        known: &known,
        workload: workload.clone(),
        written: written.as_ref(),
        ledger: ledger.as_ref(),
        claims,
        restoring: BTreeSet::new(),
        told: BTreeMap::new(),
    };
    halts.iter().for_each(|halt| look.recover_from(halt));
    let next = look.run().await;
    let recorded = halts.iter().all(|halt| halt.way != Way::Later);
    if complete && recorded { next.within(again) } else { Next::Backoff }
}

/// Workloads that another controller renders are its business: it would revert every change. What is to be taken out is.
pub(super) fn leave_to_its_controller(workload: &Workload, claims: &mut [Claim<'_>]) {
    let wanting = claims.iter_mut().filter(|claim| matches!(claim.stance, Stance::Apply(_)));
    if workload.controller.is_some() {
        wanting.for_each(|claim| claim.stance = Stance::Keep(Reason::ManagedByController));
    }
}

fn refuse_all(context: &Context, known: &[Arc<Sidecar>], workload: &Workload, claims: &[Claim<'_>], refusal: &Refusal) -> Next {
    for sidecar in known {
        let claimed = claims.iter().any(|claim| claim.uid == Some(sidecar.uid.as_str()));
        let outcome = Outcome { reason: refusal.reason, message: refusal.message.clone(), injected: false };
        context.note(sidecar, &workload.key, claimed.then_some(outcome));
        let mut waves = context.rollouts.waves();
        waves.pass_over(&sidecar.key, &workload.key);
        // What was allowed before it could not be read any more has its place until it is done.
        waves.update(&sidecar.key, &workload.key, |flight| (flight.removing, flight.written) = (true, true));
    }
    Next::Await
}

/// Whether every claim could be confirmed.
struct Confirmed {
    complete: bool,
}

/// Absence is not evidence: a claim to take something out because of what the cache does *not* show is confirmed by asking
/// the API server, and is kept back until it is.
async fn confirm(context: &Context, workload: &Workload, claims: &mut [Claim<'_>]) -> Confirmed {
    let mut confirmed = Confirmed { complete: true };
    for claim in claims {
        let Stance::Remove(evidence) = claim.stance else { continue };
        let holds = match evidence {
            Evidence::Deleting | Evidence::OptedOut | Evidence::Failed => true,
            Evidence::Unmatched => context.is_current(&workload.key.namespace, claim.name).await,
            Evidence::Missing => context.is_gone(&workload.key.namespace, claim.name, claim.uid).await,
        };
        if !holds {
            claim.stance = Stance::Keep(Reason::Pending);
            confirmed.complete = false;
        }
    }
    confirmed
}
