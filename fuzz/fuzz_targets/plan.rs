//! The planner on pod templates, ledgers and claims of all kinds, round after round, with an owner who changes the template
//! and somebody who forges the ledger in between.
//!
//! The names are few, so that everything meets everything. What is ours is judged here once more, without the planner's help;
//! see [`Judge::is_fair_game`].

#![no_main]

mod case;

use std::collections::BTreeSet;

use json_patch::jsonptr::PointerBuf;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use libfuzzer_sys::fuzz_target;
use logsidecar::{
    api::{LEDGER_ANNOTATION, MANAGER},
    plan::{
        Claim, ClaimResult, Effect, Evidence, Intent, Plan, PlanInput, ResolvedSpec,
        difference::difference,
        object::{embed, ledger_text},
        plan,
    },
    shipper::Images,
    workload::{
        key::{Key, container, containers},
        kind::Kind,
        ledger::{Before, Entry, Ledger, Origin},
        normal::{digest, normal},
        owned::Owned,
    },
};
use serde_json::{Map, Value, json};

use case::{Case, Round};

fuzz_target!(|case: Case| {
    let kind = case.kind();
    let mut object = json!({"metadata": {"name": "web"}});
    if let Some(annotations) = case.annotations() {
        object["metadata"]["annotations"] = annotations;
    }
    case.pod.put_into(&mut object, kind);
    for round in &case.rounds {
        round.edits.iter().for_each(|edit| edit.make(&mut object, kind));
        round.forgeries.iter().for_each(|forgery| forgery.make(&mut object, kind));
        object = planned(&object, kind, case.uid(), round);
    }
});

/// Plans once and looks at the plan from all sides.
fn planned(object: &Value, kind: Kind, uid: Option<&str>, round: &Round) -> Value {
    let template = object.pointer(kind.template()).unwrap_or(&Value::Null);
    // The controller and the command line leave a workload alone whose ledger they cannot read.
    let Ok(ledger) = ledger_text(object).map(Ledger::parse).transpose() else { return object.clone() };
    let owned = owned(&round.owned(template), kind);
    let input = PlanInput { uid, template, ledger: ledger.as_ref(), owned: &owned, before: Before::Well, kind };
    let specs: Vec<_> =
        round.wishes.iter().map(|wish| ResolvedSpec::new(wish.name(), wish.spec(), &Images::default())).collect();
    let claims = claims(round, &specs, ledger.as_ref(), uid.is_some());
    let plan = plan(&input, &claims);

    let before = Judge { input: &input, claims: &claims };
    assert!(plan.results.iter().map(|verdict| verdict.name.as_str()).eq(claims.iter().map(|claim| claim.name)));
    before.check_rest(&plan);
    before.check_additions(&plan);
    before.check_idleness(&plan);
    before.check_entries(&plan);

    let mut after = object.clone();
    embed(&mut after, kind, plan.clone());
    check_object(object, &after, kind);
    check_difference(object, &after);
    check_again(&input, &claims, &plan, &after, kind);
    after
}

/// The workload before a plan, and what is wanted of it.
struct Judge<'a> {
    input: &'a PlanInput<'a>,
    claims: &'a [Claim<'a>],
}

