//! A small cluster made of JSON objects, and a generator of many of them. The API server is imitated as far as a decision sees it: it
//! applies guarded patches, and answers questions truthfully.

use std::sync::Arc;

use kube::api::DynamicObject;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{FINALIZER, MANAGER},
    decide::{
        Answers, Decision, Observation, decide,
        decision::{Action, MemoryChange},
        log_sidecar::ValidatedLogSidecar,
        memory::{ConflictHistory, Remembered},
        observation::Knowledge,
        question::{Answer, DryRun, KeptSpec, Question, Turn},
    },
    preflight::NamespaceConstraints,
    rollout::scheduler::RolloutView,
    shipper::Images,
    workload::{key::Key, kind::Kind, snapshot::Workload},
};

/// One workload and the LogSidecars of its namespace.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub workload: Value,
    pub log_sidecars: Vec<Value>,
}

/// How questions are answered that depend on more than the objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub confirms: bool,
    pub grants: bool,
    pub dry_run_changes: bool,
}

impl Script {
    /// Everything is confirmed and allowed, and no admission plugin rewrites anything.
    pub const ALL: Self = Self { confirms: true, grants: true, dry_run_changes: true };
}

/// A Deployment with one container `app`, whose pods are available.
pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "1", "generation": 1, "labels": {"app": name}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        }},
        "status": {"observedGeneration": 9, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    })
}

