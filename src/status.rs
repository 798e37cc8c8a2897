//! `status` of a `LogSidecar` as a pure function of what was observed: no client, no clock, and nothing in it that changes
//! from one look to the next while the world stays the same.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::{LogSidecarStatus, Reason, ReasonClass, RolloutStatus, Stage, TargetStatus, condition},
    workload::kind::Kind,
};

/// How many targets are listed in status; the counters count them all.
const LISTED: usize = 20;

/// A workload in the namespace of the `LogSidecar`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What the last look at a target found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// One word.
    pub reason: Reason,
    /// A sentence; empty where the word says it all.
    pub message: String,
    /// Whether the template holds something of the `LogSidecar`.
    pub injected: bool,
}

impl Outcome {
    /// An outcome without more to say.
    #[must_use]
    pub fn new(reason: Reason, injected: bool) -> Self {
        Self { reason, message: String::new(), injected }
    }
}

/// The `LogSidecar` as far as its status needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.target.kind`.
    pub kind: &'a str,
    /// Whether the controller acts on that kind.
    pub is_supported: bool,
    /// Where its rollout is.
    pub rollout: &'a RolloutStatus,
    /// What those wait for whose turn has not come.
    pub turn: &'a str,
    /// `spec.target.name`.
    pub target: Option<&'a str>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Why this controller cannot read it.
    pub unreadable: Option<&'a str>,
}

/// Sums up the outcomes of all targets.
///
/// Guarantees: the same input gives the same status, byte for byte; a condition keeps its `lastTransitionTime` while its
/// `status` stays; `now` is used for those that change and nothing else.
#[must_use]
pub fn status(
    subject: Subject<'_>,
    outcomes: &BTreeMap<Target, Outcome>,
    previous: &LogSidecarStatus,
    now: &Time,
) -> LogSidecarStatus {
    let count = |of: &dyn Fn(&Outcome) -> bool| u32::try_from(outcomes.values().filter(|o| of(o)).count()).unwrap_or(u32::MAX);
    let verdict = verdict(subject, outcomes);
    let set = |kind: &str, holds: bool, (reason, message): &(Reason, String)| {
        let status = if holds { "True" } else { "False" };
        let kept = previous.conditions.iter().find(|old| old.type_ == kind && old.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.clone(),
            observed_generation: Some(subject.generation),
            last_transition_time: kept.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
        }
    };
    let accepted = if subject.unreadable.is_none() && subject.is_supported {
        (Reason::Accepted, String::new())
    } else {
        (verdict.why.0, verdict.why.1.clone())
    };
    let mut worst: Vec<(&Target, &Outcome)> = outcomes.iter().collect();
    // Stable: of one class, by kind and name.
    worst.sort_by_key(|(_, outcome)| outcome.reason.class());
    LogSidecarStatus {
        observed_generation: subject.generation,
        conditions: vec![
            set(condition::READY, verdict.ready, &verdict.why),
            set(condition::RECONCILING, verdict.reconciling, &verdict.why),
            set(condition::STALLED, verdict.stalled, &verdict.why),
            set(condition::ACCEPTED, accepted.0 == Reason::Accepted, &accepted),
        ],
        matched: count(&|_| true),
        injected: count(&|outcome| outcome.injected),
        available: count(&|outcome| outcome.reason == Reason::Available),
        refused: count(&|outcome| outcome.reason.class() == ReasonClass::Refused),
        pending: count(&|outcome| matches!(outcome.reason.class(), ReasonClass::Pending | ReasonClass::Failing)),
        halted: count(&|outcome| outcome.reason.class() == ReasonClass::Halted),
        rollout: subject.rollout.clone(),
        targets: worst.into_iter().take(LISTED).map(|(target, outcome)| listed(target, outcome, subject.turn)).collect(),
    }
}

struct Verdict {
    ready: bool,
    reconciling: bool,
    stalled: bool,
    why: (Reason, String),
}

impl Verdict {
    fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: true, reconciling: false, stalled: false, why: (reason, message.into()) }
    }

    fn reconciling(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: false, reconciling: true, stalled: false, why: (reason, message.into()) }
    }

    fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: false, reconciling: false, stalled: true, why: (reason, message.into()) }
    }
}