impl Judge<'_> {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.input.ledger.into_iter().flat_map(|ledger| &ledger.sidecars)
    }

    /// Whether a plan may take the item out or change it. All others are the owner's, whatever the ledger says.
    ///
    /// An item is ours if `managedFields` say so, or if the ledger names it with the digest that it has. A ledger that was
    /// forged so well is one that we might have written: whoever may edit the annotation says "this is LogSidecar's", as
    /// `inject` does in a manifest, and what he says so of goes. He could have taken it out himself: the annotation and the
    /// template are fields of one object.
    ///
    /// The third way is that of a manifest which an admission plugin rewrote: what it says is in it for a `LogSidecar` is
    /// kept up to date, but only where that `LogSidecar` itself would put something.
    ///
    /// The fourth is that of a policy, which cannot tell digests: what its `LogSidecar` would put in, if all of it is there.
    fn is_fair_game(&self, key: &Key) -> bool {
        let template = self.input.template;
        let Some(item) = key.get(template) else { return false };
        let inside = |outer: &Key| matches!(key, Key::Mount { container, .. } if outer.container() == Some(container));
        let ours = |key: &Key, item: &Value| {
            self.input.owned.holds(key, item)
                || self.entries().any(|entry| entry.items.get(key).is_some_and(|told| *told == digest(key, item)))
                || self.entries().any(|entry| self.is_held_by_manifest(entry, key) || self.is_admitted(entry, key))
        };
        // What is in a container goes with the container.
        let around = containers(template).filter_map(|container| container["name"].as_str());
        let around = around.flat_map(|name| [Key::Container(name.to_owned()), Key::InitContainer(name.to_owned())]);
        ours(key, item) || around.filter(inside).any(|outer| outer.get(template).is_some_and(|item| ours(&outer, item)))
    }

    fn is_held_by_manifest(&self, entry: &Entry, key: &Key) -> bool {
        let foreign = self.input.ledger.is_some_and(|ledger| ledger.is_foreign(self.input.uid));
        (entry.origin == Origin::File || foreign)
            && entry.items.contains_key(key)
            && self.claims.iter().any(|claim| match claim.intent {
                Intent::Apply(spec) => {
                    claim.name == entry.name && case::would_put(spec.spec(), claim.name, key, self.input.template)
                }
                Intent::Keep(_) | Intent::Remove(_) | Intent::Orphan => false,
            })
    }

    fn is_admitted(&self, entry: &Entry, key: &Key) -> bool {
        let template = self.input.template;
        entry.origin == Origin::Policy
            && self.claims.iter().any(|claim| match claim.intent {
                Intent::Apply(spec) => {
                    let would_put = |key: &Key| case::would_admit(spec.spec(), claim.name, key, template);
                    // Not even the name of the container says anything without the container.
                    let is_sidecar = |key: &Key| key.container().is_some() && would_put(key);
                    claim.name == entry.name && would_put(key) && keys(template).iter().any(is_sidecar)
                }
                Intent::Keep(_) | Intent::Remove(_) | Intent::Orphan => false,
            })
    }

    /// What is not ours is there afterwards as it was before, and in the same order; so is all that is not in one of our lists.
    fn check_rest(&self, plan: &Plan) {
        if !is_well_formed(self.input.template) {
            return;
        }
        let kept: BTreeSet<Key> = keys(self.input.template).into_iter().filter(|key| !self.is_fair_game(key)).collect();
        let (before, after) = (only(self.input.template, &kept), only(&plan.template, &kept));
        assert_eq!(after, before, "{:?} {:?}", self.input.ledger, self.claims);
    }

    /// What is new is in the ledger.
    fn check_additions(&self, plan: &Plan) {
        if !is_well_formed(self.input.template) {
            return;
        }
        let old = keys(self.input.template);
        let named: BTreeSet<&Key> = entries(plan).flat_map(|entry| entry.items.keys()).collect();
        for key in keys(&plan.template).iter().filter(|key| !old.contains(key)) {
            let is_inside =
                matches!(key, Key::Mount { container, .. } if named.iter().any(|named| named.container() == Some(container)));
            assert!(is_inside || named.contains(key), "{key} is in no ledger: {plan:?}");
        }
    }

    /// Only who applies puts in, and only who removes takes out; a refused one changes nothing, unless its volume has become
    /// somebody else's: then the rest of it gets out of his way.
    fn check_idleness(&self, plan: &Plan) {
        // A forged entry may name what is only put in by this plan. The second step then finds two to whom it belongs, if
        // `managedFields` say that it is ours but not whose, and tells the one that it was put in for that it is taken.
        let is_new = |key: &Key| key.get(self.input.template).is_none() && key.get(&plan.template).is_some();
        let is_foretold = self.entries().flat_map(|entry| entry.items.keys()).any(is_new);
        // Of two that apply, one may use what the other has put in, and be refused in a later step when the other is refused
        // after it: what was put in stays, but the last word is a refusal.
        let is_alone = self.claims.iter().filter(|claim| matches!(claim.intent, Intent::Apply(_))).count() < 2;
        let is_done = |verdict: &ClaimResult| matches!(verdict.result, Ok(Effect::Applied(_) | Effect::Removed));
        let is_lost =
            |key: &Key| matches!(key, Key::Volume(_)) && key.get(self.input.template).is_some() && !self.is_fair_game(key);
        let has_lost = self.entries().flat_map(|entry| entry.items.keys()).any(is_lost);
        if is_alone && !is_foretold && !has_lost && !plan.results.iter().any(is_done) {
            assert_eq!(plan.template, *self.input.template, "{:?} {:?} {plan:?}", self.input.ledger, self.claims);
        }
    }

    /// The ledger vouches for nothing that is not ours. What it may take for ours is what was put in before it was lost: then
    /// all of it is there, the sidecar, too.
    fn check_entries(&self, plan: &Plan) {
        for entry in entries(plan) {
            let is_true =
                |(key, told): &(&Key, &String)| key.get(&plan.template).is_some_and(|item| digest(key, item) == **told);
            let taken = entry.items.iter().filter(is_true).map(|(key, _)| key);
            let taken: Vec<&Key> =
                taken.filter(|key| key.get(self.input.template).is_some() && !self.is_fair_game(key)).collect();
            let with_sidecar = taken.iter().any(|key| key.container().is_some());
            assert!(taken.is_empty() || with_sidecar, "{taken:?} became ours: {:?} {plan:?}", self.input);
        }
    }
}