/// A LogSidecar for the Deployment `web`, which the controller may act upon.
pub(crate) fn log_sidecar(name: &str, spec: &Value) -> Value {
    let mut full = json!({
        "target": {"kind": "Deployment", "name": "web"},
        "logs": [{"name": "app", "directory": format!("/var/log/{name}"), "files": ["*.log"]}],
        "rollout": {"maxConcurrent": 1000},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        full[field] = value.clone();
    }
    json!({
        "apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "resourceVersion": "1", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]},
        "spec": full,
    })
}

pub(crate) fn object(value: &Value) -> DynamicObject {
    serde_json::from_value(value.clone()).expect("an object")
}

impl World {
    pub fn new(log_sidecars: Vec<Value>) -> Self {
        Self { workload: deployment("web"), log_sidecars }
    }

    pub fn workload(&self) -> Workload {
        Workload::observe(Kind::Deployment, &object(&self.workload)).expect("a workload")
    }

    pub fn log_sidecars(&self) -> Vec<Arc<ValidatedLogSidecar>> {
        let observe = |value| ValidatedLogSidecar::observe(&object(value), &Images::default()).expect("a LogSidecar");
        self.log_sidecars.iter().map(observe).map(Arc::new).collect()
    }

    pub fn template(&self) -> &Value {
        &self.workload["spec"]["template"]
    }

    /// The decision, after all questions have been answered; with it, the questions.
    pub fn decide(&self, knowledge: Knowledge, script: Script) -> (Decision, Vec<Question>) {
        let (workload, log_sidecars) = (self.workload(), self.log_sidecars());
        let observation = Observation::new(&workload, &log_sidecars, knowledge);
        let (mut answers, mut questions) = (Answers::default(), Vec::new());
        loop {
            let decision = decide(&observation, &answers);
            let Action::Ask(question) = &decision.action else { return (decision, questions) };
            questions.push(question.clone());
            assert!(questions.len() < 50, "a question is asked again and again: {question:?}");
            answers.add(question.clone(), answer(question, script));
        }
    }

    /// Carries out what is decided until nothing is left to be done; returns how many writes that took.
    pub fn converge(&mut self) -> usize {
        for writes in 0..10 {
            let (decision, _) = self.decide(knowledge(), Script::ALL);
            match decision.action {
                Action::Write(write) => self.apply(&serde_json::to_value(&write.patch).expect("a patch")),
                Action::Nothing | Action::Wait | Action::Ask(_) => return writes,
            }
        }
        panic!("it never comes to rest: {:#}", self.workload);
    }

    /// Applies a guarded patch.
    pub fn apply(&mut self, patch: &Value) {
        assert_eq!(patch[0]["path"], "/metadata/resourceVersion");
        assert_eq!(patch[0]["value"], self.workload["metadata"]["resourceVersion"], "the guard");
        let patch: json_patch::Patch = serde_json::from_value(patch.clone()).expect("a patch");
        json_patch::patch(&mut self.workload, &patch).expect("a patch that fits");
        let version: u64 = self.workload["metadata"]["resourceVersion"].as_str().expect("text").parse().expect("a number");
        self.workload["metadata"]["resourceVersion"] = (version + 1).to_string().into();
        self.workload["metadata"]["managedFields"] = json!([self.owned_fields()]);
    }

    /// The list keys that the API server would record as ours: those of the items in the ledger.
    fn owned_fields(&self) -> Value {
        let ledger = self.workload().ledger.and_then(|ledger| ledger.parse().ok());
        let keys: Vec<Key> =
            ledger.into_iter().flat_map(|ledger| ledger.sidecars).flat_map(|entry| entry.items.into_keys()).collect();
        let mut spec = json!({});
        for key in &keys {
            let Some(item) = key.get(self.template()) else { continue };
            let fields = item.as_object().into_iter().flatten().map(|(field, _)| (format!("f:{field}"), json!({})));
            let mut owned: serde_json::Map<String, Value> = fields.collect();
            owned.insert(".".to_owned(), json!({}));
            match key {
                Key::Mount { container, path } => {
                    let mount = &mut spec["f:containers"][format!("k:{{\"name\":\"{container}\"}}")]["f:volumeMounts"];
                    mount[format!("k:{{\"mountPath\":\"{path}\"}}")] = owned.into();
                }
                Key::InitContainer(name) | Key::Container(name) | Key::Volume(name) => {
                    spec[format!("f:{}", key.list_name())][format!("k:{{\"name\":\"{name}\"}}")] = owned.into();
                }
            }
        }
        json!({"manager": MANAGER, "operation": "Update", "time": "2026-01-05T00:00:00Z", "fieldsV1": {"f:spec": {"f:template": {"f:spec": spec}}}})
    }
}

/// A knowledge without anything remembered.
pub(crate) fn knowledge() -> Knowledge {
    Knowledge { rollout: RolloutView::default(), remembered: None, conflicts: None, now: std::time::Instant::now() }
}

pub(crate) fn remembering(remembered: Option<Remembered>, conflicts: Option<ConflictHistory>) -> Knowledge {
    Knowledge { remembered, conflicts, ..knowledge() }
}

/// What a decision wants remembered.
pub(crate) fn remembered(decision: &Decision) -> Option<Remembered> {
    match &decision.memory {
        MemoryChange::Set(remembered) => Some(remembered.clone()),
        MemoryChange::Keep | MemoryChange::Forget => None,
    }
}

pub(crate) fn answer(question: &Question, script: Script) -> Answer {
    match question {
        Question::IsCurrent(_) | Question::IsGone(..) | Question::RecordHalt(_) => Answer::Confirmed(script.confirms),
        Question::KeptSpec(..) => Answer::KeptSpec(KeptSpec::Unknown),
        Question::Constraints => Answer::Constraints(Some(Arc::new(NamespaceConstraints::default()))),
        Question::DryRun(..) => Answer::DryRun(if script.dry_run_changes { DryRun::Changed } else { DryRun::Unchanged }),
        Question::Turn(_) if script.grants => Answer::Turn(Turn::Granted),
        Question::Turn(requests) => {
            let waits = requests.iter().map(|request| (request.sidecar.clone(), crate::rollout::scheduler::Wait::Full(1)));
            Answer::Turn(Turn::Denied { waits: waits.collect(), is_canary: false })
        }
    }
}

/// Specs of LogSidecars that differ in everything that a decision looks at.
fn spec() -> impl Strategy<Value = Value> {
    let sidecar = prop::sample::select(vec![
        json!({"tail": {}}),
        json!({"fluentBit": {}}),
        json!({"container": {"name": "ship", "image": "own"}}),
        json!({"tail": {}, "placement": "Container"}),
    ]);
    let directory = prop::sample::select(vec!["/var/log/app", "/var/log/other", "/data/logs"]);
    let target = prop::sample::select(vec![
        json!({"kind": "Deployment", "name": "web"}),
        json!({"kind": "Deployment", "selector": {"matchLabels": {"app": "web"}}}),
        json!({"kind": "Deployment", "name": "another"}),
    ]);
    let policy = prop::sample::select(vec!["Remove", "Orphan"]);
    let on_failure = prop::sample::select(vec!["Halt", "Rollback"]);
    (sidecar, directory, target, policy, on_failure, prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
        |(sidecar, directory, target, policy, on_failure, suspend, plans)| {
            json!({
                "sidecar": sidecar, "target": target, "deletionPolicy": policy, "suspend": suspend,
                "logs": [{"name": "app", "directory": directory, "files": ["*.log"]}],
                "rollout": {"maxConcurrent": 1000, "onFailure": on_failure, "mode": if plans { "Plan" } else { "Apply" }},
            })
        },
    )
}

/// Up to three LogSidecars, some of them being deleted.
pub(crate) fn log_sidecars() -> impl Strategy<Value = Vec<Value>> {
    let one = (spec(), prop::bool::weighted(0.15), 1..4i64);
    prop::collection::vec(one, 0..4).prop_map(|specs| {
        let named = |(index, (spec, is_deleting, generation)): (usize, (Value, bool, i64))| {
            let mut object = log_sidecar(["ant", "bee", "cat"][index], &spec);
            object["metadata"]["generation"] = generation.into();
            object["metadata"]["creationTimestamp"] = format!("2026-01-0{}T00:00:00Z", 3 - index).into();
            if is_deleting {
                object["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z".into();
            }
            object
        };
        specs.into_iter().enumerate().map(named).collect()
    })
}

/// A world that some LogSidecars have changed, and that others are asked about.
pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let owner = (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (log_sidecars(), log_sidecars(), owner).prop_map(|(before, after, (opts_out, is_damaged, is_edited, loses_ledger))| {
        let mut world = World::new(before);
        world.converge();
        world.log_sidecars = after;
        if opts_out {
            world.workload["metadata"]["labels"]["logsidecar.dev/inject"] = "false".into();
        }
        let ledger = "logsidecar.dev/injected";
        if is_damaged && world.workload["metadata"]["annotations"][ledger].is_string() {
            world.workload["metadata"]["annotations"][ledger] = "{\"version\":1,".into();
        } else if loses_ledger && let Some(annotations) = world.workload["metadata"]["annotations"].as_object_mut() {
            annotations.remove(ledger);
        }
        if is_edited && let Some(containers) = world.workload["spec"]["template"]["spec"]["initContainers"].as_array_mut() {
            containers.iter_mut().for_each(|container| container["image"] = "edited".into());
        }
        world
    })
}
