//! The planner: pod template in, pod template out.
//!
//! [`plan`] is the one function that decides what is in a template, for the controller and for the command line alike. It
//! and everything below it is pure: no client, no clock, no I/O, no logging (a test over the sources holds it to that).
//!
//! * [`claim`]: which LogSidecars want what of a workload
//! * `sidecar`, `volume`, `user`: what one `LogSidecar` puts in
//! * [`ledger`], [`owned`], [`normal`]: how we know again what we put in
//! * [`difference`]: the JSON patch from one template to the other

pub mod claim;
pub mod difference;
pub mod key;
pub mod ledger;
pub mod normal;
pub mod object;
pub mod owned;
mod refusal;
mod sidecar;
mod user;
mod volume;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use self::{
    claim::{Claim, Evidence, Stance},
    key::Key,
    ledger::Ledger,
    normal::{fingerprint, normal},
    owned::Owned,
    refusal::{Refusal, Warning},
    sidecar::Setting,
};
use self::{
    ledger::{Entry, Origin},
    normal::digest,
};
use crate::api::{Log, LogSidecarSpec, Reason};

/// A workload as the planner sees it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its uid; absent in a file.
    pub uid: Option<&'a str>,
    /// Its pod template.
    pub template: &'a Value,
    /// What its annotation says about earlier plans.
    pub ledger: Option<&'a Ledger>,
    /// What its `managedFields` say.
    pub owned: &'a Owned,
    /// The surroundings.
    pub setting: Setting<'a>,
}

/// What a workload should become.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The pod template. Equal to the live one where nothing is to be done.
    pub template: Value,
    /// The ledger that goes with it; `None`: no annotation.
    pub ledger: Option<Ledger>,
    /// What became of each claim, in the order of the claims.
    pub verdicts: Vec<Verdict>,
    /// Items that are somebody else's now: left in place, struck from the ledger.
    pub handed_over: Vec<Key>,
}

/// What became of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The name of the `LogSidecar`.
    pub name: String,
    /// Its uid; absent in a file.
    pub uid: Option<String>,
    /// What became of it.
    pub result: Result<Effect, Refusal>,
}

/// What became of a claim that could be met.
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
/// * Only [`Stance::Remove`] takes items out for good, and only items that are ours; only [`Stance::Apply`] changes any.
/// * A refused claim leaves what it had put in as it is.
#[must_use]
pub fn plan(subject: &Subject<'_>, claims: &[Claim<'_>]) -> Plan {
    let mut plan = step(subject, claims);
    // What one claim puts in can make room for another that came before it: without another step that would be another
    // rollout. A step that changes nothing is the last, so a converged workload costs one.
    let mut before = (subject.template.clone(), subject.ledger.cloned());
    for _ in claims {
        if (&plan.template, &plan.ledger) == (&before.0, &before.1) {
            break;
        }
        before = (plan.template, plan.ledger);
        let earlier = plan.handed_over;
        plan = step(&Subject { template: &before.0, ledger: before.1.as_ref(), ..*subject }, claims);
        plan.handed_over.splice(0..0, earlier);
    }
    plan
}

/// Meets every claim as far as it can be met with those before it.
fn step(subject: &Subject<'_>, claims: &[Claim<'_>]) -> Plan {
    let foreign = subject.ledger.is_some_and(|ledger| ledger.is_foreign(subject.uid));
    let ledger = subject.ledger.filter(|_| !foreign);
    // An entry that nobody speaks for stays.
    let entries = ledger.map(|ledger| ledger.sidecars.as_slice()).unwrap_or_default();
    let unclaimed = entries.iter().filter(|entry| !claims.iter().any(|claim| entry.is_of(claim.name, claim.uid)));
    let unclaimed =
        unclaimed.map(|entry| Claim { name: &entry.name, uid: entry.uid.as_deref(), stance: Stance::Keep(Reason::Pending) });
    let all: Vec<Claim<'_>> = claims.iter().copied().chain(unclaimed).collect();
    let held: Vec<Held<'_>> = all.iter().map(|claim| Held::new(subject, ledger, claim)).collect();
    let kept: BTreeSet<&Key> = held.iter().filter(|held| !held.is_replanned()).flat_map(|held| &held.ours).collect();
    let replanned = held.iter().filter(|held| held.is_replanned()).flat_map(|held| &held.ours);
    let stripped: BTreeSet<Key> = replanned.filter(|key| !kept.contains(key)).cloned().collect();
    let draft = Draft {
        subject,
        ledger,
        foreign,
        sidecars: sidecar_names(claims, ledger),
        pod: strip(subject.template, &stripped, &BTreeMap::new()),
        stripped,
        wanted: Vec::new(),
        entries: Vec::new(),
    };
    draft.finish(claims.len(), held)
}

