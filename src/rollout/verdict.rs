//! Whether a workload that is under way has arrived, or has failed.
//!
//! The rules, one for each sort of workload:
//! * *Any*: done is observed, updated = replicas = available, and then the sidecar in every pod for `soak` without a restart. It has
//!   failed when a sidecar ends or cannot start, when the workload gives up (`progressDeadlineSeconds`), or when nothing has
//!   moved for that long.
//! * *Without pods* (zero replicas, `CronJob`): done as soon as it is observed. It proves nothing, so it is never a canary.
//! * *Paused, `OnDelete`*: patched at once, as nothing happens before its owner does something. It takes a place when he does, and
//!   is no canary. *With a partition*: done when the pods above it are.
//! * *Broken before we came*: never a canary, and cannot fail by staying as it is; its sidecar can. It keeps its place until that has
//!   run for `soak`, and nothing has moved for 15 s: one that was just being scaled looks the same, and is still on its way.
//! * *On its way already*, because it is new or its owner has just changed it: a canary only if nobody is available, and that it does
//!   not arrive is not blamed on the sidecar; that the sidecar fails is.
//! * *A progress deadline of 2147483647*, which means none, and kinds that know none: 600 s without any progress.
//! * *`Recreate`*: as any other, but a canary only if nobody else can be: all of its pods stop before a new one starts.
//! * *Something is taken out*: done as soon as the workload is, or has given up. That never fails, and halts nothing.

use super::{health::Health, waves::Flight};
use crate::workload::status::{Progress, WorkloadStatus};
use crate::{api::Reason, workload::ledger::Before};

/// How long nothing moves before what was broken is taken for what it is, in milliseconds.
const STILL: u64 = 15_000;

/// A flight, seen at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// How the workload is doing.
    pub standing: &'a WorkloadStatus,
    /// What its pods say about the sidecar, if they were looked at.
    pub seen: Option<&'a Health>,
    /// Whether there is a sidecar of this flight to look at in them.
    pub has_sidecar: bool,
    /// Whether some sidecar fails in these pods, perhaps that of another flight.
    pub one_fails: bool,
    /// How long the sidecar has to run, in milliseconds.
    pub soak: u64,
    /// Milliseconds since the program started.
    pub now: u64,
}

