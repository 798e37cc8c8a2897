//! Decisions about a table of observations, and the laws that hold for generated ones.

pub(crate) mod world;

use proptest::prelude::*;
use serde_json::{Value, json};

use self::world::{Script, World, knowledge, log_sidecar, remembered, remembering, worlds};
use super::{
    decision::{Action, Next},
    log_sidecar::LogSidecarKey,
    memory::{ConflictHistory, RefusedPlan, Remembered},
    observation::Knowledge,
    question::{Question, WriteError},
    *,
};
use crate::{
    api::Reason,
    plan::Refusal,
    rollout::scheduler::{Halt, RolloutView},
    workload::{
        id::{WorkloadId, WorkloadKey},
        kind::Kind,
    },
};

/// What was decided, in a word, and the reason for each LogSidecar.
fn summary(decision: &Decision) -> (&'static str, Vec<Option<Reason>>) {
    let action = match decision.action {
        Action::Nothing => "nothing",
        Action::Ask(_) => "ask",
        Action::Write(_) => "write",
        Action::Wait => "wait",
    };
    (action, decision.reports.iter().map(|report| report.outcome.as_ref().map(|outcome| outcome.reason)).collect())
}

fn kinds(questions: &[Question]) -> Vec<&'static str> {
    let kind = |question: &Question| match question {
        Question::IsCurrent(_) => "is current",
        Question::IsGone(..) => "is gone",
        Question::RecordHalt(_) => "record halt",
        Question::KeptSpec(..) => "kept spec",
        Question::Constraints => "constraints",
        Question::DryRun(..) => "dry run",
        Question::Turn(_) => "turn",
    };
    questions.iter().map(kind).collect()
}

fn one(spec: &Value) -> World {
    World::new(vec![log_sidecar("ship", spec)])
}

/// A world that has what its LogSidecar asks for.
fn converged(spec: &Value) -> World {
    let mut world = one(spec);
    assert_eq!(world.converge(), 1);
    world
}

