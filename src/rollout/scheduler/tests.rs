use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    rollout::canary::CanaryCandidate,
    workload::{kind::Kind, ledger::Before, status::WorkloadStatus},
};

type Test = RolloutScheduler<u8, u8>;

/// The budget of a `LogSidecar` of which nothing is known, see `state`.
const UNKNOWN_LIMIT: usize = 5;

/// A change that has been written.
fn in_flight() -> InFlight {
    let status = WorkloadStatus::of(Kind::Deployment, &json!({}));
    InFlight { written: true, ..InFlight::begin(&status, true, *START, Timestamp::UNIX_EPOCH) }
}

static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

fn recorded(stage: Stage) -> RecordedRollout<u8> {
    let failed = (stage == Stage::Halted).then(|| (3, "it crashed".to_owned()));
    RecordedRollout { revision: "one".into(), generation: 1, stage, failed }
}

fn scheduler(stage: Stage, limit: usize) -> Test {
    let mut scheduler = Test::default();
    scheduler.revise(&0, "uid", ("one", 1), || recorded(stage));
    scheduler.set_limit(&0, limit);
    scheduler
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as `request_turn` wants it")]
fn candidates(_: &u8) -> CanaryCandidates<u8> {
    let candidate = |workload| CanaryCandidate {
        workload,
        has_revision: false,
        is_conclusive: workload > 1,
        is_ready: true,
        recreates: workload == 2,
        is_selected: false,
    };
    CanaryCandidates { candidates: (0..10).map(candidate).collect(), count: 1 }
}

fn put(scheduler: &mut Test, workload: u8) -> Result<(), Vec<(u8, Wait<u8>)>> {
    scheduler.request_turn(&workload, &[TurnRequest { sidecar: 0, removing: false, at_once: false }], &in_flight(), candidates)
}

fn take(scheduler: &mut Test, workload: u8, at_once: bool) -> bool {
    scheduler.request_turn(&workload, &[TurnRequest { sidecar: 0, removing: true, at_once }], &in_flight(), candidates).is_ok()
}

fn halt(at: u8) -> Halt<u8> {
    Halt { at, cause: "it crashed".into(), also: BTreeSet::new(), recorded: false }
}

#[test]
fn a_canary_goes_first_and_the_others_when_it_has_succeeded() {
    let mut scheduler = scheduler(Stage::Canary, 2);
    // 0 and 1 say nothing, 2 would stop completely.
    assert_eq!(put(&mut scheduler, 0), Err(vec![(0, Wait::Canary(vec![3]))]));
    assert_eq!(scheduler.wake(), [3]);
    assert_eq!(put(&mut scheduler, 3), Ok(()));
    scheduler.end_turn(&3);
    assert_eq!((put(&mut scheduler, 5).is_err(), scheduler.wake()), (true, vec![]));
    scheduler.finish(&0, &3);
    assert_eq!(scheduler.wake(), [0, 5]);
    assert_eq!((put(&mut scheduler, 5), put(&mut scheduler, 0)), (Ok(()), Ok(())));
    assert_eq!(put(&mut scheduler, 6), Err(vec![(0, Wait::Full(2))]));
    scheduler.finish(&0, &5);
    assert_eq!(scheduler.wake(), [6]);
    assert_eq!(scheduler.wake(), [] as [u8; 0]);
}

#[test]
fn a_canary_that_cannot_be_served_is_passed_over() {
    let mut scheduler = scheduler(Stage::Canary, 2);
    assert!(put(&mut scheduler, 5).is_err());
    assert_eq!(scheduler.wake(), [3]);
    scheduler.exclude_canary(&0, ("uid", 1), &3);
    assert_eq!(scheduler.wake(), [5]);
    assert_eq!(put(&mut scheduler, 5), Err(vec![(0, Wait::Canary(vec![4]))]));
    let mut tried = Vec::new();
    while let Err(waits) = put(&mut scheduler, 0) {
        let [(0, Wait::Canary(first))] = waits.as_slice() else { panic!("{waits:?}") };
        tried.extend_from_slice(first);
        scheduler.exclude_canary(&0, ("uid", 1), &first[0]);
    }
    // The one that would stop completely is the last; when nobody is left, all may start.
    assert_eq!(tried, [4, 5, 6, 7, 8, 9, 2]);
    // A change of the spec that is no other revision gives all another chance.
    scheduler.revise(&0, "uid", ("one", 2), || recorded(Stage::Canary));
    assert_eq!(put(&mut scheduler, 5), Ok(()));
    let later = InFlight { progressed: *START + Duration::from_secs(2), ..in_flight() };
    let put = TurnRequest { sidecar: 0, removing: false, at_once: false };
    assert_eq!(scheduler.request_turn(&6, &[put], &later, candidates), Err(vec![(0, Wait::Canary(vec![3]))]));
}

#[test]
fn the_first_failure_halts_and_a_change_of_the_spec_begins_with_what_failed() {
    let mut scheduler = scheduler(Stage::Rolling, 3);
    assert_eq!((put(&mut scheduler, 7), put(&mut scheduler, 8)), (Ok(()), Ok(())));
    assert!(scheduler.fail(&0, &7, "it crashed"));
    assert_eq!(put(&mut scheduler, 9), Err(vec![(0, Wait::Halted(halt(7)))]));
    assert!(!scheduler.fail(&0, &8, "it crashed, too"));
    assert_eq!(scheduler.halt(&0).map(|halt| &halt.also), Some(&BTreeSet::from([8])));
    // Taking out is not halted.
    assert!(take(&mut scheduler, 7, true));
    scheduler.finish(&0, &7);
    // The same revision and generation: still halted.
    scheduler.revise(&0, "uid", ("one", 1), || recorded(Stage::Rolling));
    assert!(put(&mut scheduler, 9).is_err());
    scheduler.revise(&0, "uid", ("one", 2), || recorded(Stage::Rolling));
    assert_eq!(put(&mut scheduler, 9), Err(vec![(0, Wait::Canary(vec![7]))]));
    // One of the same name that was made anew knows nothing of it.
    scheduler.revise(&0, "another", ("one", 2), || recorded(Stage::Rolling));
    assert_eq!(put(&mut scheduler, 9), Err(vec![(0, Wait::Canary(vec![3]))]));
}

/// Where it failed is tried alone, whoever else would be a canary, and so it is for whoever starts in between.
#[test]
fn where_it_failed_comes_alone() {
    let several = |_: &u8| CanaryCandidates { count: 3, ..candidates(&0) };
    let put = |scheduler: &mut Test, workload: u8| {
        scheduler.request_turn(&workload, &[TurnRequest { sidecar: 0, removing: false, at_once: false }], &in_flight(), several)
    };
    let mut before = scheduler(Stage::Rolling, 9);
    assert_eq!(put(&mut before, 7), Ok(()));
    assert!(before.fail(&0, &7, "it crashed"));
    before.revise(&0, "uid", ("two", 2), || recorded(Stage::Rolling));
    assert_eq!(before.failure(&0), Some((&7, "it crashed")));
    let mut after = Test::default();
    let failed = Some((7, "it crashed".to_owned()));
    let recorded = RecordedRollout { revision: "two".into(), generation: 2, stage: Stage::Canary, failed };
    after.revise(&0, "uid", ("two", 2), || recorded);
    after.set_limit(&0, 9);
    for mut scheduler in [before, after] {
        assert_eq!(put(&mut scheduler, 3), Err(vec![(0, Wait::Canary(vec![7]))]));
        assert_eq!(scheduler.wake(), [7]);
        assert_eq!(put(&mut scheduler, 7), Ok(()));
        scheduler.finish(&0, &7);
        assert_eq!(scheduler.failure(&0), None);
        assert_eq!(put(&mut scheduler, 9), Err(vec![(0, Wait::Canary(vec![3, 4, 7]))]));
        assert_eq!(scheduler.wake(), [3, 4]);
    }
}

/// What somebody else moves while the program starts takes a place, and is not changed on top of that.
#[test]
fn what_is_found_in_flight_is_not_changed_before_there_is_room() {
    let mut scheduler = scheduler(Stage::Rolling, 2);
    for workload in [3, 4, 5, 6] {
        scheduler.track_existing(&0, &workload, &InFlight { revision: "unknown".into(), removing: true, ..in_flight() });
    }
    assert_eq!(put(&mut scheduler, 3), Err(vec![(0, Wait::Full(2))]));
    scheduler.finish(&0, &5);
    scheduler.finish(&0, &6);
    assert_eq!(put(&mut scheduler, 3), Ok(()));
    assert_eq!(put(&mut scheduler, 7), Err(vec![(0, Wait::Full(2))]));
}

/// What is left of a LogSidecar that is gone is taken out a few at a time, too.
#[test]
fn removals_for_a_deleted_log_sidecar_have_a_budget_as_well() {
    let mut scheduler = Test::default();
    let taken = (0..10).filter(|workload| take(&mut scheduler, *workload, false)).count();
    assert_eq!(taken, UNKNOWN_LIMIT);
    scheduler.finish(&0, &0);
    assert_eq!(scheduler.wake(), [5]);
}

#[test]
fn stale_generation_does_not_turn_a_rollout_back() {
    let mut scheduler = scheduler(Stage::Rolling, 1);
    scheduler.revise(&0, "uid", ("two", 2), || recorded(Stage::Rolling));
    scheduler.revise(&0, "uid", ("one", 1), || recorded(Stage::Rolling));
    assert_eq!(scheduler.revision(&0), Some("two"));
}

#[test]
fn what_was_known_before_a_restart_is_still_known() {
    let halted = scheduler(Stage::Halted, 1);
    assert_eq!(halted.halt(&0), Some(&Halt { recorded: true, ..halt(3) }));
    assert_eq!(put(&mut scheduler(Stage::Rolling, 1), 9), Ok(()));
    assert_eq!(put(&mut scheduler(Stage::Canary, 1), 9), Err(vec![(0, Wait::Canary(vec![3]))]));
    let mut scheduler = scheduler(Stage::Rolling, 1);
    scheduler.revise(&0, "uid", ("two", 2), || recorded(Stage::Rolling));
    assert_eq!(put(&mut scheduler, 9), Err(vec![(0, Wait::Canary(vec![3]))]));
}

#[test]
fn workload_takes_a_place_in_every_rollout_that_changes_it_or_in_none() {
    let mut scheduler = scheduler(Stage::Rolling, 1);
    scheduler.revise(&1, "uid", ("one", 1), || recorded(Stage::Rolling));
    scheduler.set_limit(&1, 1);
    assert_eq!(put(&mut scheduler, 4), Ok(()));
    let both = [0, 1].map(|sidecar| TurnRequest { sidecar, removing: false, at_once: false });
    assert_eq!(scheduler.request_turn(&5, &both, &in_flight(), candidates), Err(vec![(0, Wait::Full(1))]));
    assert_eq!(scheduler.progress(&1).map(|progress| progress.in_flight), Some(0));
    scheduler.finish(&0, &4);
    assert_eq!(scheduler.wake(), [5]);
    assert_eq!(scheduler.request_turn(&5, &both, &in_flight(), candidates), Ok(()));
    assert_eq!(scheduler.in_flight(&5).count(), 2);
}

#[test]
fn change_for_another_revision_says_nothing_about_the_current_one() {
    let mut scheduler = scheduler(Stage::Rolling, 2);
    assert_eq!(put(&mut scheduler, 4), Ok(()));
    scheduler.revise(&0, "uid", ("two", 2), || recorded(Stage::Rolling));
    assert!(!scheduler.fail(&0, &4, "it crashed"));
    assert_eq!(scheduler.halt(&0), None);
}

/// Another worker may have seen the corrected spec while this one still decided about the halted one.
#[test]
fn decision_about_another_generation_says_nothing_about_a_canary() {
    let mut scheduler = scheduler(Stage::Halted, 3);
    scheduler.revise(&0, "uid", ("two", 2), || recorded(Stage::Halted));
    assert_eq!(put(&mut scheduler, 5), Err(vec![(0, Wait::Canary(vec![3]))]));
    scheduler.judge_canary(&0, ("uid", 1), &3, &CanaryFitness::HasRevision(Before::Well), &in_flight());
    scheduler.judge_canary(&0, ("uid", 1), &3, &CanaryFitness::Unfit, &in_flight());
    scheduler.exclude_canary(&0, ("uid", 1), &3);
    assert_eq!((scheduler.is_due_canary(&0, &3), scheduler.in_flight(&3).count()), (true, 0));
    scheduler.judge_canary(&0, ("uid", 2), &3, &CanaryFitness::HasRevision(Before::Well), &in_flight());
    assert_eq!(scheduler.in_flight(&3).count(), 1);
}

#[test]
fn removals_that_wait_for_a_deleted_log_sidecar_are_not_forgotten() {
    let mut scheduler = scheduler(Stage::Rolling, 1);
    assert!(take(&mut scheduler, 4, false) && !take(&mut scheduler, 5, false));
    scheduler.forget(&0);
    scheduler.finish(&0, &4);
    scheduler.forget_finished(&0);
    assert_eq!(scheduler.wake(), [5]);
    assert!(take(&mut scheduler, 5, false));
    scheduler.finish(&0, &5);
    scheduler.forget_finished(&0);
    assert_eq!(scheduler.progress(&0), None);
}

#[test]
fn limit_that_rises_wakes_a_workload_that_waits() {
    let mut scheduler = scheduler(Stage::Rolling, 1);
    assert_eq!((put(&mut scheduler, 4), put(&mut scheduler, 5).is_err()), (Ok(()), true));
    assert_eq!(scheduler.wake(), [] as [u8; 0]);
    scheduler.set_limit(&0, 2);
    assert_eq!(scheduler.wake(), [5]);
    assert_eq!(put(&mut scheduler, 5), Ok(()));
}

/// Whether the index of workloads names just those that take part.
fn is_indexed(scheduler: &Test) -> bool {
    let named =
        scheduler.by_workload.iter().flat_map(|(workload, sidecars)| sidecars.iter().map(move |sidecar| (*sidecar, *workload)));
    let members =
        scheduler.rollouts.iter().flat_map(|(sidecar, rollout)| rollout.members().into_iter().map(|member| (*sidecar, member)));
    named.collect::<BTreeSet<_>>() == members.collect::<BTreeSet<_>>()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Take(u8),
    Finish(u8),
    Fail(u8),
    Gone(u8),
    Revise(u8),
    Wake,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        6 => (0..10u8).prop_map(Step::Put),
        1 => (0..10u8).prop_map(Step::Take),
        4 => (0..10u8).prop_map(Step::Finish),
        1 => (0..10u8).prop_map(Step::Fail),
        1 => (0..10u8).prop_map(Step::Gone),
        1 => (0..4u8).prop_map(Step::Revise),
        4 => Just(Step::Wake),
    ];
    prop::collection::vec(one, 0..60)
}