/// Nothing but the template and the ledger changes.
fn check_object(before: &Value, after: &Value, kind: Kind) {
    let rest = |object: &Value| {
        let mut object = object.clone();
        let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.shift_remove(LEDGER_ANNOTATION);
        }
        if object.pointer("/metadata/annotations").is_some_and(|left| *left == json!({}) || left.is_null()) {
            object["metadata"].as_object_mut().and_then(|metadata| metadata.shift_remove("annotations"));
        }
        match object.pointer_mut(&format!("{}/spec", kind.template())) {
            Some(spec) => *spec = Value::Null,
            None => {}
        }
        object
    };
    assert_eq!(rest(before), rest(after));
}

fn check_difference(before: &Value, after: &Value) {
    let patch = difference(&PointerBuf::new(), before, after);
    let mut patched = before.clone();
    json_patch::patch(&mut patched, &patch).expect("the operations fit");
    assert_eq!(patched, *after);
    assert_eq!(patch.is_empty(), before == after);
}

/// A plan is done when it is done, the ledger read back from its text.
fn check_again(input: &PlanInput<'_>, claims: &[Claim<'_>], first: &Plan, after: &Value, kind: Kind) {
    if !after["metadata"].is_object() || !after["metadata"].get("annotations").is_none_or(|at| at.is_object() || at.is_null()) {
        // There is nowhere to write the ledger.
        return;
    }
    let ledger = ledger_text(after).map(|text| Ledger::parse(text).expect("our own text"));
    let items = |ledger: Option<&Ledger>| ledger.map(|ledger| ledger.sidecars.clone()).filter(|entries| !entries.is_empty());
    assert_eq!(items(ledger.as_ref()), items(first.ledger.as_ref()));
    let template = after.pointer(kind.template()).unwrap_or(&Value::Null);
    let again = plan(&PlanInput { template, ledger: ledger.as_ref(), ..*input }, claims);
    let told = |template: &Value, ledger: Option<&Ledger>| (template.to_string(), ledger.and_then(Ledger::text));
    assert_eq!(
        told(&again.template, again.ledger.as_ref()),
        told(template, ledger.as_ref()),
        "planned twice: {claims:?} {input:?}"
    );
    assert_eq!(again.handed_over, [], "told twice: {claims:?} {first:?}");
}

fn entries(plan: &Plan) -> impl Iterator<Item = &Entry> {
    plan.ledger.iter().flat_map(|ledger| &ledger.sidecars)
}

/// The wishes as claims: each name once, as the controller has it, and the entries of those that are gone.
fn claims<'a>(round: &'a Round, specs: &'a [ResolvedSpec], ledger: Option<&'a Ledger>, online: bool) -> Vec<Claim<'a>> {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for (wish, spec) in round.wishes.iter().zip(specs) {
        if !claims.iter().any(|claim| claim.name == wish.name()) {
            claims.push(Claim {
                name: wish.name(),
                uid: wish.uid().filter(|_| online),
                revision: None,
                intent: wish.intent(spec),
            });
        }
    }
    if round.sweep && online {
        for entry in ledger.map(|ledger| ledger.sidecars.as_slice()).unwrap_or_default() {
            if entry.uid.is_some() && !claims.iter().any(|claim| entry.is_of(claim.name, claim.uid)) {
                let intent = Intent::Remove(Evidence::Missing);
                claims.push(Claim { name: &entry.name, uid: entry.uid.as_deref(), revision: None, intent });
            }
        }
    }
    claims
}

