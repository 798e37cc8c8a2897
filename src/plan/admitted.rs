//! What policies of the API server have put in (see [`crate::policy`]), and how it becomes ours.

use super::{
    Claim, Intent, PlanInput,
    claim::{Lifecycle, LogSidecarView},
    plan, sidecar,
};
use crate::workload::ledger::{Entry, Origin};
use crate::workload::{key::Key, ledger::Ledger};

/// The ledger of a workload after everything in it that policies have put in is taken over: as if the controller had put it in
/// itself, so that it can be taken out again whatever has become of its `LogSidecar` meanwhile.
///
/// Guarantees: the template stays as it is, and an entry changes only if the template holds exactly what its `LogSidecar` would
/// put in. What is suspended, or must not be acted upon yet, stays as it is.
#[must_use]
pub fn adopt_admitted(input: &PlanInput<'_>, known: &[LogSidecarView<'_>]) -> Option<Ledger> {
    let ledger = input.ledger?;
    let is_admitted = |known: &LogSidecarView<'_>| {
        let entry = ledger.sidecars.iter().find(|entry| entry.is_of(known.name, known.uid));
        entry.is_some_and(|entry| entry.origin == Origin::Policy)
    };
    let claims: Vec<Claim<'_>> = known
        .iter()
        .filter(|known| is_admitted(known))
        .filter_map(|known| {
            let spec = known.spec?;
            let may = match known.lifecycle {
                Lifecycle::New => false,
                Lifecycle::Live => !spec.spec().suspend,
                Lifecycle::Deleting => true,
            };
            may.then_some(Claim { name: known.name, uid: known.uid, revision: known.revision, intent: Intent::Apply(spec) })
        })
        .collect();
    let without_change = |ledger: &Ledger, claims: &[Claim<'_>]| {
        let plan = plan(&PlanInput { ledger: Some(ledger), ..*input }, claims);
        plan.ledger.filter(|_| plan.template == *input.template)
    };
    if claims.is_empty() {
        return Some(ledger.clone());
    }
    // All at once, as the container of one is not the pod's own for another; but one of them may be missing.
    without_change(ledger, &claims).or_else(|| {
        let each = |ledger: Ledger, claim: &Claim<'_>| without_change(&ledger, &[*claim]).unwrap_or(ledger);
        Some(claims.iter().fold(ledger.clone(), each))
    })
}

/// The container that a policy says to have put in for a claim.
pub(super) fn container(claim: &Claim<'_>, entry: Option<&Entry>) -> Option<Key> {
    match claim.intent {
        Intent::Apply(spec) if entry?.origin == Origin::Policy => Some(sidecar::container_key(spec)),
        Intent::Apply(_) | Intent::Keep(_) | Intent::Remove(_) | Intent::Orphan => None,
    }
}