/// The worst outcome decides: refused before failing before pending.
fn verdict(subject: Subject<'_>, outcomes: &BTreeMap<Target, Outcome>) -> Verdict {
    if let Some(error) = subject.unreadable.filter(|_| !subject.deleting) {
        let message = format!("this controller cannot read the object, which may be newer than it: {}", shortened(error));
        return Verdict::stalled(Reason::Unreadable, message);
    }
    if !subject.is_supported {
        let message = format!(
            "the controller does not act on kind {}: put the sidecar in with `logsidecar inject`, or set the controller up for it with --workload-kind",
            subject.kind
        );
        return Verdict::stalled(Reason::KindNotSupported, message);
    }
    if subject.deleting {
        let message = format!("{} still to be cleaned{}", workloads(outcomes.len()), example(outcomes.iter().next()));
        return Verdict::reconciling(Reason::Removing, message);
    }
    if subject.suspended {
        return Verdict::ready(Reason::Suspended, "spec.suspend is true: everything is left as it is");
    }
    if let Some(halted) = subject.rollout.halted_at.as_ref().filter(|_| subject.rollout.stage == Stage::Halted) {
        let waiting = outcomes.values().filter(|outcome| outcome.reason == Reason::Halted).count();
        let message = format!(
            "halted at {} {}: {}; {} left as they are: correct the LogSidecar, any change of its spec is another try",
            halted.kind,
            halted.name,
            shortened(&halted.cause),
            workloads(waiting),
        );
        return Verdict::stalled(Reason::Halted, message);
    }
    let worst = outcomes.iter().min_by_key(|(target, outcome)| (outcome.reason.class(), *target));
    let Some((target, outcome)) = worst else {
        return match subject.target {
            Some(name) => Verdict::reconciling(Reason::TargetNotFound, format!("there is no {} {name} yet", subject.kind)),
            None => Verdict::ready(Reason::NoTargets, format!("no {} has these labels", subject.kind)),
        };
    };
    let of = |class: ReasonClass| outcomes.values().filter(|outcome| outcome.reason.class() == class).count();
    let told =
        |class: ReasonClass| format!("{} of {}{}", of(class), workloads(outcomes.len()), example(Some((target, outcome))));
    match outcome.reason.class() {
        // Others may still be on their way, but waiting cannot make this one ready.
        ReasonClass::Refused if outcomes.len() == 1 => Verdict::stalled(outcome.reason, told(ReasonClass::Refused)),
        ReasonClass::Refused => Verdict::stalled(Reason::Refused, told(ReasonClass::Refused)),
        ReasonClass::Failing => Verdict::reconciling(outcome.reason, told(ReasonClass::Failing)),
        ReasonClass::Halted => Verdict::stalled(Reason::Halted, told(ReasonClass::Halted)),
        ReasonClass::Pending => Verdict::reconciling(Reason::Progressing, told(ReasonClass::Pending)),
        ReasonClass::Planned => {
            let message =
                format!("nothing is changed, as spec.rollout.mode is Plan: it would be for {}", told(ReasonClass::Planned));
            Verdict::ready(Reason::Planned, message)
        }
        ReasonClass::LeftAlone | ReasonClass::Done => {
            let available = outcomes.values().filter(|outcome| outcome.reason == Reason::Available).count();
            let reason = if available == 0 { outcome.reason } else { Reason::Available };
            Verdict::ready(reason, format!("{available} of {} available", workloads(outcomes.len())))
        }
    }
}

fn workloads(count: usize) -> String {
    if count == 1 { "1 workload".to_owned() } else { format!("{count} workloads") }
}

fn example(of: Option<(&Target, &Outcome)>) -> String {
    of.map(|(target, outcome)| {
        let message = if outcome.message.is_empty() { String::new() } else { format!(": {}", shortened(&outcome.message)) };
        format!(", such as {} {} ({}{message})", target.kind, target.name, outcome.reason)
    })
    .unwrap_or_default()
}

fn listed(target: &Target, outcome: &Outcome, turn: &str) -> TargetStatus {
    let message = if outcome.reason == Reason::Queued && outcome.message.is_empty() { turn } else { &outcome.message };
    TargetStatus {
        kind: target.kind.name().to_owned(),
        name: target.name.clone(),
        reason: outcome.reason.as_str().to_owned(),
        message: shortened(message),
    }
}