/// The names of all containers that are or were put in: none of them is the pod's own.
fn sidecar_names(claims: &[Claim<'_>], ledger: Option<&Ledger>) -> Vec<String> {
    let ledger = ledger.into_iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys().cloned());
    let claims = claims.iter().filter_map(|claim| match claim.stance {
        Stance::Apply(spec) => Some(sidecar::container_key(claim.name, spec)),
        Stance::Keep(_) | Stance::Remove(_) | Stance::Orphan => None,
    });
    let mut names: Vec<String> = ledger
        .chain(claims)
        .filter_map(|key| match key {
            Key::InitContainer(name) | Key::Container(name) => Some(name),
            Key::Volume(_) | Key::Mount { .. } => None,
        })
        .collect();
    names.dedup();
    names
}

/// A template without some items; lists that were `blank` before are so again. A volume that somebody else mounts too stays.
fn strip(template: &Value, keys: &BTreeSet<Key>, blank: &BTreeMap<String, Value>) -> Value {
    let mut pod = template.clone();
    let (volumes, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| matches!(key, Key::Volume(_)));
    let remove = |key: &Key, pod: &mut Value| key.remove(pod, blank.get(&key.list_path()));
    others.into_iter().for_each(|key| remove(key, &mut pod));
    let unused: Vec<&Key> = volumes.into_iter().filter(|key| !is_mounted(&pod, key)).collect();
    unused.into_iter().for_each(|key| remove(key, &mut pod));
    pod
}

fn is_mounted(pod: &Value, key: &Key) -> bool {
    let Key::Volume(name) = key else { return false };
    key::containers(pod).flat_map(|container| key::list(container, "volumeMounts")).any(|mount| mount["name"] == name.as_str())
}

/// One claim, with what it has in the template already.
struct Held<'a> {
    claim: Claim<'a>,
    entry: Option<&'a Entry>,
    /// Items of the template that are ours and this claim's.
    ours: BTreeSet<Key>,
    /// Items that the ledger names and that are somebody else's now.
    lost: Vec<Key>,
    origin: Origin,
    offline: bool,
}

impl<'a> Held<'a> {
    /// An item is ours if the ledger names it, and either its digest is the ledger's or `managedFields` say so. An item that
    /// no ledger names is ours if `managedFields` say so, or adopted if it is exactly what would be put in.
    fn new(subject: &Subject<'a>, ledger: Option<&'a Ledger>, claim: &Claim<'a>) -> Self {
        let entry = ledger.and_then(|ledger| ledger.entry(claim.name, claim.uid));
        let offline = subject.uid.is_none();
        let origin = if offline { Origin::File } else { Origin::Controller };
        let mut held = Self { claim: *claim, entry, ours: BTreeSet::new(), lost: Vec::new(), origin, offline };
        if let Some(entry) = entry {
            held.origin = entry.origin;
            for (key, expected) in &entry.items {
                match key.get(subject.template) {
                    Some(item) if digest(key, item) == *expected || subject.owned.contains(key) => {
                        held.ours.insert(key.clone());
                    }
                    Some(_) => held.lost.push(key.clone()),
                    None => {}
                }
            }
        } else if let Stance::Apply(spec) = claim.stance {
            held.adopt(subject, ledger, spec);
        }
        held
    }

