//! A plan in the making: claims are settled one after the other, each on what those before it have left.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Claim, ClaimResult, Effect, Intent, Plan, PlanInput, Refusal, ResolvedSpec, Warning,
    owned_items::{OwnedItems, is_other_volume},
    sidecar,
    strip::strip,
};
use crate::api::Reason;
use crate::workload::{
    key::Key,
    ledger::{Before, Ledger},
};
use crate::workload::{
    ledger::{self, BLANK_ANNOTATIONS, Entry, Origin},
    normal::{digest, normal},
};

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub input: &'a PlanInput<'a>,
    pub ledger: Option<&'a Ledger>,
    /// The ledger as it was written for the workload that this one is a copy of.
    pub copied: Option<&'a Ledger>,
    /// The items of the template that are ours: none of the containers among them is the pod's own.
    pub ours: BTreeSet<Key>,
    /// The template without what is being replanned, with what has been planned so far.
    pub pod: Value,
    pub stripped: BTreeSet<Key>,
    /// What has been planned so far.
    pub wanted: Vec<(Key, Value)>,
    pub entries: Vec<Entry>,
}

impl Draft<'_> {
    /// What stays as it is goes first, as others may use it; then those that are in the template already, so that a newcomer
    /// never displaces them; of these, whoever uses a volume that has to be there comes after the one that may put it there.
    pub fn finish(mut self, claims: usize, owned_items: Vec<OwnedItems<'_>>) -> Plan {
        let mut results: BTreeMap<usize, ClaimResult> = BTreeMap::new();
        let mut order: Vec<(usize, OwnedItems<'_>)> = owned_items.into_iter().enumerate().collect();
        order.sort_by_key(|(index, owned_items)| {
            (owned_items.is_replanned(), owned_items.ours.is_empty(), owned_items.uses_existing_volume(), *index)
        });
        let mut handed_over: BTreeSet<Key> = BTreeSet::new();
        for (index, owned_items) in order {
            handed_over.extend(owned_items.lost.iter().cloned());
            let result = self.settle(&owned_items);
            let Claim { name, uid, revision: _, intent: _ } = owned_items.claim;
            results.insert(index, ClaimResult { name: name.to_owned(), uid: uid.map(str::to_owned), result });
        }
        let (template, blank, left) = self.template();
        handed_over.extend(left);
        let ledger = self.new_ledger(blank);
        handed_over.retain(|key| {
            key.get(&template).is_some()
                && ledger.as_ref().is_none_or(|ledger| !ledger.sidecars.iter().any(|entry| entry.items.contains_key(key)))
        });
        Plan {
            template,
            ledger,
            results: results.into_values().take(claims).collect(),
            handed_over: handed_over.into_iter().collect(),
        }
    }

    fn settle(&mut self, owned_items: &OwnedItems<'_>) -> Result<Effect, Refusal> {
        match owned_items.claim.intent {
            Intent::Apply(spec) => match self.apply(owned_items, spec) {
                Ok(warnings) => Ok(Effect::Applied(warnings)),
                Err(refusal) => {
                    // What is left would mount the owner's volume into his application, where he did not ask for it.
                    if !owned_items.has_lost_a_volume() {
                        self.keep(owned_items);
                    }
                    Err(refusal)
                }
            },
            Intent::Keep(reason) => {
                self.keep(owned_items);
                Ok(Effect::Kept(reason))
            }
            Intent::Remove(_) => {
                if !owned_items.is_replanned() {
                    self.keep(owned_items);
                }
                Ok(Effect::Removed)
            }
            Intent::Orphan => Ok(Effect::Orphaned),
        }
    }

    fn apply(&mut self, owned_items: &OwnedItems<'_>, spec: &ResolvedSpec) -> Result<Vec<Warning>, Refusal> {
        let name = owned_items.claim.name;
        let planned = self.wanted.iter().filter_map(|(key, _)| key.container());
        let sidecars: Vec<&str> = self.ours.iter().filter_map(Key::container).chain(planned).collect();
        let planned = sidecar::items(&self.pod, spec, &sidecars, self.input.kind, |key| self.stripped.contains(key));
        let planned = planned.map_err(|refusal| self.explain(refusal, spec))?;
        // What another `LogSidecar` put in and this one uses belongs to both, so that it stays until the last of them goes.
        // What a ledger only says to be ours does not become ours by that.
        let shared = self.wanted.iter().filter(|(key, _)| planned.uses.contains(key) && self.ours.contains(key));
        let items: BTreeMap<Key, String> =
            planned.items.iter().chain(shared).map(|(key, item)| (key.clone(), digest(key, item))).collect();
        // Another revision that puts in the same things is no reason to write anything.
        let same = owned_items.entry.filter(|entry| entry.items == items);
        let revision = owned_items.claim.revision.filter(|_| owned_items.origin == Origin::Controller);
        let entry = Entry {
            name: name.to_owned(),
            // The entry of a manifest stays as the manifest has it: whoever applies that again finds nothing changed.
            uid: match owned_items.origin {
                Origin::File | Origin::Policy => owned_items.entry.and_then(|entry| entry.uid.clone()),
                Origin::Controller => owned_items.claim.uid.map(str::to_owned),
            },
            origin: owned_items.origin,
            renderer: sidecar::RENDERER,
            revision: same.map_or_else(|| revision.map(str::to_owned), |entry| entry.revision.clone()),
            previous: same.map_or_else(
                || owned_items.entry.filter(|_| revision.is_some()).map(|entry| entry.revision.clone().unwrap_or_default()),
                |entry| entry.previous.clone(),
            ),
            before: same.map_or(revision.map_or(Before::Well, |_| self.input.before), |entry| entry.before),
            items,
        };
        let mut ledger = Ledger::new(self.input.uid);
        ledger.sidecars = self.entries.iter().chain([&entry]).cloned().collect();
        if ledger.text().is_some_and(|text| text.len() > ledger::LIMIT) {
            return Err(Refusal::new(
                Reason::LedgerTooLarge,
                "too many log directories on one workload: use fewer LogSidecars",
            ));
        }
        for (key, item) in planned.items {
            key.put(&mut self.pod, item.clone());
            self.ours.insert(key.clone());
            self.wanted.push((key, item));
        }
        self.entries.push(entry);
        Ok(planned.warnings)
    }

    /// A name that is taken by what came along with a copy needs another remedy than one that the owner took.
    fn explain(&self, refusal: Refusal, spec: &ResolvedSpec) -> Refusal {
        let container = sidecar::container_key(spec);
        let entries = self.ledger.map(|ledger| ledger.sidecars.as_slice()).unwrap_or_default();
        let from_manifest = |entry: &Entry| entry.origin == Origin::File && entry.items.contains_key(&container);
        if refusal.reason == Reason::ContainerNameTaken && self.input.uid.is_some() && entries.iter().any(from_manifest) {
            let message = "the template came with a sidecar in it, put there for another workload or by another manifest: clean its manifest with `logsidecar uninject`";
            return Refusal::new(Reason::ForeignLedger, message);
        }
        let is_policys = |entry: &Entry| entry.origin == Origin::Policy && entry.name == spec.name();
        if refusal.reason == Reason::ContainerNameTaken && entries.iter().any(is_policys) {
            let message = format!(
                "{refusal}. If a policy has put it in, then not as this LogSidecar is now: print the policy anew with `logsidecar policy` and create the workload again"
            );
            return Refusal::new(Reason::ContainerNameTaken, message);
        }
        refusal
    }

    /// Leaves the items of a claim as they are, and the entry with them.
    fn keep(&mut self, owned_items: &OwnedItems<'_>) {
        // Without an entry they were found again without one, and will be.
        let Some(entry) = owned_items.entry else { return self.leave(&owned_items.ours) };
        let mut entry = entry.clone();
        if owned_items.origin == Origin::Controller {
            entry.items.retain(|key, _| owned_items.ours.contains(key));
        }
        // Two may share a volume and the mount of it. A container and a mount of another volume are left to the one that they
        // are known to be of.
        let is_anothers = |key: &Key| {
            let is_other = |item| key.container().is_some() || is_other_volume(&entry, key, item);
            !owned_items.ours.contains(key) && self.stripped.contains(key) && key.get(self.input.template).is_some_and(is_other)
        };
        let left: Vec<Key> = entry.items.keys().filter(|key| !is_anothers(key)).cloned().collect();
        self.leave(&left);
        if !entry.items.is_empty() || entry.origin == Origin::Policy {
            self.entries.push(entry);
        }
    }

    fn leave<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) {
        for key in keys {
            if let Some(item) = key.get(self.input.template) {
                key.put(&mut self.pod, item.clone());
                self.wanted.push((key.clone(), item.clone()));
            }
        }
    }

    /// The live template with what is wanted in and what is not out; the blank lists that had to be filled; the volumes that
    /// had to stay because somebody else mounts them.
    ///
    /// An item that is already there in another spelling stays as it is: a plan for a converged workload equals it.
    fn template(&self) -> (Value, BTreeMap<String, Value>, Vec<Key>) {
        let wanted: BTreeSet<&Key> = self.wanted.iter().map(|(key, _)| key).collect();
        let unwanted: BTreeSet<Key> = self.stripped.iter().filter(|key| !wanted.contains(key)).cloned().collect();
        let mut blank = self.ledger.map(|ledger| ledger.blank.clone()).unwrap_or_default();
        let mut template = self.input.template.clone();
        for (key, item) in &self.wanted {
            if key.get(&template).is_some_and(|live| normal(key, live) == normal(key, item)) {
                continue;
            }
            if let Some(list) = key.holder_mut(&mut template).and_then(|holder| holder.get(key.list_name()))
                && (list.is_null() || list.as_array().is_some_and(Vec::is_empty))
            {
                blank.insert(key.list_path(), list.clone());
            }
            key.put(&mut template, item.clone());
        }
        // Only now, as a container that has just been replaced may have been the last to mount a volume.
        template = strip(&template, &unwanted, &blank);
        let left = unwanted.into_iter().filter(|key| key.get(&template).is_some()).collect();
        let filled: BTreeSet<String> = self.wanted.iter().map(|(key, _)| key.list_path()).collect();
        blank.retain(|path, _| filled.contains(path) || path == BLANK_ANNOTATIONS);
        (template, blank, left)
    }

    fn new_ledger(&self, blank: BTreeMap<String, Value>) -> Option<Ledger> {
        let from_file = self.ledger.is_some_and(|ledger| ledger.workload.is_none())
            && self.entries.iter().all(|entry| entry.origin != Origin::Controller);
        let mut ledger = Ledger::new(self.input.uid.filter(|_| !from_file));
        ledger.sidecars.clone_from(&self.entries);
        ledger.sidecars.sort_by(|a, b| a.name.cmp(&b.name));
        ledger.blank = blank;
        if self.copied.is_some() && Some(&ledger) == self.ledger {
            // Nothing of the copy is taken over: it stays as its owner applied it.
            return self.copied.cloned();
        }
        (!ledger.sidecars.is_empty()).then_some(ledger)
    }
}
