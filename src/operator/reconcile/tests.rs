//! The controller and the commands decide alike: each builds its own observation, the one from its store, the other from lists, and what
//! comes out is equal to the byte. What only the controller knows (budget, refusals, conflicts) is granted here.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    decide::{
        Answers, Decision, Observation, decide,
        decision::Action,
        log_sidecar::ValidatedLogSidecar,
        question::{Answer, KeptSpec, Question},
        tests::world::{Script, World, answer, object, worlds},
    },
    inspect::parity,
    operator::{memory::Memory, rollouts::Rollouts, store::Store, work::Work},
    plan::ResolvedSpec,
    shipper::Images,
    workload::{
        id::WorkloadKey,
        kind::{Kind, Kinds},
        snapshot::Workload,
    },
};

/// Runs a decision to its end; `turn` answers whose turn it is.
fn run(observation: &Observation<'_>, turn: impl Fn(&Question) -> Option<Answer>) -> (Decision, Vec<String>) {
    let (mut answers, mut asked) = (Answers::default(), Vec::new());
    loop {
        let decision = decide(observation, &answers);
        let Action::Ask(question) = decision.action else { return (decision, asked) };
        // The two sides name a plan and a turn alike.
        asked.push(format!("{question:?}"));
        let kept = || match &question {
            Question::KeptSpec(key, revision) => kept(&key.name, revision),
            _ => answer(&question, Script::ALL),
        };
        let answer = turn(&question).unwrap_or_else(kept);
        answers.add(question, answer);
    }
}

/// An earlier spec, as a `ControllerRevision` has it.
fn kept(name: &str, revision: &str) -> Answer {
    let spec = json!({"target": {"kind": "Deployment", "name": "web"}, "logs": [{"name": "app", "directory": format!("/kept/{revision}")}]});
    let spec = serde_json::from_value(spec).expect("a spec");
    Answer::KeptSpec(KeptSpec::Found(Arc::new(ResolvedSpec::new(name, spec, &Images::default()))))
}

/// What the controller decides: everything goes through its store.
fn by_controller(world: &World) -> (Decision, Vec<String>) {
    let (store, memory) = (Arc::new(Store::default()), Arc::new(Memory::default()));
    let rollouts = Arc::new(Rollouts::new(Kinds::default()));
    let work = Work::new(store.clone(), memory.clone(), rollouts.clone());
    for value in &world.log_sidecars {
        work.log_sidecar_changed(&ValidatedLogSidecar::observe(&object(value), &Images::default()).expect("a LogSidecar"));
    }
    work.workload_changed(Workload::observe(Kind::Deployment, &object(&world.workload)).expect("a workload"));
    let key: WorkloadKey = world.workload().key;
    let (log_sidecars, workload) = (store.log_sidecars_in("shop"), store.workload(&key).expect("it is stored"));
    rollouts.revise(&log_sidecars, |_| 1);
    let observation = super::observe(&workload, &log_sidecars, &rollouts, &memory);
    run(&observation, |question| match question {
        Question::Turn(requests) => Some(Answer::Turn(rollouts.request_turn(&store, &workload, &log_sidecars, requests))),
        _ => None,
    })
}

/// Patch, reports and questions of a decision.
fn comparable((decision, asked): &(Decision, Vec<String>)) -> (String, Value, String, Vec<String>) {
    let (action, patch) = match &decision.action {
        Action::Nothing => ("nothing", Value::Null),
        Action::Wait => ("wait", Value::Null),
        Action::Ask(_) => ("ask", Value::Null),
        Action::Write(write) => ("write", serde_json::to_value(&write.patch).expect("a patch")),
    };
    (action.to_owned(), patch, format!("{:?}", decision.reports), asked.clone())
}

/// What the controller has written into the status of some of the LogSidecars: a rollout that goes on, or was halted here.
fn with_status(mut world: World, halted: [bool; 3]) -> World {
    for (value, halted) in world.log_sidecars.iter_mut().zip(halted) {
        let observed = ValidatedLogSidecar::observe(&object(value), &Images::default()).expect("a LogSidecar");
        let mut rollout =
            json!({"revision": observed.revision(), "generation": observed.generation, "stage": "Rolling", "underWay": 0});
        if halted {
            rollout["stage"] = "Halted".into();
            rollout["haltedAt"] = json!({"apiGroup": "apps", "kind": "Deployment", "name": "web", "cause": "it crashed"});
        }
        value["status"] = json!({"observedGeneration": observed.generation, "rollout": rollout});
    }
    world
}

/// Turns the entries of the ledger into those of a policy, which the controller takes over.
fn by_policy(mut world: World) -> World {
    let Some(ledger) = world.workload.pointer_mut("/metadata/annotations/logsidecar.dev~1injected") else { return world };
    let Some(mut parsed) = ledger.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return world };
    for entry in parsed["sidecars"].as_array_mut().into_iter().flatten() {
        entry["origin"] = "policy".into();
        entry["items"] = json!({});
        entry.as_object_mut().expect("an entry").retain(|field, _| !["uid", "revision", "previous"].contains(&field.as_str()));
    }
    parsed.as_object_mut().expect("a ledger").remove("workload");
    *ledger = parsed.to_string().into();
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn controller_and_commands_decide_alike(
        world in worlds(),
        halted in prop::array::uniform3(prop::bool::weighted(0.3)),
        admitted in prop::bool::weighted(0.3),
    ) {
        let world = with_status(if admitted { by_policy(world) } else { world }, halted);
        let controller = by_controller(&world);
        let objects: Vec<_> = world.log_sidecars.iter().map(object).collect();
        let command = parity::decide(&object(&world.workload), &objects, |observation, turn| run(observation, turn));
        prop_assert_eq!(comparable(&controller), comparable(&command));
    }
}
