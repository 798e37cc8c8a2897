//! The planner: pod template in, pod template out.
//!
//! [`plan`] is the one function that decides what is in a template, for the controller and for the command line alike. It
//! and everything below it is pure: no client, no clock, no I/O, no logging (a test over the sources holds it to that).
//!
//! * `resolved`: a spec with everything that follows from it; [`target`]: which workloads it is for
//! * [`claim`]: which LogSidecars want what of a workload
//! * `admitted`: what a policy of the API server has put in
//! * `owned_items`, `draft`: what a claim has in the template already; claims settled one after the other
//! * `sidecar`, `shipping`, `volume`, `port`, `user`: what one `LogSidecar` puts in; [`config`]: the ConfigMap that goes with it
//! * [`difference`]: the JSON patch from one template to the other

mod admitted;
pub mod claim;
pub mod config;
pub mod difference;
mod draft;
pub mod object;
mod owned_items;
pub mod patch;
mod port;
mod refusal;
mod resolved;
mod shipping;
mod sidecar;
mod strip;
pub mod target;
mod user;
mod volume;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use self::{
    admitted::adopt_admitted,
    claim::{Claim, Evidence, Intent},
    config::ConfigMap,
    owned_items::recover,
    refusal::{Refusal, Warning},
    resolved::ResolvedSpec,
    sidecar::RENDERER,
};
use self::{draft::Draft, owned_items::OwnedItems, strip::strip};
use crate::{
    api::Reason,
    workload::{
        key::Key,
        kind::Kind,
        ledger::{Before, Entry, Ledger},
        owned::Owned,
    },
};

/// A workload as the planner reads it.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// Its uid; absent in a file.
    pub uid: Option<&'a str>,
    /// Its pod template.
    pub template: &'a Value,
    /// The ledger in its annotation.
    pub ledger: Option<&'a Ledger>,
    /// The items that its `managedFields` give to us.
    pub owned: &'a Owned,
    /// The state of its pods before the plan.
    pub before: Before,
    /// Its kind.
    pub kind: Kind,
}

/// What is put into a template, in the order in which it has to be put.
pub type Items = Vec<(Key, Value)>;

/// What a workload should become.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The pod template. Equal to the live one where nothing is to be done.
    pub template: Value,
    /// The ledger that goes with it; `None`: no annotation.
    pub ledger: Option<Ledger>,
    /// The result of each claim, in the order of the claims.
    pub results: Vec<ClaimResult>,
    /// Items that have another owner now: left in place, removed from the ledger.
    pub handed_over: Vec<Key>,
}

/// The result of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimResult {
    /// The name of the `LogSidecar`.
    pub name: String,
    /// Its uid; absent in a file.
    pub uid: Option<String>,
    /// The effect, or why the claim is refused.
    pub result: Result<Effect, Refusal>,
}

/// The effect of a claim that is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The template holds what the spec asks for.
    Applied(Vec<Warning>),
    /// What was there is left alone.
    Kept(Reason),
    /// The template holds nothing of it (any more).
    Removed,
    /// Its items were left behind for good.
    Orphaned,
}

/// Plans a workload.
///
/// # Guarantees
/// * Outside the items that the returned ledger names, and those that the given one named, the template stays as it was.
/// * Planning the result again with the same claims returns it unchanged.
/// * Only [`Intent::Remove`] takes items out for good, and only items that are ours; only [`Intent::Apply`] changes any.
/// * A refused claim leaves what it had put in as it is, unless the owner has put a volume of his own in the place of one of
///   its: then the rest is taken out.
#[must_use]
pub fn plan(input: &PlanInput<'_>, claims: &[Claim<'_>]) -> Plan {
    let mut plan = step(input, claims);
    // What one claim puts in can make room for another that came before it: without another step that would be another
    // rollout. A step that changes nothing is the last, so a converged workload costs one.
    let mut before = (input.template.clone(), input.ledger.cloned());
    for _ in claims {
        if (&plan.template, &plan.ledger) == (&before.0, &before.1) {
            break;
        }
        before = (plan.template, plan.ledger);
        let earlier = plan.handed_over;
        plan = step(&PlanInput { template: &before.0, ledger: before.1.as_ref(), ..*input }, claims);
        plan.handed_over.splice(0..0, earlier);
    }
    plan
}

/// Meets every claim as far as it can be met with those before it.
fn step(input: &PlanInput<'_>, claims: &[Claim<'_>]) -> Plan {
    let copied = input.ledger.filter(|ledger| ledger.is_foreign(input.uid));
    let ledger = input.ledger.map(|ledger| ledger.seen_from(input.uid));
    // An entry that nobody speaks for stays.
    let entries = ledger.as_ref().map(|ledger| ledger.sidecars.as_slice()).unwrap_or_default();
    let unclaimed = entries.iter().filter(|entry| !claims.iter().any(|claim| entry.is_of(claim.name, claim.uid)));
    let unclaimed = unclaimed.map(|entry| Claim {
        name: &entry.name,
        uid: entry.uid.as_deref(),
        revision: None,
        intent: Intent::Keep(Reason::Pending),
    });
    let all: Vec<Claim<'_>> = claims.iter().copied().chain(unclaimed).collect();
    // An entry is one claim's: of a copy, which has lost the uids, that of an old namesake is not given out once more.
    let mut free: Vec<&Entry> = entries.iter().collect();
    let mut entry_of = |claim: &Claim<'_>| {
        let at = free.iter().position(|entry| entry.is_of(claim.name, claim.uid))?;
        Some(free.remove(at))
    };
    let found: Vec<Option<&Entry>> = all.iter().map(&mut entry_of).collect();
    let admitted: Vec<Key> = all.iter().zip(&found).filter_map(|(claim, entry)| admitted::container(claim, *entry)).collect();
    let admitted: Vec<&str> = admitted.iter().filter_map(Key::container).collect();
    let owned_items = all.iter().zip(&found);
    let owned_items: Vec<OwnedItems<'_>> =
        owned_items.map(|(claim, entry)| OwnedItems::new(input, (ledger.as_ref(), copied), &admitted, *entry, claim)).collect();
    let kept: BTreeSet<&Key> = owned_items
        .iter()
        .filter(|owned_items| !owned_items.is_replanned())
        .flat_map(|owned_items| &owned_items.ours)
        .collect();
    let replanned =
        owned_items.iter().filter(|owned_items| owned_items.is_replanned()).flat_map(|owned_items| &owned_items.ours);
    let stripped: BTreeSet<Key> = replanned.filter(|key| !kept.contains(key)).cloned().collect();
    let draft = Draft {
        input,
        ledger: ledger.as_ref(),
        copied,
        ours: owned_items.iter().flat_map(|owned_items| &owned_items.ours).cloned().collect(),
        pod: strip(input.template, &stripped, &BTreeMap::new()),
        stripped,
        wanted: Vec::new(),
        entries: Vec::new(),
    };
    draft.finish(claims.len(), owned_items)
}

/// Returns what a `LogSidecar` puts into a pod that has nothing of it yet, with warnings.
pub fn contribution(pod: &Value, spec: &ResolvedSpec, kind: Kind) -> Result<(Items, Vec<Warning>), Refusal> {
    let sidecar::Contribution { items, uses: _, warnings } = sidecar::items(pod, spec, &[], kind, |_| false)?;
    Ok((items, warnings))
}

#[cfg(test)]
mod tests;
