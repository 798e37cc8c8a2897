use super::*;
use proptest::prelude::*;

type Test = Waves<u8, u8>;

const FLIGHT: Flight = Flight {
    revision: String::new(),
    removing: false,
    counts: true,
    written: true,
    before: Before::Well,
    since: 0,
    step: (0, 0),
    began: 0,
    healthy: None,
    probed: None,
};

fn memory(stage: Stage) -> Memory<u8> {
    let failed = (stage == Stage::Halted).then(|| (3, "it crashed".to_owned()));
    Memory { revision: "one".into(), generation: 1, stage, failed }
}

fn waves(stage: Stage, limit: usize) -> Test {
    let mut waves = Test::default();
    waves.revise(&0, "uid", ("one", 1), || memory(stage));
    waves.allow(&0, limit);
    waves
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as `ask` wants it")]
fn candidates(_: &u8) -> (Vec<Candidate<u8>>, usize) {
    let candidate = |workload| Candidate {
        workload,
        has_it: false,
        is_telling: workload > 1,
        is_ready: true,
        recreates: workload == 2,
        is_selected: false,
    };
    ((0..10).map(candidate).collect(), 1)
}

fn put(waves: &mut Test, workload: u8) -> Result<(), Vec<(u8, Wait<u8>)>> {
    waves.ask(&workload, &[Request { sidecar: 0, removing: false, at_once: false }], &FLIGHT, candidates)
}

fn take(waves: &mut Test, workload: u8, at_once: bool) -> bool {
    waves.ask(&workload, &[Request { sidecar: 0, removing: true, at_once }], &FLIGHT, candidates).is_ok()
}

fn halt(at: u8) -> Halt<u8> {
    Halt { at, cause: "it crashed".into(), also: BTreeSet::new(), recorded: false }
}

#[test]
fn a_canary_goes_first_and_the_others_when_it_has_succeeded() {
    let mut waves = waves(Stage::Canary, 2);
    // 0 and 1 say nothing, 2 would stop completely.
    assert_eq!(put(&mut waves, 0), Err(vec![(0, Wait::Canary(vec![3]))]));
    assert_eq!(waves.wake(), [3]);
    assert_eq!(put(&mut waves, 3), Ok(()));
    waves.looked_at(&3);
    assert_eq!((put(&mut waves, 5).is_err(), waves.wake()), (true, vec![]));
    waves.finish(&0, &3);
    assert_eq!(waves.wake(), [0, 5]);
    assert_eq!((put(&mut waves, 5), put(&mut waves, 0)), (Ok(()), Ok(())));
    assert_eq!(put(&mut waves, 6), Err(vec![(0, Wait::Full(2))]));
    waves.finish(&0, &5);
    assert_eq!(waves.wake(), [6]);
    assert_eq!(waves.wake(), [] as [u8; 0]);
}

#[test]
fn a_canary_that_cannot_be_served_is_passed_over() {
    let mut waves = waves(Stage::Canary, 2);
    assert!(put(&mut waves, 5).is_err());
    assert_eq!(waves.wake(), [3]);
    waves.pass_over(&0, &3);
    assert_eq!(waves.wake(), [5]);
    assert_eq!(put(&mut waves, 5), Err(vec![(0, Wait::Canary(vec![4]))]));
    let mut tried = Vec::new();
    while let Err(waits) = put(&mut waves, 0) {
        let [(0, Wait::Canary(first))] = waits.as_slice() else { panic!("{waits:?}") };
        tried.extend_from_slice(first);
        waves.pass_over(&0, &first[0]);
    }
    // The one that would stop completely is the last; when nobody is left, all may start.
    assert_eq!(tried, [4, 5, 6, 7, 8, 9, 2]);
    // A change of the spec that is no other revision gives all another chance.
    waves.revise(&0, "uid", ("one", 2), || memory(Stage::Canary));
    assert_eq!(put(&mut waves, 5), Ok(()));
    let later = Flight { since: 2000, ..FLIGHT };
    let put = Request { sidecar: 0, removing: false, at_once: false };
    assert_eq!(waves.ask(&6, &[put], &later, candidates), Err(vec![(0, Wait::Canary(vec![3]))]));
}

#[test]
fn the_first_failure_halts_and_a_change_of_the_spec_begins_with_what_failed() {
    let mut waves = waves(Stage::Rolling, 3);
    assert_eq!((put(&mut waves, 7), put(&mut waves, 8)), (Ok(()), Ok(())));
    assert!(waves.fail(&0, &7, "it crashed"));
    assert_eq!(put(&mut waves, 9), Err(vec![(0, Wait::Halted(halt(7)))]));
    assert!(!waves.fail(&0, &8, "it crashed, too"));
    assert_eq!(waves.halt(&0).map(|halt| &halt.also), Some(&BTreeSet::from([8])));
    // Taking out is not halted.
    assert!(take(&mut waves, 7, true));
    waves.finish(&0, &7);
    // The same revision and generation: still halted.
    waves.revise(&0, "uid", ("one", 1), || memory(Stage::Rolling));
    assert!(put(&mut waves, 9).is_err());
    waves.revise(&0, "uid", ("one", 2), || memory(Stage::Rolling));
    assert_eq!(put(&mut waves, 9), Err(vec![(0, Wait::Canary(vec![7]))]));
    // One of the same name that was made anew knows nothing of it.
    waves.revise(&0, "another", ("one", 2), || memory(Stage::Rolling));
    assert_eq!(put(&mut waves, 9), Err(vec![(0, Wait::Canary(vec![3]))]));
}

/// Where it failed is tried alone, whoever else would be a canary, and so it is for whoever starts in between.
#[test]
fn where_it_failed_comes_alone() {
    let several = |_: &u8| (candidates(&0).0, 3);
    let put = |waves: &mut Test, workload: u8| {
        waves.ask(&workload, &[Request { sidecar: 0, removing: false, at_once: false }], &FLIGHT, several)
    };
    let mut before = waves(Stage::Rolling, 9);
    assert_eq!(put(&mut before, 7), Ok(()));
    assert!(before.fail(&0, &7, "it crashed"));
    before.revise(&0, "uid", ("two", 2), || memory(Stage::Rolling));
    assert_eq!(before.failure(&0), Some((&7, "it crashed")));
    let mut after = Test::default();
    let failed = Some((7, "it crashed".to_owned()));
    let memory = Memory { revision: "two".into(), generation: 2, stage: Stage::Canary, failed };
    after.revise(&0, "uid", ("two", 2), || memory);
    after.allow(&0, 9);
    for mut waves in [before, after] {
        assert_eq!(put(&mut waves, 3), Err(vec![(0, Wait::Canary(vec![7]))]));
        assert_eq!(waves.wake(), [7]);
        assert_eq!(put(&mut waves, 7), Ok(()));
        waves.finish(&0, &7);
        assert_eq!(waves.failure(&0), None);
        assert_eq!(put(&mut waves, 9), Err(vec![(0, Wait::Canary(vec![3, 4, 7]))]));
        assert_eq!(waves.wake(), [3, 4]);
    }
}

/// What somebody else moves while the program starts takes a place, and is not changed on top of that.
#[test]
fn what_is_found_under_way_may_not_be_changed_before_there_is_room() {
    let mut waves = waves(Stage::Rolling, 2);
    for workload in [3, 4, 5, 6] {
        waves.find(&0, &workload, &Flight { revision: "unknown".into(), removing: true, ..FLIGHT });
    }
    assert_eq!(put(&mut waves, 3), Err(vec![(0, Wait::Full(2))]));
    waves.finish(&0, &5);
    waves.finish(&0, &6);
    assert_eq!(put(&mut waves, 3), Ok(()));
    assert_eq!(put(&mut waves, 7), Err(vec![(0, Wait::Full(2))]));
}

/// What is left of a LogSidecar that is gone is taken out a few at a time, too.
#[test]
fn what_nobody_asks_for_any_more_has_a_budget_as_well() {
    let mut waves = Test::default();
    let taken = (0..10).filter(|workload| take(&mut waves, *workload, false)).count();
    assert_eq!(taken, UNKNOWN);
    waves.finish(&0, &0);
    assert_eq!(waves.wake(), [5]);
}

#[test]
fn whoever_is_behind_does_not_turn_a_wave_back() {
    let mut waves = waves(Stage::Rolling, 1);
    waves.revise(&0, "uid", ("two", 2), || memory(Stage::Rolling));
    waves.revise(&0, "uid", ("one", 1), || memory(Stage::Rolling));
    assert_eq!(waves.state(&0).map(|state| state.0), Some("two"));
}

#[test]
fn what_was_known_before_a_restart_is_still_known() {
    let halted = waves(Stage::Halted, 1);
    assert_eq!(halted.halt(&0), Some(&Halt { recorded: true, ..halt(3) }));
    assert_eq!(put(&mut waves(Stage::Rolling, 1), 9), Ok(()));
    assert_eq!(put(&mut waves(Stage::Canary, 1), 9), Err(vec![(0, Wait::Canary(vec![3]))]));
    let mut waves = waves(Stage::Rolling, 1);
    waves.revise(&0, "uid", ("two", 2), || memory(Stage::Rolling));
    assert_eq!(put(&mut waves, 9), Err(vec![(0, Wait::Canary(vec![3]))]));
}

#[test]
fn a_workload_takes_a_place_in_every_wave_that_changes_it_or_in_none() {
    let mut waves = waves(Stage::Rolling, 1);
    waves.revise(&1, "uid", ("one", 1), || memory(Stage::Rolling));
    waves.allow(&1, 1);
    assert_eq!(put(&mut waves, 4), Ok(()));
    let both = [0, 1].map(|sidecar| Request { sidecar, removing: false, at_once: false });
    assert_eq!(waves.ask(&5, &both, &FLIGHT, candidates), Err(vec![(0, Wait::Full(1))]));
    assert_eq!(waves.state(&1).map(|state| state.3), Some(0));
    waves.finish(&0, &4);
    assert_eq!(waves.wake(), [5]);
    assert_eq!(waves.ask(&5, &both, &FLIGHT, candidates), Ok(()));
    assert_eq!(waves.flights(&5).count(), 2);
}

#[test]
fn an_old_flight_says_nothing_about_a_new_revision() {
    let mut waves = waves(Stage::Rolling, 2);
    assert_eq!(put(&mut waves, 4), Ok(()));
    waves.revise(&0, "uid", ("two", 2), || memory(Stage::Rolling));
    assert!(!waves.fail(&0, &4, "it crashed"));
    assert_eq!(waves.halt(&0), None);
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
    fn no_more_than_allowed_are_ever_under_way(steps in steps(), limit in 1..4usize) {
        let mut waves = waves(Stage::Canary, limit);
        let mut generation = 1;
        for step in steps {
            match step {
                Step::Put(workload) => {
                    let halted = waves.halt(&0).is_some();
                    let went = put(&mut waves, workload).is_ok();
                    prop_assert!(!(halted && went));
                    if waves.state(&0).expect("a wave").2 == Stage::Canary && went {
                        prop_assert!(waves.is_due_canary(&0, &workload) || limit == 0);
                    }
                }
                Step::Take(workload) => drop(take(&mut waves, workload, false)),
                Step::Finish(workload) => waves.finish(&0, &workload),
                Step::Fail(workload) => drop(waves.fail(&0, &workload, "it crashed")),
                Step::Gone(workload) => waves.gone(&workload),
                Step::Revise(revision) => {
                    generation += 1;
                    waves.revise(&0, "uid", (&format!("{revision}"), generation), || memory(Stage::Canary));
                }
                Step::Wake => {
                    for workload in waves.wake() {
                        drop(put(&mut waves, workload));
                        waves.looked_at(&workload);
                    }
                }
            }
            prop_assert!(waves.state(&0).expect("a wave").3 <= limit);
        }
    }

    /// However workloads come and go, all get their turn in the end.
    #[test]
    fn everybody_gets_his_turn(steps in steps(), limit in 1..4usize) {
        let mut waves = waves(Stage::Canary, limit);
        let mut done = BTreeSet::new();
        for step in steps {
            match step {
                Step::Put(workload) => drop(put(&mut waves, workload)),
                Step::Finish(workload) => waves.finish(&0, &workload),
                Step::Gone(workload) => waves.gone(&workload),
                Step::Wake | Step::Take(_) | Step::Fail(_) | Step::Revise(_) => {}
            }
        }
        // As the controller does it: each is looked at once, then whoever is told to.
        let mut queue: Vec<u8> = (0..10).collect();
        while let Some(workload) = queue.pop() {
            let is_under_way = waves.flights(&workload).next().is_some();
            if !done.contains(&workload) && (is_under_way || put(&mut waves, workload).is_ok()) {
                waves.finish(&0, &workload);
                done.insert(workload);
            } else if done.contains(&workload) && waves.is_due_canary(&0, &workload) {
                waves.find(&0, &workload, &FLIGHT);
                waves.finish(&0, &workload);
            }
            waves.looked_at(&workload);
            queue.extend(waves.wake());
        }
        prop_assert_eq!(done.len(), 10);
    }
}