#[test]
fn table_of_decisions() {
    let suspended = json!({"suspend": true});
    let mut deleting = converged(&json!({}));
    deleting.log_sidecars[0]["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z".into();
    let mut orphaning = converged(&json!({"deletionPolicy": "Orphan"}));
    orphaning.log_sidecars[0]["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z".into();
    let mut damaged = converged(&json!({}));
    damaged.workload["metadata"]["annotations"]["logsidecar.dev/injected"] = "{".into();
    let mut opted_out = converged(&json!({}));
    opted_out.workload["metadata"]["labels"]["logsidecar.dev/inject"] = "false".into();
    let mut controlled = one(&json!({}));
    controlled.workload["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "x/v1", "kind": "App", "name": "a", "uid": "u", "controller": true}]);
    let mut unmatched = converged(&json!({}));
    unmatched.log_sidecars[0]["spec"]["target"]["name"] = "another".into();
    let mut missing = converged(&json!({}));
    missing.log_sidecars.clear();
    let mut ambiguous = one(&json!({}));
    ambiguous.workload["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]);
    let mut edited = converged(&json!({}));
    edited.workload["spec"]["template"]["spec"]["initContainers"][0]["image"] = "edited".into();
    let turn = vec!["constraints", "turn"];
    let table = [
        ("new target", one(&json!({})), Script::ALL, "write", Some(Reason::Soaking), turn.clone()),
        ("no turn", one(&json!({})), Script { grants: false, ..Script::ALL }, "wait", Some(Reason::Queued), turn.clone()),
        ("converged", converged(&json!({})), Script::ALL, "nothing", Some(Reason::Available), vec![]),
        ("suspended", one(&suspended), Script::ALL, "nothing", Some(Reason::Suspended), vec![]),
        (
            "plan only",
            one(&json!({"rollout": {"mode": "Plan"}})),
            Script::ALL,
            "nothing",
            Some(Reason::Planned),
            vec!["constraints"],
        ),
        ("deleting", deleting, Script::ALL, "write", None, vec!["turn"]),
        ("orphaning", orphaning, Script::ALL, "write", None, vec![]),
        ("damaged ledger", damaged, Script::ALL, "wait", Some(Reason::LedgerUnreadable), vec![]),
        ("opted out", opted_out, Script::ALL, "write", None, vec!["turn"]),
        ("rendered by another controller", controlled, Script::ALL, "nothing", Some(Reason::ManagedByController), vec![]),
        ("no longer a target", unmatched.clone(), Script::ALL, "write", None, vec!["is current", "turn"]),
        (
            "stale cache",
            unmatched,
            Script { confirms: false, ..Script::ALL },
            "nothing",
            Some(Reason::Pending),
            vec!["is current"],
        ),
        ("ambiguous container", ambiguous, Script::ALL, "nothing", Some(Reason::ContainerAmbiguous), vec![]),
        ("edited item", edited.clone(), Script::ALL, "write", Some(Reason::Soaking), vec!["dry run", "constraints", "turn"]),
        (
            "rewritten item",
            edited,
            Script { dry_run_changes: false, ..Script::ALL },
            "nothing",
            Some(Reason::Available),
            vec!["dry run"],
        ),
    ];
    for (case, world, script, action, reason, questions) in table {
        let (decision, asked) = world.decide(knowledge(), script);
        assert_eq!((summary(&decision), kinds(&asked)), ((action, vec![reason]), questions), "{case}");
    }
    let (decision, asked) = missing.decide(knowledge(), Script::ALL);
    assert_eq!((summary(&decision), kinds(&asked)), (("write", vec![]), vec!["is gone", "turn"]));
}

fn halted(recorded: bool) -> Knowledge {
    let at = WorkloadKey { namespace: "shop".into(), id: WorkloadId { kind: Kind::Deployment, name: "web".into() } };
    let halt = Halt { at, cause: "it crashed".into(), also: [].into(), recorded };
    let key = LogSidecarKey { namespace: "shop".into(), name: "ship".into() };
    Knowledge { rollout: RolloutView { halts: vec![(key, halt)], ..RolloutView::default() }, ..knowledge() }
}

#[test]
fn failed_rollout_is_recorded_before_anything_is_rolled_back() {
    let world = converged(&json!({"rollout": {"onFailure": "Rollback"}}));
    let (decision, asked) = world.decide(halted(false), Script::ALL);
    assert_eq!((summary(&decision), kinds(&asked)), (("write", vec![Some(Reason::RolledBack)]), vec!["record halt", "turn"]));
    let unrecorded = Script { confirms: false, ..Script::ALL };
    let (decision, asked) = world.decide(halted(false), unrecorded);
    assert_eq!((summary(&decision), kinds(&asked)), (("nothing", vec![Some(Reason::RolloutFailed)]), vec!["record halt"]));
    assert_eq!(decision.next, Next::Backoff);
    let world = converged(&json!({"rollout": {"onFailure": "Halt"}}));
    let (decision, asked) = world.decide(halted(true), Script::ALL);
    assert_eq!((summary(&decision), kinds(&asked)), (("nothing", vec![Some(Reason::RolloutFailed)]), vec![]));
}

#[test]
fn refused_write_is_not_sent_again_and_holds_back_newcomers_only() {
    let world = one(&json!({}));
    let (decision, _) = world.decide(knowledge(), Script::ALL);
    let Action::Write(write) = decision.action else { panic!("it is written") };
    let refusal = Refusal::new(Reason::Rejected, "no");
    let (workload, log_sidecars) = (world.workload(), world.log_sidecars());
    let observation = Observation::new(&workload, &log_sidecars, knowledge());
    let recorded = record::write_failed(&observation, &write, &WriteError::Refused(refusal.clone()), std::time::Instant::now());
    assert_eq!(summary(&recorded), ("wait", vec![Some(Reason::Rejected)]));
    let refused = remembered(&recorded);
    let (decision, asked) = world.decide(remembering(refused, None), Script::ALL);
    assert_eq!((summary(&decision), kinds(&asked)), (("wait", vec![Some(Reason::Rejected)]), vec![]));
    // One that is in the template already is removed although the other's items are refused.
    let mut both = converged(&json!({}));
    both.log_sidecars[0]["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z".into();
    both.log_sidecars.push(log_sidecar("other", &json!({})));
    let (decision, _) = both.decide(knowledge(), Script::ALL);
    let Action::Write(write) = decision.action else { panic!("it is written") };
    let now = std::time::Instant::now();
    let refused = RefusedPlan::new(write.state.clone(), refusal.clone(), now);
    let refused = Remembered::with_refused(None, refused, now);
    let (decision, _) = both.decide(Knowledge { now, ..remembering(Some(refused.clone()), None) }, Script::ALL);
    assert_eq!(summary(&decision), ("write", vec![None, Some(Reason::Rejected)]));
    // The refused one is tried again when its pause is over, although the rest is written before.
    assert_eq!(decision.next, Next::After(memory::REFUSED_FOR));
    let Action::Write(rest) = decision.action else { panic!("it is written") };
    assert_eq!(rest.movers, ["ship".to_owned()].into());
    // The rest is refused, too: nothing is sent again for a minute.
    let refused = Remembered::with_refused(Some(&refused), RefusedPlan::new(rest.state.clone(), refusal, now), now);
    let (decision, asked) = both.decide(remembering(Some(refused), None), Script::ALL);
    assert_eq!((summary(&decision).0, kinds(&asked)), ("wait", vec![]));
}

#[test]
fn conflict_is_backed_off_and_reported_once() {
    let world = one(&json!({}));
    let (decision, _) = world.decide(knowledge(), Script::ALL);
    let Action::Write(write) = decision.action else { panic!("it is written") };
    let mut history = ConflictHistory::default();
    let now = std::time::Instant::now();
    for _ in 0..4 {
        history.record_write(&write.conflict_key, None, now);
    }
    let (decision, _) = world.decide(Knowledge { now, ..remembering(None, Some(history.clone())) }, Script::ALL);
    assert_eq!((summary(&decision), decision.notices.len()), (("wait", vec![Some(Reason::Contested)]), 1));
    assert!(matches!(decision.next, Next::After(_)));
    history.mark_reported();
    let (decision, _) = world.decide(Knowledge { now, ..remembering(None, Some(history)) }, Script::ALL);
    assert_eq!(decision.notices, []);
}

/// Whether a LogSidecar is meant for the workload of the world.
fn is_target(sidecar: &Value) -> bool {
    let target = &sidecar["spec"]["target"];
    target["name"] == "web" || target["selector"].is_object()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2000 }))]

    /// The result of a decision needs no other decision.
    #[test]
    fn decision_about_its_own_result_is_nothing(mut world in worlds()) {
        world.converge();
        let (decision, _) = world.decide(knowledge(), Script::ALL);
        prop_assert!(matches!(decision.action, Action::Nothing | Action::Wait), "{:?}", decision.action);
        prop_assert_eq!(world.converge(), 0);
    }

    /// Without a confirmation, items disappear only for a LogSidecar that is being deleted or still a target, or by an opt-out.
    #[test]
    fn nothing_is_removed_without_evidence(world in worlds()) {
        let ledger = world.workload().ledger.and_then(|ledger| ledger.parse().ok());
        let (decision, _) = world.decide(knowledge(), Script { confirms: false, ..Script::ALL });
        let mut after = world.clone();
        if let Action::Write(write) = decision.action {
            after.apply(&serde_json::to_value(&write.patch).expect("a patch"));
        }
        let opted_out = world.workload["metadata"]["labels"]["logsidecar.dev/inject"] == "false";
        for entry in ledger.into_iter().flat_map(|ledger| ledger.sidecars) {
            let sidecar = world.log_sidecars.iter().find(|sidecar| sidecar["metadata"]["uid"].as_str() == entry.uid.as_deref());
            let is_evident = sidecar.is_some_and(|sidecar| {
                opted_out || sidecar["metadata"]["deletionTimestamp"].is_string() || is_target(sidecar)
            });
            for key in entry.items.keys().filter(|_| !is_evident) {
                prop_assert_eq!(key.get(after.template()).is_some(), key.get(world.template()).is_some(), "{}", key);
            }
        }
    }

    /// Whatever is only absent is asked for before it is removed.
    #[test]
    fn absence_is_asked_for(before in world::log_sidecars()) {
        let mut world = World::new(before);
        world.converge();
        world.log_sidecars.clear();
        let (decision, asked) = world.decide(knowledge(), Script::ALL);
        let is_removed = matches!(decision.action, Action::Write(_));
        prop_assert!(!is_removed || kinds(&asked).contains(&"is gone"));
        let (decision, _) = world.decide(knowledge(), Script { confirms: false, ..Script::ALL });
        prop_assert!(!matches!(decision.action, Action::Write(_)), "{:?}", decision.action);
    }

    /// A template is changed only by a write whose turn was granted.
    #[test]
    fn no_turn_no_rollout(world in worlds()) {
        let (decision, _) = world.decide(knowledge(), Script { grants: false, ..Script::ALL });
        if let Action::Write(write) = decision.action {
            prop_assert_eq!(&write.plan.template, world.template());
        }
    }

    /// Each question is asked once, and the same observation leads to the same decision.
    #[test]
    fn decision_is_deterministic_and_asks_once(world in worlds()) {
        let (one, asked) = world.decide(knowledge(), Script::ALL);
        let (other, again) = world.decide(knowledge(), Script::ALL);
        prop_assert_eq!(format!("{:?}", (one.action, one.reports)), format!("{:?}", (other.action, other.reports)));
        prop_assert_eq!(kinds(&asked), kinds(&again));
        let mut once: Vec<String> = asked.iter().map(|question| format!("{question:?}")).collect();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), asked.len());
    }
}