    /// Finds again what was put in before the ledger was lost, or what `inject` put into a manifest that lost its annotation.
    fn adopt(&mut self, subject: &Subject<'_>, ledger: Option<&Ledger>, spec: &LogSidecarSpec) {
        let names = sidecar_names(&[self.claim], None);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut candidates = self.candidates(subject.template, spec, &names);
        let is_named =
            |key: &Key| ledger.is_some_and(|ledger| ledger.sidecars.iter().any(|entry| entry.items.contains_key(key)));
        candidates.retain(|key| key.get(subject.template).is_some() && !is_named(key));
        let owned: BTreeSet<Key> = candidates.iter().filter(|key| subject.owned.contains(key)).cloned().collect();
        if !owned.is_empty() {
            self.ours = owned;
            return;
        }
        let pod = strip(subject.template, &candidates, &BTreeMap::new());
        let planned = sidecar::items(&pod, (self.claim.name, spec), &names, subject.setting, |_| true);
        let equal =
            |(key, item): &(Key, Value)| key.get(subject.template).is_some_and(|live| normal(key, live) == normal(key, item));
        if planned.is_ok_and(|planned| planned.items.iter().all(equal)) {
            self.ours = candidates;
            self.origin = Origin::File;
        }
    }

    /// Where the items of a spec would be. A mount of an existing volume is not among them: it may be the owner's own.
    fn candidates(&self, template: &Value, spec: &LogSidecarSpec, names: &[&str]) -> BTreeSet<Key> {
        let mut candidates = BTreeSet::from([sidecar::container_key(self.claim.name, spec)]);
        let own = |log: &&Log| log.volume.as_ref().is_none_or(|volume| volume.existing.is_none());
        for log in spec.logs.iter().filter(own) {
            let Ok(writer) = sidecar::writer(template, log, names) else { continue };
            let volume = volume::volume_name(log, writer);
            let mount = Key::Mount { container: writer.to_owned(), path: log.directory.clone() };
            if mount.get(template).is_some_and(|mount| mount["name"] == volume.as_str()) {
                candidates.extend([mount, Key::Volume(volume)]);
            }
        }
        candidates
    }

    fn is_replanned(&self) -> bool {
        match self.claim.stance {
            Stance::Apply(_) => true,
            // A manifest that holds them would only bring them back; offline, the manifest is what is being changed.
            Stance::Remove(_) => self.origin == Origin::Controller || self.offline,
            Stance::Keep(_) | Stance::Orphan => false,
        }
    }
}

/// A plan in the making.
struct Draft<'a> {
    subject: &'a Subject<'a>,
    ledger: Option<&'a Ledger>,
    foreign: bool,
    sidecars: Vec<String>,
    /// The template without what is being replanned, with what has been planned so far.
    pod: Value,
    stripped: BTreeSet<Key>,
    /// What has been planned so far.
    wanted: Vec<(Key, Value)>,
    entries: Vec<Entry>,
}

