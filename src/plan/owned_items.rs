//! The items that a claim has in the template already: those that are ours, and those that have another owner now.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Claim, Intent, PlanInput, ResolvedSpec, claim::LogSidecarView, shipping, sidecar, strip::strip, volume};
use crate::api::Log;
use crate::workload::{
    key,
    ledger::{Before, Entry, Origin},
    normal::{digest, normal},
};
use crate::workload::{key::Key, ledger::Ledger, owned::Owned};

/// One claim, with what it has in the template already.
pub(super) struct OwnedItems<'a> {
    pub claim: Claim<'a>,
    pub entry: Option<&'a Entry>,
    /// Items of the template that are ours and this claim's.
    pub ours: BTreeSet<Key>,
    /// Items that the ledger names and that have another owner now.
    pub lost: Vec<Key>,
    pub origin: Origin,
    offline: bool,
}

impl<'a> OwnedItems<'a> {
    /// An item is ours if the ledger names it, and either its digest is the ledger's or `managedFields` say so; of a ledger
    /// that came with a manifest also if the `LogSidecar` would put one there anyway. An item that no ledger names is ours if
    /// `managedFields` say so, or adopted if it is exactly what would be put in.
    ///
    /// `entry` is that of the claim in `ledger`; `copied` is the ledger of the workload that this one is a copy of, `ledger` the
    /// same as it counts here. `admitted` are the containers that policies say to have put in.
    pub fn new(
        input: &PlanInput<'a>,
        (ledger, copied): (Option<&'a Ledger>, Option<&Ledger>),
        admitted: &[&str],
        entry: Option<&'a Entry>,
        claim: &Claim<'a>,
    ) -> Self {
        let offline = input.uid.is_none();
        let origin = if offline { Origin::File } else { Origin::Controller };
        let mut owned_items = Self { claim: *claim, entry, ours: BTreeSet::new(), lost: Vec::new(), origin, offline };
        match (entry, claim.intent) {
            (Some(Entry { origin: Origin::Policy, .. }), Intent::Apply(spec)) => {
                owned_items.adopt_admitted(input, ledger, admitted, spec);
            }
            // What was put in is not known, so that all of it stays.
            (Some(Entry { origin: Origin::Policy, .. }), Intent::Keep(_) | Intent::Remove(_) | Intent::Orphan) => {
                owned_items.origin = Origin::Policy;
            }
            (Some(entry), intent) => {
                owned_items.origin = entry.origin;
                let others = ledger.map(|ledger| ledger.sidecars.as_slice()).unwrap_or_default();
                owned_items.recognise(input, entry, others, intent);
                if let (Some(copied), Intent::Apply(spec)) = (copied, intent) {
                    owned_items.rebind(input, copied, spec);
                }
            }
            (None, Intent::Apply(spec)) => owned_items.adopt(input, ledger, spec),
            (None, Intent::Keep(_) | Intent::Remove(_) | Intent::Orphan) => {}
        }
        owned_items
    }

    fn recognise(&mut self, input: &PlanInput<'_>, entry: &Entry, entries: &[Entry], intent: Intent<'_>) {
        // What a manifest holds for a LogSidecar is there to be kept up to date, even where an admission plugin rewrote it;
        // but only where the LogSidecar itself puts something: anybody can write the name of anything into the annotation.
        let trusted = match intent {
            Intent::Apply(spec) if entry.origin == Origin::File => {
                let sidecars: Vec<&str> =
                    entries.iter().flat_map(|entry| entry.items.keys()).filter_map(Key::container).collect();
                candidates(input.template, sidecar::container_key(spec), (spec, MountScope::Ours), &sidecars)
            }
            Intent::Apply(_) | Intent::Keep(_) | Intent::Remove(_) | Intent::Orphan => BTreeSet::new(),
        };
        for (key, expected) in &entry.items {
            match key.get(input.template) {
                Some(item)
                    if digest(key, item) == *expected
                        || ((trusted.contains(key) || input.owned.holds(key, item)) && !is_other_volume(entry, key, item)) =>
                {
                    self.ours.insert(key.clone());
                }
                Some(_) => self.lost.push(key.clone()),
                None => {}
            }
        }
    }

    /// A workload that came with the ledger of another, perhaps of itself before it was deleted: it is taken over if it is
    /// just what would be put in, and left alone otherwise.
    fn rebind(&mut self, input: &PlanInput<'_>, copied: &Ledger, spec: &ResolvedSpec) {
        if planned(input, spec, &self.ours, &[]).is_some() {
            let before = copied.sidecars.iter().find(|entry| entry.name == self.claim.name);
            self.origin = before.map_or(Origin::File, |before| match before.origin {
                Origin::Controller | Origin::Policy => Origin::Controller,
                Origin::File => Origin::File,
            });
        } else {
            self.ours.clear();
        }
    }

    /// Takes over what a policy says to have put in, if it is exactly what would be put in: then it is ours as if the controller
    /// had put it in itself, and goes with its `LogSidecar`. If it is anything else, the entry counts for nothing.
    fn adopt_admitted(&mut self, input: &PlanInput<'_>, ledger: Option<&Ledger>, admitted: &[&str], spec: &ResolvedSpec) {
        let container = sidecar::container_key(spec);
        let mut candidates = candidates(input.template, container, (spec, MountScope::All), admitted);
        candidates.retain(|key| key.get(input.template).is_some());
        let planned = planned(input, spec, &candidates, admitted).unwrap_or_default();
        if !planned.is_empty() && candidates.iter().all(|key| planned.contains(key)) {
            self.ours = candidates;
        } else {
            self.adopt(input, ledger, spec);
        }
    }

    /// Finds again what was put in before the ledger was lost, or what `inject` put into a manifest that lost its annotation.
    fn adopt(&mut self, input: &PlanInput<'_>, ledger: Option<&Ledger>, spec: &ResolvedSpec) {
        let container = sidecar::container_key(spec);
        let names: Vec<&str> = container.container().into_iter().collect();
        let mut candidates = candidates(input.template, container.clone(), (spec, MountScope::Ours), &names);
        let is_named =
            |key: &Key| ledger.is_some_and(|ledger| ledger.sidecars.iter().any(|entry| entry.items.contains_key(key)));
        candidates.retain(|key| key.get(input.template).is_some() && !is_named(key));
        let is_owned = |key: &&Key| key.get(input.template).is_some_and(|item| input.owned.holds(key, item));
        let owned: BTreeSet<Key> = candidates.iter().filter(is_owned).cloned().collect();
        if !owned.is_empty() {
            self.ours = owned;
            return;
        }
        if planned(input, spec, &candidates, &[]).is_some() {
            self.ours = candidates;
            self.origin = Origin::File;
        }
    }

    /// Whether the owner of the workload has put a volume of his own in the place of one that we put in.
    pub fn has_lost_a_volume(&self) -> bool {
        self.origin == Origin::Controller && self.lost.iter().any(|key| matches!(key, Key::Volume(_)))
    }

    /// Whether the claim asks for a volume that is there without it.
    pub fn uses_existing_volume(&self) -> bool {
        let existing = |log: &Log| log.volume.as_ref().is_some_and(|volume| volume.existing.is_some());
        matches!(self.claim.intent, Intent::Apply(spec) if spec.spec().logs.iter().any(existing))
    }

    pub fn is_replanned(&self) -> bool {
        match self.claim.intent {
            Intent::Apply(_) => true,
            // A manifest that holds them would only bring them back; offline, the manifest is what is being changed.
            Intent::Remove(_) => self.origin == Origin::Controller || self.offline,
            Intent::Keep(_) | Intent::Orphan => false,
        }
    }
}

/// Returns what a plan without `items` would put in, if that is just what is in the template. `others` are containers that do not
/// count as the pod's own.
fn planned(input: &PlanInput<'_>, spec: &ResolvedSpec, items: &BTreeSet<Key>, others: &[&str]) -> Option<BTreeSet<Key>> {
    let container = sidecar::container_key(spec);
    let names: Vec<&str> = container.container().into_iter().chain(others.iter().copied()).collect();
    let pod = strip(input.template, items, &BTreeMap::new());
    let planned = sidecar::items(&pod, spec, &names, input.kind, |_| true).ok()?.items;
    let equal = |(key, item): &(Key, Value)| key.get(input.template).is_some_and(|live| normal(key, live) == normal(key, item));
    planned.iter().all(equal).then(|| planned.into_iter().map(|(key, _)| key).collect())
}

/// Which mounts may be ours.
#[derive(Clone, Copy, PartialEq)]
enum MountScope {
    /// Those of volumes of ours: a mount of an existing volume may be the owner's own.
    Ours,
    /// Those of existing volumes, too.
    All,
}

/// Where the items of a spec would be; `sidecars` are the containers that do not count as the pod's own.
fn candidates(
    template: &Value,
    container: Key,
    (spec, mounts): (&ResolvedSpec, MountScope),
    sidecars: &[&str],
) -> BTreeSet<Key> {
    let mut candidates: BTreeSet<Key> =
        container.get(template).map(|live| shipping::volumes_of(live, spec)).into_iter().flatten().collect();
    candidates.insert(container);
    for log in &spec.spec().logs {
        let is_existing = log.volume.as_ref().is_some_and(|volume| volume.existing.is_some());
        if is_existing && mounts == MountScope::Ours {
            continue;
        }
        let Ok(writer) = sidecar::writer(template, log, sidecars) else { continue };
        let volume = volume::volume_name(log, writer);
        let mount = Key::Mount { container: writer.to_owned(), path: log.directory.clone() };
        if mount.get(template).is_some_and(|mount| mount["name"] == volume.as_str()) {
            candidates.insert(mount);
            if !is_existing {
                candidates.insert(Key::Volume(volume));
            }
        }
    }
    candidates
}

/// The ledger of a workload that has lost it, as far as `managedFields` and the LogSidecars that are known tell: somebody has
/// removed the annotation, or put back all annotations that there once were.
///
/// Only LogSidecars that were there when we last wrote count: what an earlier one has left behind for good is not theirs.
#[must_use]
pub fn recover(workload: &str, template: &Value, owned: &Owned, known: &[LogSidecarView<'_>]) -> Option<Ledger> {
    let mut ledger = Ledger::new(Some(workload));
    let readable = known.iter().filter_map(|known| Some((known, known.spec?, sidecar::container_key(known.spec?))));
    let known: Vec<_> = readable.collect();
    let sidecars: Vec<&str> = known.iter().filter_map(|(_, _, container)| container.container()).collect();
    let ours = |key: &Key| key.get(template).filter(|item| owned.holds(key, item));
    let was_there = |known: &LogSidecarView<'_>| known.created.is_some_and(|created| owned.is_written_since(created));
    for (known, spec, container) in known.iter().filter(|(known, _, _)| was_there(known)) {
        let mut candidates = candidates(template, container.clone(), (*spec, MountScope::Ours), &sidecars);
        // It may have been put in under a spec that said otherwise about the placement.
        candidates.extend(container.container().map(|name| match container {
            Key::InitContainer(_) => Key::Container(name.to_owned()),
            Key::Container(_) | Key::Volume(_) | Key::Mount { .. } => Key::InitContainer(name.to_owned()),
        }));
        // Or under one that named other directories: the sidecar itself still says which. Where the owner has put a volume of his
        // own at a path of ours, the list key of that mount is still ours, so that the volume decides.
        let live = candidates.iter().filter(|key| key.container().is_some()).filter_map(ours);
        let mounts = live.flat_map(|live| key::list(live, "volumeMounts")).filter_map(|mount| mount["name"].as_str());
        let is_ours = |key: &Key| ours(key).is_some();
        let mounted: BTreeSet<Key> = mounts.map(|volume| Key::Volume(volume.to_owned())).filter(is_ours).collect();
        candidates.extend(mounts_of(template, is_ours, &mounted));
        candidates.extend(mounted);
        let found = candidates.into_iter().filter_map(|key| {
            let digest = digest(&key, ours(&key)?);
            Some((key, digest))
        });
        let items: BTreeMap<Key, String> = found.collect();
        if !items.is_empty() {
            ledger.sidecars.push(Entry {
                name: known.name.to_owned(),
                uid: known.uid.map(str::to_owned),
                origin: Origin::Controller,
                renderer: sidecar::RENDERER,
                revision: None,
                previous: None,
                before: Before::Well,
                items,
            });
        }
    }
    (!ledger.sidecars.is_empty()).then_some(ledger)
}

/// Where any container that is not ours mounts one of these volumes.
fn mounts_of(template: &Value, is_ours: impl Fn(&Key) -> bool, volumes: &BTreeSet<Key>) -> impl Iterator<Item = Key> {
    let named = key::containers(template).filter_map(|container| Some((container["name"].as_str()?, container)));
    let is_sidecar =
        move |name: &str| [Key::InitContainer(name.to_owned()), Key::Container(name.to_owned())].iter().any(&is_ours);
    named.filter(move |(name, _)| !is_sidecar(name)).flat_map(|(name, container)| {
        let mounts = key::list(container, "volumeMounts");
        let is_of = |mount: &&Value| mount["name"].as_str().is_some_and(|name| volumes.contains(&Key::Volume(name.to_owned())));
        mounts
            .filter(is_of)
            .filter_map(|mount| mount["mountPath"].as_str())
            .map(|path| Key::Mount { container: name.to_owned(), path: path.to_owned() })
    })
}

/// Whether the item is a mount of a volume that its entry does not name. A list key says little of a mount: somebody else may
/// have put another volume there.
pub(super) fn is_other_volume(entry: &Entry, key: &Key, item: &Value) -> bool {
    let volume = item["name"].as_str().map(|name| Key::Volume(name.to_owned()));
    matches!(key, Key::Mount { .. }) && !volume.is_some_and(|volume| entry.items.contains_key(&volume))
}
