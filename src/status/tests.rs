//! The status for tables of outcomes.

use super::*;
use crate::{
    api::{HaltedTarget, Stage},
    workload::kind::Kind,
};

const ROLLING: RolloutStatus =
    RolloutStatus { revision: String::new(), generation: 3, stage: Stage::Rolling, under_way: 0, halted_at: None };

const FACTS: LogSidecarFacts<'_> = LogSidecarFacts {
    generation: 3,
    kind: "Deployment",
    is_supported: true,
    rollout: &ROLLING,
    turn: "waits",
    target: None,
    suspended: false,
    deleting: false,
    unreadable: None,
};

fn time(second: i64) -> Time {
    serde_json::from_value(format!("2026-01-01T00:00:{second:02}Z").into()).expect("a time")
}

fn outcomes(reasons: &[Reason]) -> BTreeMap<WorkloadId, TargetOutcome> {
    let named = |(index, reason): (usize, &Reason)| {
        (
            WorkloadId { kind: Kind::Deployment, name: format!("web-{index:03}").as_str().into() },
            TargetOutcome::new(*reason, true),
        )
    };
    reasons.iter().enumerate().map(named).collect()
}

/// `Ready`, `Reconciling`, `Stalled`, and the reason.
fn conditions(facts: LogSidecarFacts<'_>, reasons: &[Reason]) -> (String, String) {
    let status = status(facts, &outcomes(reasons), &LogSidecarStatus::default(), &time(0));
    let states: Vec<&str> = status.conditions.iter().take(3).map(|condition| condition.status.as_str()).collect();
    (states.join(" "), status.conditions[0].reason.clone())
}

#[test]
fn conditions_say_whether_waiting_helps() {
    let named = LogSidecarFacts { target: Some("web"), ..FACTS };
    let halted_at = HaltedTarget { api_group: "apps".into(), kind: "Deployment".into(), name: "web".into(), cause: "x".into() };
    let halted = RolloutStatus { stage: Stage::Halted, halted_at: Some(halted_at), ..ROLLING };
    let halted = LogSidecarFacts { rollout: &halted, ..FACTS };
    let table = [
        (FACTS, vec![], "True False False", "NoTargets"),
        (halted, vec![Reason::RolloutFailed, Reason::Halted], "False False True", "Halted"),
        (LogSidecarFacts { deleting: true, ..halted }, vec![Reason::Removing], "False True False", "Removing"),
        (FACTS, vec![Reason::Available, Reason::Queued], "False True False", "Progressing"),
        (FACTS, vec![Reason::Available, Reason::Planned], "True False False", "Planned"),
        (FACTS, vec![Reason::OnDelete], "True False False", "OnDelete"),
        (named, vec![], "False True False", "TargetNotFound"),
        (FACTS, vec![Reason::Available, Reason::Available], "True False False", "Available"),
        (FACTS, vec![Reason::Available, Reason::Paused, Reason::OptedOut], "True False False", "Available"),
        (FACTS, vec![Reason::Paused], "True False False", "Paused"),
        (FACTS, vec![Reason::Available, Reason::RollingOut], "False True False", "Progressing"),
        (FACTS, vec![Reason::RollingOut, Reason::Retrying], "False True False", "Retrying"),
        (FACTS, vec![Reason::RollingOut, Reason::ContainerNotFound], "False False True", "Refused"),
        (named, vec![Reason::ContainerNotFound], "False False True", "ContainerNotFound"),
        (LogSidecarFacts { suspended: true, ..FACTS }, vec![Reason::Suspended], "True False False", "Suspended"),
        (LogSidecarFacts { deleting: true, ..FACTS }, vec![Reason::Removing], "False True False", "Removing"),
        (LogSidecarFacts { kind: "Pod", is_supported: false, ..FACTS }, vec![], "False False True", "KindNotSupported"),
        (LogSidecarFacts { unreadable: Some("x"), ..FACTS }, vec![Reason::Unreadable], "False False True", "Unreadable"),
    ];
    for (facts, reasons, states, reason) in table {
        assert_eq!(conditions(facts, &reasons), (states.to_owned(), reason.to_owned()), "{reasons:?}");
    }
}

#[test]
fn only_what_changes_gets_a_new_time_and_the_rest_is_stable() {
    let first = status(FACTS, &outcomes(&[Reason::RollingOut]), &LogSidecarStatus::default(), &time(1));
    assert_eq!(status(FACTS, &outcomes(&[Reason::RollingOut]), &first, &time(2)), first);
    let done = status(FACTS, &outcomes(&[Reason::Available]), &first, &time(3));
    let times: Vec<&Time> = done.conditions.iter().map(|condition| &condition.last_transition_time).collect();
    assert_eq!(times, [&time(3), &time(3), &time(1), &time(1)]);
}

#[test]
fn status_is_bounded_and_lists_the_worst_first() {
    let mut reasons = vec![Reason::Available; 500];
    reasons.extend([Reason::RollingOut, Reason::ContainerNotFound]);
    let status = status(FACTS, &outcomes(&reasons), &LogSidecarStatus::default(), &time(0));
    let counters = (status.matched, status.injected, status.available, status.refused, status.pending);
    assert_eq!(counters, (502, 502, 500, 1, 1));
    let listed: Vec<&str> = status.targets.iter().map(|target| target.reason.as_str()).collect();
    assert_eq!((listed.len(), &listed[..3]), (20, &["ContainerNotFound", "RollingOut", "Available"][..]));
}