/// Judges a flight, and notes since when all is well. `None`: it is still under way; an error says why it has failed.
pub fn verdict(flight: &mut Flight, at: Moment<'_>) -> Option<Result<(), String>> {
    let Moment { standing, seen, has_sidecar, one_fails, soak, now } = at;
    let deadline = standing.deadline;
    let is_late = now.saturating_sub(flight.since) > u64::from(deadline) * 1000;
    if !has_sidecar || flight.removing || standing.pods == 0 {
        return match standing.progress {
            Progress::Done | Progress::Stuck(_) | Progress::Held(Reason::Partitioned) => Some(Ok(())),
            _ => is_late.then_some(Ok(())),
        };
    }
    if let Some(Health::Failing { cause, .. }) = seen {
        return Some(Err(cause.clone()));
    }
    let soaked = |flight: &mut Flight, runs: bool| {
        if !runs {
            flight.healthy = None;
            return is_late.then(|| Err(format!("its sidecar did not run in all pods for {deadline} s")));
        }
        (now.saturating_sub(*flight.healthy.get_or_insert(now)) >= soak).then_some(Ok(()))
    };
    match (&standing.progress, seen) {
        // Nobody is blamed for what another one has done.
        (Progress::Stuck(_), _) if one_fails => Some(Ok(())),
        // The sidecars have to have been looked at before anything else is blamed.
        (Progress::Held(Reason::Paused | Reason::OnDelete), _) | (_, None) => None,
        // Whoever makes the pods of a custom resource may call them as he likes.
        (Progress::Done | Progress::Held(_), Some(seen)) => soaked(flight, matches!(seen, Health::Running | Health::Unseen)),
        _ if is_late && flight.before != Before::Well => Some(Ok(())),
        (Progress::Stuck(_), _) if flight.before == Before::Moving => Some(Ok(())),
        (_, Some(seen)) if flight.before == Before::Broken => {
            let is_still = now.saturating_sub(flight.since) >= STILL;
            soaked(flight, *seen == Health::Running).filter(|_| is_still)
        }
        (Progress::Stuck(why), _) => Some(Err(String::from(&**why))),
        (Progress::Moving | Progress::Degraded, _) => {
            flight.healthy = None;
            let cause = format!("its pods made no progress for {deadline} s");
            is_late.then_some(if one_fails { Ok(()) } else { Err(cause) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::kind::Kind;
    use serde_json::{Value, json};

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

    fn standing(progress: Progress, spec: &Value) -> WorkloadStatus {
        let read = WorkloadStatus::of(Kind::Deployment, &json!({"spec": spec}));
        WorkloadStatus { progress, ..read }
    }

    /// What comes of a flight that sees this for so many seconds.
    fn after(seconds: u64, flight: &Flight, standing: &WorkloadStatus, seen: &Health) -> Option<Result<(), String>> {
        let mut flight = flight.clone();
        let at = |now| Moment { standing, seen: Some(seen), has_sidecar: true, one_fails: false, soak: 15_000, now };
        verdict(&mut flight, at(0)).or_else(|| verdict(&mut flight, at(seconds * 1000)))
    }

    #[allow(clippy::unnecessary_wraps, reason = "as a verdict has it")]
    fn failed(cause: &str) -> Option<Result<(), String>> {
        Some(Err(cause.to_owned()))
    }

    #[test]
    fn a_sidecar_has_to_run_for_a_while() {
        let done = standing(Progress::Done, &json!({}));
        assert_eq!(after(14, &FLIGHT, &done, &Health::Running), None);
        assert_eq!(after(15, &FLIGHT, &done, &Health::Running), Some(Ok(())));
        assert_eq!(after(600, &FLIGHT, &done, &Health::Starting), None);
        assert_eq!(after(601, &FLIGHT, &done, &Health::Starting), failed("its sidecar did not run in all pods for 600 s"));
        let failing = Health::Failing { container: "ship".into(), cause: "it has ended".into() };
        assert_eq!(after(0, &FLIGHT, &done, &failing), failed("it has ended"));
        let mut flight = FLIGHT;
        let moment = |seen, now| Moment { standing: &done, seen, has_sidecar: true, one_fails: false, soak: 15_000, now };
        // A gap begins the time anew; not having looked says nothing.
        assert_eq!(verdict(&mut flight, moment(Some(&Health::Running), 0)), None);
        assert_eq!(verdict(&mut flight, moment(None, 10_000)), None);
        assert_eq!(verdict(&mut flight, moment(Some(&Health::Starting), 12_000)), None);
        assert_eq!(verdict(&mut flight, moment(Some(&Health::Running), 14_000)), None);
        assert_eq!(verdict(&mut flight, moment(Some(&Health::Running), 28_999)), None);
        assert_eq!(verdict(&mut flight, moment(Some(&Health::Running), 29_000)), Some(Ok(())));
    }

    #[test]
    fn a_workload_that_gives_up_or_never_does_has_failed() {
        let stuck = standing(Progress::Stuck("it gave up".into()), &json!({}));
        assert_eq!(after(0, &FLIGHT, &stuck, &Health::Running), failed("it gave up"));
        let never = standing(Progress::Moving, &json!({"progressDeadlineSeconds": 2_147_483_647}));
        assert_eq!(after(600, &FLIGHT, &never, &Health::Running), None);
        assert_eq!(after(601, &FLIGHT, &never, &Health::Running), failed("its pods made no progress for 600 s"));
        let patient = standing(Progress::Moving, &json!({"progressDeadlineSeconds": 3600}));
        assert_eq!(after(3000, &FLIGHT, &patient, &Health::Running), None);
    }

    #[test]
    fn what_was_broken_before_cannot_fail_by_staying_so() {
        let broken = Flight { before: Before::Broken, ..FLIGHT };
        for progress in [Progress::Degraded, Progress::Moving, Progress::Stuck("it gave up".into())] {
            let standing = standing(progress, &json!({}));
            assert_eq!(after(14, &broken, &standing, &Health::Running), None);
            assert_eq!(after(15, &broken, &standing, &Health::Running), Some(Ok(())));
            // Nothing has been seen of the sidecar yet.
            assert_eq!(after(15, &broken, &standing, &Health::Unseen), None);
            assert_eq!(after(601, &broken, &standing, &Health::Unseen), Some(Ok(())));
            let failing = Health::Failing { container: "ship".into(), cause: "it has ended".into() };
            assert_eq!(after(0, &broken, &standing, &failing), failed("it has ended"));
        }
    }

    #[test]
    fn who_was_on_his_way_already_is_not_blamed_for_not_arriving() {
        let moving = Flight { before: Before::Moving, ..FLIGHT };
        let of = |progress| standing(progress, &json!({}));
        assert_eq!(after(600, &moving, &of(Progress::Moving), &Health::Running), None);
        assert_eq!(after(601, &moving, &of(Progress::Moving), &Health::Running), Some(Ok(())));
        assert_eq!(after(0, &moving, &of(Progress::Stuck("it gave up".into())), &Health::Running), Some(Ok(())));
        let failing = Health::Failing { container: "ship".into(), cause: "it has ended".into() };
        assert_eq!(after(0, &moving, &of(Progress::Moving), &failing), failed("it has ended"));
    }

    #[test]
    fn without_pods_it_is_done_when_it_is_observed() {
        let of = |progress| standing(progress, &json!({"replicas": 0}));
        assert_eq!(after(0, &FLIGHT, &of(Progress::Done), &Health::Unseen), Some(Ok(())));
        assert_eq!(after(15, &FLIGHT, &of(Progress::Moving), &Health::Unseen), None);
    }

    #[test]
    fn nothing_happens_to_what_its_owner_holds() {
        let held = standing(Progress::Held(Reason::Paused), &json!({}));
        assert_eq!(after(9999, &FLIGHT, &held, &Health::Running), None);
        let partitioned = standing(Progress::Held(Reason::Partitioned), &json!({}));
        assert_eq!(after(15, &FLIGHT, &partitioned, &Health::Running), Some(Ok(())));
    }

    #[test]
    fn taking_out_never_fails() {
        let removing = Flight { removing: true, ..FLIGHT };
        for (progress, seconds) in [(Progress::Done, 0), (Progress::Stuck("it gave up".into()), 0), (Progress::Moving, 601)] {
            assert_eq!(after(seconds, &removing, &standing(progress, &json!({})), &Health::Running), Some(Ok(())));
        }
        assert_eq!(after(15, &removing, &standing(Progress::Moving, &json!({})), &Health::Running), None);
    }

    #[test]
    fn nobody_is_blamed_for_another_ones_sidecar() {
        let stuck = standing(Progress::Stuck("it gave up".into()), &json!({}));
        let at = Moment { standing: &stuck, seen: Some(&Health::Running), has_sidecar: true, one_fails: true, soak: 0, now: 0 };
        assert_eq!(verdict(&mut FLIGHT.clone(), at), Some(Ok(())));
    }
}