impl Draft<'_> {
    /// Those that are in the template already go first, so that a newcomer never displaces them.
    fn finish(mut self, claims: usize, held: Vec<Held<'_>>) -> Plan {
        let mut verdicts: BTreeMap<usize, Verdict> = BTreeMap::new();
        let mut order: Vec<(usize, Held<'_>)> = held.into_iter().enumerate().collect();
        order.sort_by_key(|(index, held)| (held.ours.is_empty(), *index));
        let mut handed_over: BTreeSet<Key> = BTreeSet::new();
        for (index, held) in order {
            handed_over.extend(held.lost.iter().cloned());
            let result = self.settle(&held);
            let Claim { name, uid, stance: _ } = held.claim;
            verdicts.insert(index, Verdict { name: name.to_owned(), uid: uid.map(str::to_owned), result });
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
            verdicts: verdicts.into_values().take(claims).collect(),
            handed_over: handed_over.into_iter().collect(),
        }
    }

    fn settle(&mut self, held: &Held<'_>) -> Result<Effect, Refusal> {
        match held.claim.stance {
            Stance::Apply(spec) => match self.apply(held, spec) {
                Ok(warnings) => Ok(Effect::Applied(warnings)),
                Err(refusal) => {
                    self.keep(held);
                    Err(refusal)
                }
            },
            Stance::Keep(reason) => {
                self.keep(held);
                Ok(Effect::Kept(reason))
            }
            Stance::Remove(_) => {
                if !held.is_replanned() {
                    self.keep(held);
                }
                Ok(Effect::Removed)
            }
            Stance::Orphan => Ok(Effect::Orphaned),
        }
    }

    fn apply(&mut self, held: &Held<'_>, spec: &LogSidecarSpec) -> Result<Vec<Warning>, Refusal> {
        let name = held.claim.name;
        let sidecars: Vec<&str> = self.sidecars.iter().map(String::as_str).collect();
        let planned =
            sidecar::items(&self.pod, (name, spec), &sidecars, self.subject.setting, |key| self.stripped.contains(key));
        let planned = planned.map_err(|refusal| self.explain(refusal, spec, name))?;
        // What another `LogSidecar` put in and this one uses belongs to both, so that it stays until the last of them goes.
        let shared = self.wanted.iter().filter(|(key, _)| planned.uses.contains(key));
        let entry = Entry {
            name: name.to_owned(),
            // The entry of a manifest stays as the manifest has it: whoever applies that again finds nothing changed.
            uid: match held.entry {
                Some(entry) if held.origin == Origin::File => entry.uid.clone(),
                Some(_) | None => held.claim.uid.map(str::to_owned),
            },
            origin: held.origin,
            renderer: sidecar::RENDERER,
            items: planned.items.iter().chain(shared).map(|(key, item)| (key.clone(), digest(key, item))).collect(),
        };
        let mut ledger = Ledger::new(self.subject.uid);
        ledger.sidecars = self.entries.iter().chain([&entry]).cloned().collect();
        if ledger.text().is_some_and(|text| text.len() > ledger::LIMIT) {
            return Err(Refusal::new(
                Reason::LedgerTooLarge,
                "too many log directories on one workload: use fewer LogSidecars",
            ));
        }
        for (key, item) in planned.items {
            key.put(&mut self.pod, item.clone());
            self.wanted.push((key, item));
        }
        self.entries.push(entry);
        Ok(planned.warnings)
    }

    /// A name that is taken by the items of a foreign ledger needs another remedy than one that the owner took.
    fn explain(&self, refusal: Refusal, spec: &LogSidecarSpec, name: &str) -> Refusal {
        let container = sidecar::container_key(name, spec);
        let copied = self
            .subject
            .ledger
            .filter(|_| self.foreign)
            .is_some_and(|ledger| ledger.sidecars.iter().any(|entry| entry.items.contains_key(&container)));
        if refusal.reason == Reason::ContainerNameTaken && copied {
            let message = "the template is a copy of another workload and carries what was put in there: clean its manifest with `logsidecar uninject`";
            return Refusal::new(Reason::ForeignLedger, message);
        }
        refusal
    }

    /// Leaves the items of a claim as they are, and the entry with them.
    fn keep(&mut self, held: &Held<'_>) {
        let Some(entry) = held.entry else { return };
        let mut entry = entry.clone();
        entry.items.retain(|key, _| held.ours.contains(key));
        for key in entry.items.keys() {
            if let Some(item) = key.get(self.subject.template) {
                key.put(&mut self.pod, item.clone());
                self.wanted.push((key.clone(), item.clone()));
            }
        }
        if !entry.items.is_empty() {
            self.entries.push(entry);
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
        let mut template = self.subject.template.clone();
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
        blank.retain(|path, _| filled.contains(path));
        (template, blank, left)
    }

    fn new_ledger(&self, blank: BTreeMap<String, Value>) -> Option<Ledger> {
        if self.foreign && self.entries.is_empty() {
            return self.subject.ledger.cloned();
        }
        let from_file = self.ledger.is_some_and(|ledger| ledger.workload.is_none())
            && self.entries.iter().all(|entry| entry.origin == Origin::File);
        let mut ledger = Ledger::new(self.subject.uid.filter(|_| !from_file));
        ledger.sidecars.clone_from(&self.entries);
        ledger.sidecars.sort_by(|a, b| a.name.cmp(&b.name));
        ledger.blank = blank;
        (!ledger.sidecars.is_empty()).then_some(ledger)
    }
}

#[cfg(test)]
mod tests;
