//! Claims: what each `LogSidecar` asks for at one workload.

use super::{ResolvedSpec, target::WorkloadLabels};
use crate::{
    api::{DeletionPolicy, OPT_OUT_LABEL, Reason},
    workload::ledger::{Ledger, Origin},
};

/// The part of a `LogSidecar` that planning reads.
#[derive(Clone, Copy, Debug)]
pub struct LogSidecarView<'a> {
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
    /// Its stage between creation and deletion.
    pub lifecycle: Lifecycle,
}

/// The stage of a `LogSidecar` between creation and deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// It has no finalizer of ours yet: nothing is put in, as deleting it now would leave that behind.
    New,
    /// It may be acted upon.
    Live,
    /// It is being deleted.
    Deleting,
}

/// A `LogSidecar` that concerns one workload, and what it asks for there.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its uid; absent in a file.
    pub uid: Option<&'a str>,
    /// The revision of its spec, where that matters.
    pub revision: Option<&'a str>,
    /// What it asks for.
    pub intent: Intent<'a>,
}

/// What a `LogSidecar` asks for at a workload.
#[derive(Clone, Copy, Debug)]
pub enum Intent<'a> {
    /// Its items are put in and kept up to date.
    Apply(&'a ResolvedSpec),
    /// Its items stay as they are, for this reason.
    Keep(Reason),
    /// Its items are taken out.
    Remove(Evidence),
    /// Its items stay and belong to the owner of the workload from then on.
    Orphan,
}

/// Why items are taken out. An empty cache or a stale list is never a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The `LogSidecar` is being deleted, which cannot be undone.
    Deleting,
    /// The workload is labelled so, and the write is guarded by the version that has the label.
    OptedOut,
    /// The `LogSidecar` as the cache has it does not match the workload: to be confirmed by reading it from the API server.
    Unmatched,
    /// The cache has no such `LogSidecar`: to be confirmed likewise.
    Missing,
    /// Its rollout has failed at this workload, which had nothing of it before.
    Failed,
}

/// Returns what every `LogSidecar` that concerns a workload asks for there; the older ones first.
#[must_use]
pub fn claims<'a>(workload: WorkloadLabels<'_>, known: &[LogSidecarView<'a>], ledger: Option<&'a Ledger>) -> Vec<Claim<'a>> {
    let mut known: Vec<_> = known.iter().collect();
    known.sort_by_key(|known| (known.created, known.name));
    let mut claims: Vec<Claim<'a>> = known
        .iter()
        .filter_map(|known| {
            let entry = ledger.and_then(|ledger| ledger.entry(known.name, known.uid));
            // What a manifest holds is for the manifest to take out; without a cluster, manifests are all there is.
            let injected = entry.is_some_and(|entry| entry.origin == Origin::Controller || known.uid.is_none());
            let intent = intent(workload, known, injected)?;
            Some(Claim { name: known.name, uid: known.uid, revision: known.revision, intent })
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
                intent: Intent::Remove(Evidence::Missing),
            });
        }
    }
    claims
}

fn intent<'a>(workload: WorkloadLabels<'_>, known: &LogSidecarView<'a>, injected: bool) -> Option<Intent<'a>> {
    if known.lifecycle == Lifecycle::Deleting {
        return injected.then_some(match known.deletion {
            DeletionPolicy::Remove => Intent::Remove(Evidence::Deleting),
            DeletionPolicy::Orphan => Intent::Orphan,
        });
    }
    let Some(spec) = known.spec else { return injected.then_some(Intent::Keep(Reason::Unreadable)) };
    let matches = spec.matches(workload);
    if spec.spec().suspend {
        return (matches || injected).then_some(Intent::Keep(Reason::Suspended));
    }
    if workload.labels.get(OPT_OUT_LABEL).is_some_and(|value| value == "false") {
        return if injected {
            Some(Intent::Remove(Evidence::OptedOut))
        } else {
            matches.then_some(Intent::Keep(Reason::OptedOut))
        };
    }
    match (matches, known.lifecycle) {
        (true, Lifecycle::New) => Some(Intent::Keep(Reason::Pending)),
        (true, _) => Some(Intent::Apply(spec)),
        (false, _) => injected.then_some(Intent::Remove(Evidence::Unmatched)),
    }
}
