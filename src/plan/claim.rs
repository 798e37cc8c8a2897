//! Who wants what of a workload: the LogSidecars that are known, seen against one workload.

use super::{ResolvedSpec, target::Labelled};
use crate::{
    api::{DeletionPolicy, OPT_OUT_LABEL, Reason},
    workload::ledger::{Ledger, Origin},
};

/// A `LogSidecar` as far as planning needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its uid; absent in a file.
    pub uid: Option<&'a str>,
    /// Its age: of two, the one with the smaller value is older. Absent in a file.
    pub created: Option<&'a str>,
    /// The revision of its spec, where that matters: not in a file.
    pub revision: Option<&'a str>,
    /// Its spec; `None` if this program cannot read it.
    pub spec: Option<&'a ResolvedSpec>,
    /// What its deletion means, which has to be known even of an object that cannot be read otherwise.
    pub deletion: DeletionPolicy,
    /// Where it is in its life.
    pub phase: Phase,
}

/// Where a `LogSidecar` is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not carry our finalizer yet: if it were deleted now, nobody would take out what it put in.
    New,
    /// It may be acted upon.
    Live,
    /// It is being deleted.
    Deleting,
}

/// What one `LogSidecar` wants of one workload.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its uid; absent in a file.
    pub uid: Option<&'a str>,
    /// The revision of its spec, where that matters.
    pub revision: Option<&'a str>,
    /// What it wants.
    pub stance: Stance<'a>,
}

/// What a `LogSidecar` wants of a workload.
#[derive(Clone, Copy, Debug)]
pub enum Stance<'a> {
    /// Its items are put in and kept up to date.
    Apply(&'a ResolvedSpec),
    /// Its items stay as they are, for this reason.
    Keep(Reason),
    /// Its items are taken out.
    Remove(Evidence),
    /// Its items stay and are nobody's any more.
    Orphan,
}

/// Why items are taken out. An empty cache or a stale list is never a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The `LogSidecar` is being deleted: that cannot be undone, so whoever has seen it may act.
    Deleting,
    /// The workload says so itself, and the write is guarded by the version of the workload that says so.
    OptedOut,
    /// The `LogSidecar` as the cache has it does not match the workload: to be confirmed by reading it from the API server.
    Unmatched,
    /// The cache has no such `LogSidecar`: to be confirmed likewise.
    Missing,
    /// Its rollout has failed at this workload, which had nothing of it before.
    Failed,
}

/// What every `LogSidecar` that concerns a workload wants of it; the older ones first.
#[must_use]
pub fn claims<'a>(workload: Labelled<'_>, known: &[Known<'a>], ledger: Option<&'a Ledger>) -> Vec<Claim<'a>> {
    let mut known: Vec<_> = known.iter().collect();
    known.sort_by_key(|known| (known.created, known.name));
    let mut claims: Vec<Claim<'a>> = known
        .iter()
        .filter_map(|known| {
            let entry = ledger.and_then(|ledger| ledger.entry(known.name, known.uid));
            // What a manifest holds is for the manifest to take out; without a cluster, manifests are all there is.
            let injected = entry.is_some_and(|entry| entry.origin == Origin::Controller || known.uid.is_none());
            let stance = stance(workload, known, injected)?;
            Some(Claim { name: known.name, uid: known.uid, revision: known.revision, stance })
        })
        .collect();
    let entries = ledger.map(|ledger| ledger.sidecars.as_slice()).unwrap_or_default();
    for entry in entries {
        // An entry without uid came with a manifest, which may well be applied before its LogSidecar.
        if entry.uid.is_some() && !known.iter().any(|known| entry.is_of(known.name, known.uid)) {
            claims.push(Claim {
                name: &entry.name,
                uid: entry.uid.as_deref(),
                revision: None,
                stance: Stance::Remove(Evidence::Missing),
            });
        }
    }
    claims
}

fn stance<'a>(workload: Labelled<'_>, known: &Known<'a>, injected: bool) -> Option<Stance<'a>> {
    if known.phase == Phase::Deleting {
        return injected.then_some(match known.deletion {
            DeletionPolicy::Remove => Stance::Remove(Evidence::Deleting),
            DeletionPolicy::Orphan => Stance::Orphan,
        });
    }
    let Some(spec) = known.spec else { return injected.then_some(Stance::Keep(Reason::Unreadable)) };
    let matches = spec.matches(workload);
    if spec.spec().suspend {
        return (matches || injected).then_some(Stance::Keep(Reason::Suspended));
    }
    if workload.labels.get(OPT_OUT_LABEL).is_some_and(|value| value == "false") {
        return if injected {
            Some(Stance::Remove(Evidence::OptedOut))
        } else {
            matches.then_some(Stance::Keep(Reason::OptedOut))
        };
    }
    match (matches, known.phase) {
        (true, Phase::New) => Some(Stance::Keep(Reason::Pending)),
        (true, _) => Some(Stance::Apply(spec)),
        (false, _) => injected.then_some(Stance::Remove(Evidence::Unmatched)),
    }
}
