//! What the LogSidecars intend with a workload, as far as it may be acted upon.

use super::{Answers, Observation, Step, decision::Decision, log_sidecar::LogSidecarKey, question::Question};
use crate::{
    api::Reason,
    plan::{Claim, Intent, claim::Evidence},
    workload::snapshot::Workload,
};

/// The claims on a workload, and whether each of them could be confirmed.
pub(super) struct ConfirmedClaims<'a> {
    pub claims: Vec<Claim<'a>>,
    pub is_complete: bool,
}

/// Confirms what is claimed. Absence is not evidence: a removal because of what the observation does *not* show is confirmed by asking
/// the API server, and is kept back until it is.
pub(super) fn confirm<'a>(observation: &'a Observation<'_>, answers: &Answers) -> Step<ConfirmedClaims<'a>> {
    let mut claims = observation.claims();
    skip_controlled(observation.workload, &mut claims);
    let mut is_complete = true;
    for claim in &mut claims {
        let Intent::Remove(evidence) = claim.intent else { continue };
        if !holds(observation, answers, claim, evidence)? {
            claim.intent = Intent::Keep(Reason::Pending);
            is_complete = false;
        }
    }
    Ok(ConfirmedClaims { claims, is_complete })
}

fn holds(observation: &Observation<'_>, answers: &Answers, claim: &Claim<'_>, evidence: Evidence) -> Step<bool> {
    let key = || key_of(observation.workload, claim.name);
    let (answer, question) = match evidence {
        Evidence::Deleting | Evidence::OptedOut | Evidence::Failed => return Ok(true),
        Evidence::Unmatched => (answers.is_current(&key()), Question::IsCurrent(key())),
        Evidence::Missing => (answers.is_gone(&key(), claim.uid), Question::IsGone(key(), claim.uid.map(str::to_owned))),
    };
    answer.ok_or_else(|| Box::new(Decision::ask(question)))
}

/// The address of the `LogSidecar` of that name.
pub(super) fn key_of(workload: &Workload, name: &str) -> LogSidecarKey {
    LogSidecarKey {
        namespace: workload.key.namespace.clone(),
        name: name.parse().expect("names are checked where they are read"),
    }
}

/// Leaves workloads alone that another controller renders: it would revert every change. Removals are carried out.
fn skip_controlled(workload: &Workload, claims: &mut [Claim<'_>]) {
    if workload.controller.is_some() {
        let applying = claims.iter_mut().filter(|claim| matches!(claim.intent, Intent::Apply(_)));
        applying.for_each(|claim| claim.intent = Intent::Keep(Reason::ManagedByController));
    }
}