proptest! {
    /// Never more than allowed; nothing goes in while halted, or before the canaries; whoever is told to ask again was waiting,
    /// and whoever waits is told when there is room.
    #[test]
    fn no_more_than_allowed_are_ever_in_flight(steps in steps(), limit in 1..4usize) {
        let mut scheduler = scheduler(Stage::Canary, limit);
        let mut generation = 1;
        for step in steps {
            match step {
                Step::Put(workload) => {
                    let halted = scheduler.halt(&0).is_some();
                    let went = put(&mut scheduler, workload).is_ok();
                    prop_assert!(!(halted && went));
                    if scheduler.progress(&0).expect("a rollout").stage == Stage::Canary && went {
                        prop_assert!(scheduler.is_due_canary(&0, &workload) || limit == 0);
                    }
                }
                Step::Take(workload) => drop(take(&mut scheduler, workload, false)),
                Step::Finish(workload) => scheduler.finish(&0, &workload),
                Step::Fail(workload) => drop(scheduler.fail(&0, &workload, "it crashed")),
                Step::Gone(workload) => scheduler.remove_workload(&workload),
                Step::Revise(revision) => {
                    generation += 1;
                    scheduler.revise(&0, "uid", (&format!("{revision}"), generation), || recorded(Stage::Canary));
                }
                Step::Wake => {
                    for workload in scheduler.wake() {
                        drop(put(&mut scheduler, workload));
                        scheduler.end_turn(&workload);
                    }
                }
            }
            prop_assert!(scheduler.progress(&0).expect("a rollout").in_flight <= limit);
            prop_assert!(is_indexed(&scheduler), "{scheduler:?}");
        }
    }

    /// However workloads come and go, all get their turn in the end.
    #[test]
    fn every_workload_gets_its_turn(steps in steps(), limit in 1..4usize) {
        let mut scheduler = scheduler(Stage::Canary, limit);
        let mut done = BTreeSet::new();
        for step in steps {
            match step {
                Step::Put(workload) => drop(put(&mut scheduler, workload)),
                Step::Finish(workload) => scheduler.finish(&0, &workload),
                Step::Gone(workload) => scheduler.remove_workload(&workload),
                Step::Wake | Step::Take(_) | Step::Fail(_) | Step::Revise(_) => {}
            }
        }
        // As the controller does it: each is looked at once, then whoever is told to.
        let mut queue: Vec<u8> = (0..10).collect();
        while let Some(workload) = queue.pop() {
            let is_under_way = scheduler.in_flight(&workload).next().is_some();
            if !done.contains(&workload) && (is_under_way || put(&mut scheduler, workload).is_ok()) {
                scheduler.finish(&0, &workload);
                done.insert(workload);
            } else if done.contains(&workload) && scheduler.is_due_canary(&0, &workload) {
                scheduler.track_existing(&0, &workload, &in_flight());
                scheduler.finish(&0, &workload);
            }
            scheduler.end_turn(&workload);
            queue.extend(scheduler.wake());
        }
        prop_assert_eq!(done.len(), 10);
    }
}