/// `managedFields` that say that these items are ours.
fn owned(keys: &[Key], kind: Kind) -> Owned {
    let mut spec = json!({});
    for key in keys {
        let step = |name: &str| format!("k:{}", json!({"name": name}));
        match key {
            Key::InitContainer(name) => spec["f:initContainers"][step(name)]["."] = json!({}),
            Key::Container(name) => spec["f:containers"][step(name)]["."] = json!({}),
            Key::Volume(name) => spec["f:volumes"][step(name)]["."] = json!({}),
            Key::Mount { container, path } => {
                spec["f:containers"][step(container)]["f:volumeMounts"][format!("k:{}", json!({"mountPath": path}))]["."] =
                    json!({});
            }
        }
    }
    let steps: Vec<&str> = kind.template().split('/').skip(1).chain(["spec"]).collect();
    let fields = steps.iter().rev().fold(spec, |inner, step| json!({format!("f:{step}"): inner}));
    let entry = ManagedFieldsEntry {
        manager: Some(MANAGER.to_owned()),
        fields_v1: Some(FieldsV1(fields)),
        ..ManagedFieldsEntry::default()
    };
    Owned::read(&[entry], kind.template())
}

// --- templates ---

const LISTS: [&str; 3] = ["initContainers", "containers", "volumes"];

/// The items of a template.
fn keys(template: &Value) -> BTreeSet<Key> {
    let named = |list: &str| {
        let items = template["spec"][list].as_array().into_iter().flatten();
        items.filter_map(|item| item["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut keys = BTreeSet::new();
    keys.extend(named("initContainers").into_iter().map(Key::InitContainer));
    keys.extend(named("containers").into_iter().map(Key::Container));
    keys.extend(named("volumes").into_iter().map(Key::Volume));
    for container in containers(template) {
        let Some(name) = container["name"].as_str() else { continue };
        let paths = container["volumeMounts"].as_array().into_iter().flatten().filter_map(|mount| mount["mountPath"].as_str());
        keys.extend(paths.map(|path| Key::Mount { container: name.to_owned(), path: path.to_owned() }));
    }
    keys
}

/// The template with only these items in its lists. A list without any counts as absent: the ledger remembers how it was.
fn only(template: &Value, kept: &BTreeSet<Key>) -> Value {
    let mut template = template.clone();
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return template };
    for list in LISTS {
        retain(spec, list, "name", |name| {
            kept.contains(&match list {
                "initContainers" => Key::InitContainer(name),
                "containers" => Key::Container(name),
                _ => Key::Volume(name),
            })
        });
        for item in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = item["name"].as_str().map(str::to_owned) else { continue };
            let Some(item) = item.as_object_mut().filter(|_| list != "volumes") else { continue };
            retain(item, "volumeMounts", "mountPath", |path| kept.contains(&Key::Mount { container: container.clone(), path }));
        }
    }
    template
}

fn retain(holder: &mut Map<String, Value>, list: &str, field: &str, keep: impl Fn(String) -> bool) {
    if let Some(items) = holder.get_mut(list).and_then(Value::as_array_mut) {
        // What has no key cannot be ours.
        items.retain(|item| item[field].as_str().is_none_or(|key| keep(key.to_owned())));
    }
    if holder.get(list).is_some_and(|items| items.is_null() || items.as_array().is_some_and(Vec::is_empty)) {
        holder.shift_remove(list);
    }
}

/// What an API server guarantees of a template, and the command line checks: each key once.
fn is_well_formed(template: &Value) -> bool {
    let unique = |list: Option<&Value>, field: &str| match list {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            items.iter().all(|item| item[field].as_str().is_some_and(|key| seen.insert(key)))
        }
        Some(_) => false,
    };
    let Some(spec) = template["spec"].as_object() else { return false };
    let names = || containers(template).filter_map(|container| container["name"].as_str());
    LISTS.iter().all(|list| unique(spec.get(*list), "name"))
        && names().count() == names().collect::<BTreeSet<_>>().len()
        && containers(template).all(|container| unique(container.get("volumeMounts"), "mountPath"))
        && names()
            .all(|name| container(template, name).is_some_and(|found| normal(&Key::Container(name.into()), found).is_object()))
}