fn shortened(message: &str) -> String {
    if message.chars().count() <= 500 {
        return message.to_owned();
    }
    message.chars().take(499).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::HaltedTarget;

    const ROLLING: RolloutStatus =
        RolloutStatus { revision: String::new(), generation: 3, stage: Stage::Rolling, under_way: 0, halted_at: None };

    const SUBJECT: Subject<'_> = Subject {
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

    fn outcomes(reasons: &[Reason]) -> BTreeMap<Target, Outcome> {
        let named = |(index, reason): (usize, &Reason)| {
            (Target { kind: Kind::Deployment, name: format!("web-{index:03}") }, Outcome::new(*reason, true))
        };
        reasons.iter().enumerate().map(named).collect()
    }

    /// `Ready`, `Reconciling`, `Stalled`, and the reason.
    fn conditions(subject: Subject<'_>, reasons: &[Reason]) -> (String, String) {
        let status = status(subject, &outcomes(reasons), &LogSidecarStatus::default(), &time(0));
        let states: Vec<&str> = status.conditions.iter().take(3).map(|condition| condition.status.as_str()).collect();
        (states.join(" "), status.conditions[0].reason.clone())
    }

    #[test]
    fn conditions_say_whether_waiting_helps() {
        let named = Subject { target: Some("web"), ..SUBJECT };
        let halted_at =
            HaltedTarget { api_group: "apps".into(), kind: "Deployment".into(), name: "web".into(), cause: "x".into() };
        let halted = RolloutStatus { stage: Stage::Halted, halted_at: Some(halted_at), ..ROLLING };
        let halted = Subject { rollout: &halted, ..SUBJECT };
        let table = [
            (SUBJECT, vec![], "True False False", "NoTargets"),
            (halted, vec![Reason::RolloutFailed, Reason::Halted], "False False True", "Halted"),
            (Subject { deleting: true, ..halted }, vec![Reason::Removing], "False True False", "Removing"),
            (SUBJECT, vec![Reason::Available, Reason::Queued], "False True False", "Progressing"),
            (SUBJECT, vec![Reason::Available, Reason::Planned], "True False False", "Planned"),
            (SUBJECT, vec![Reason::OnDelete], "True False False", "OnDelete"),
            (named, vec![], "False True False", "TargetNotFound"),
            (SUBJECT, vec![Reason::Available, Reason::Available], "True False False", "Available"),
            (SUBJECT, vec![Reason::Available, Reason::Paused, Reason::OptedOut], "True False False", "Available"),
            (SUBJECT, vec![Reason::Paused], "True False False", "Paused"),
            (SUBJECT, vec![Reason::Available, Reason::RollingOut], "False True False", "Progressing"),
            (SUBJECT, vec![Reason::RollingOut, Reason::Retrying], "False True False", "Retrying"),
            (SUBJECT, vec![Reason::RollingOut, Reason::ContainerNotFound], "False False True", "Refused"),
            (named, vec![Reason::ContainerNotFound], "False False True", "ContainerNotFound"),
            (Subject { suspended: true, ..SUBJECT }, vec![Reason::Suspended], "True False False", "Suspended"),
            (Subject { deleting: true, ..SUBJECT }, vec![Reason::Removing], "False True False", "Removing"),
            (Subject { kind: "Pod", is_supported: false, ..SUBJECT }, vec![], "False False True", "KindNotSupported"),
            (Subject { unreadable: Some("x"), ..SUBJECT }, vec![Reason::Unreadable], "False False True", "Unreadable"),
        ];
        for (subject, reasons, states, reason) in table {
            assert_eq!(conditions(subject, &reasons), (states.to_owned(), reason.to_owned()), "{reasons:?}");
        }
    }

    #[test]
    fn only_what_changes_gets_a_new_time_and_the_rest_is_stable() {
        let first = status(SUBJECT, &outcomes(&[Reason::RollingOut]), &LogSidecarStatus::default(), &time(1));
        assert_eq!(status(SUBJECT, &outcomes(&[Reason::RollingOut]), &first, &time(2)), first);
        let done = status(SUBJECT, &outcomes(&[Reason::Available]), &first, &time(3));
        let times: Vec<&Time> = done.conditions.iter().map(|condition| &condition.last_transition_time).collect();
        assert_eq!(times, [&time(3), &time(3), &time(1), &time(1)]);
    }

    #[test]
    fn status_is_bounded_and_lists_the_worst_first() {
        let mut reasons = vec![Reason::Available; 500];
        reasons.extend([Reason::RollingOut, Reason::ContainerNotFound]);
        let status = status(SUBJECT, &outcomes(&reasons), &LogSidecarStatus::default(), &time(0));
        let counters = (status.matched, status.injected, status.available, status.refused, status.pending);
        assert_eq!(counters, (502, 502, 500, 1, 1));
        let listed: Vec<&str> = status.targets.iter().map(|target| target.reason.as_str()).collect();
        assert_eq!((listed.len(), &listed[..3]), (20, &["ContainerNotFound", "RollingOut", "Available"][..]));
    }
}
