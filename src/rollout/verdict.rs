//! Whether a workload in flight has succeeded or failed.
//!
//! The rules, one for each sort of workload:
//! * *Any*: it has succeeded when it is observed, updated = replicas = available, and then the sidecar in every pod has run for `soak`
//!   without a restart. It has failed when a sidecar ends or cannot start, when the workload gives up (`progressDeadlineSeconds`), or
//!   when nothing has progressed for that long.
//! * *Without pods* (zero replicas, `CronJob`): done as soon as it is observed. It proves nothing, so it is never a canary.
//! * *Paused, `OnDelete`*: never a canary, and uses no budget until its owner resumes it or deletes pods. *With a partition*: done when
//!   the pods at or above the partition are updated.
//! * *Unhealthy before the change*: never a canary, and cannot fail by staying so; its sidecar can. It keeps its place until that has
//!   run for `soak` and nothing has progressed for 15 s: a workload that is being scaled looks the same, and still moves.
//! * *Moving before the change*, because it is new or its owner has just changed it: a canary only if no workload is available. That it does
//!   not arrive is not attributed to the sidecar; a failing sidecar is.
//! * *A progress deadline of 2147483647*, which means none, and kinds without one: 600 s without any progress.
//! * *`Recreate`*: as any other, but a canary only if no other can be: all of its pods stop before a new one starts.
//! * *A removal*: done as soon as the workload is, or has given up. It never fails, and halts nothing.

use std::time::{Duration, Instant};

use super::{health::SidecarHealth, in_flight::InFlight};
use crate::{
    api::Reason,
    workload::{
        ledger::Before,
        status::{Progress, WorkloadStatus},
    },
};

/// How long nothing has to progress before an unhealthy workload counts as settled.
const SETTLED: Duration = Duration::from_secs(15);

/// A workload in flight, seen at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The status of the workload.
    pub status: &'a WorkloadStatus,
    /// The health of its sidecars, if its pods were listed.
    pub health: Option<&'a SidecarHealth>,
    /// Whether its pods contain a sidecar of this rollout.
    pub has_sidecar: bool,
    /// Whether any sidecar fails in these pods, perhaps that of another rollout.
    pub any_sidecar_fails: bool,
    /// How long the sidecar has to run.
    pub soak: Duration,
    /// The current time.
    pub now: Instant,
}

/// What became of a workload in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has succeeded.
    Succeeded,
    /// It has failed: the cause, for users.
    Failed(String),
}

/// Judges a workload in flight, and notes since when all sidecars run. `None`: it is still in flight.
pub fn judge(in_flight: &mut InFlight, at: Sighting<'_>) -> Option<Verdict> {
    use Verdict::{Failed, Succeeded};
    let Sighting { status, health, has_sidecar, any_sidecar_fails, soak, now } = at;
    let deadline = status.deadline;
    let is_late = in_flight.is_late(deadline, now);
    if !has_sidecar || in_flight.removing || status.pods == 0 {
        return match status.progress {
            Progress::Done | Progress::Stuck(_) | Progress::Held(Reason::Partitioned) => Some(Succeeded),
            _ => is_late.then_some(Succeeded),
        };
    }
    if let Some(SidecarHealth::Failing { cause, .. }) = health {
        return Some(Failed(cause.clone()));
    }
    let soaked = |in_flight: &mut InFlight, runs: bool| {
        if !runs {
            in_flight.healthy_since = None;
            let cause = format!("its sidecar did not run in all pods for {} s", deadline.as_secs());
            return is_late.then_some(Failed(cause));
        }
        let since = *in_flight.healthy_since.get_or_insert(now);
        (now.saturating_duration_since(since) >= soak).then_some(Succeeded)
    };
    match (&status.progress, health) {
        // Another sidecar caused the failure; this rollout is not halted.
        (Progress::Stuck(_), _) if any_sidecar_fails => Some(Succeeded),
        // The sidecars have to be seen before anything else is the cause.
        (Progress::Held(Reason::Paused | Reason::OnDelete), _) | (_, None) => None,
        // The controller of a custom resource may name pods as it likes, so that none is found.
        (Progress::Done | Progress::Held(_), Some(health)) => {
            soaked(in_flight, matches!(health, SidecarHealth::Running | SidecarHealth::NoPods))
        }
        _ if is_late && in_flight.before != Before::Well => Some(Succeeded),
        (Progress::Stuck(_), _) if in_flight.before == Before::Moving => Some(Succeeded),
        (_, Some(health)) if in_flight.before == Before::Broken => {
            let is_settled = now.saturating_duration_since(in_flight.progressed) >= SETTLED;
            soaked(in_flight, *health == SidecarHealth::Running).filter(|_| is_settled)
        }
        (Progress::Stuck(why), _) => Some(Failed(String::from(&**why))),
        (Progress::Moving | Progress::Degraded, _) => {
            in_flight.healthy_since = None;
            let cause = format!("its pods made no progress for {} s", deadline.as_secs());
            is_late.then_some(if any_sidecar_fails { Succeeded } else { Failed(cause) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::kind::Kind;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};

    fn status(progress: Progress, spec: &Value) -> WorkloadStatus {
        let read = WorkloadStatus::of(Kind::Deployment, &json!({"spec": spec}));
        WorkloadStatus { progress, ..read }
    }

    /// A change of a workload that was in this condition.
    fn in_flight(before: Before) -> InFlight {
        let status = status(Progress::Done, &json!({}));
        let begun = InFlight::begin(&status, true, Instant::now(), Timestamp::UNIX_EPOCH);
        InFlight { written: true, before, ..begun }
    }

    /// The verdict on a workload for which this holds for so many seconds.
    fn after(seconds: u64, in_flight: &InFlight, status: &WorkloadStatus, health: &SidecarHealth) -> Option<Verdict> {
        let mut in_flight = in_flight.clone();
        let start = in_flight.progressed;
        let at = |now| Sighting { status, health: Some(health), has_sidecar: true, any_sidecar_fails: false, soak: SOAK, now };
        judge(&mut in_flight, at(start)).or_else(|| judge(&mut in_flight, at(start + Duration::from_secs(seconds))))
    }

    const SOAK: Duration = Duration::from_secs(15);

    #[allow(clippy::unnecessary_wraps, reason = "compared with what `judge` returns")]
    fn failed(cause: &str) -> Option<Verdict> {
        Some(Verdict::Failed(cause.to_owned()))
    }

    fn failing() -> SidecarHealth {
        SidecarHealth::Failing { container: "ship".into(), cause: "it has ended".into() }
    }

    #[test]
    fn sidecar_has_to_run_for_the_soak_time() {
        let (well, done) = (in_flight(Before::Well), status(Progress::Done, &json!({})));
        assert_eq!(after(14, &well, &done, &SidecarHealth::Running), None);
        assert_eq!(after(15, &well, &done, &SidecarHealth::Running), Some(Verdict::Succeeded));
        assert_eq!(after(600, &well, &done, &SidecarHealth::Starting), None);
        assert_eq!(after(601, &well, &done, &SidecarHealth::Starting), failed("its sidecar did not run in all pods for 600 s"));
        assert_eq!(after(0, &well, &done, &failing()), failed("it has ended"));
    }

    #[test]
    fn restart_of_the_soak_time_and_missing_evidence() {
        let (mut well, done) = (in_flight(Before::Well), status(Progress::Done, &json!({})));
        let start = well.progressed;
        let at = |health, millis| Sighting {
            status: &done,
            health,
            has_sidecar: true,
            any_sidecar_fails: false,
            soak: SOAK,
            now: start + Duration::from_millis(millis),
        };
        // A gap begins the soak time anew; not having listed the pods says nothing.
        assert_eq!(judge(&mut well, at(Some(&SidecarHealth::Running), 0)), None);
        assert_eq!(judge(&mut well, at(None, 10_000)), None);
        assert_eq!(judge(&mut well, at(Some(&SidecarHealth::Starting), 12_000)), None);
        assert_eq!(judge(&mut well, at(Some(&SidecarHealth::Running), 14_000)), None);
        assert_eq!(judge(&mut well, at(Some(&SidecarHealth::Running), 28_999)), None);
        assert_eq!(judge(&mut well, at(Some(&SidecarHealth::Running), 29_000)), Some(Verdict::Succeeded));
    }

    #[test]
    fn workload_that_gives_up_or_never_does_has_failed() {
        let well = in_flight(Before::Well);
        let stuck = status(Progress::Stuck("it gave up".into()), &json!({}));
        assert_eq!(after(0, &well, &stuck, &SidecarHealth::Running), failed("it gave up"));
        let never = status(Progress::Moving, &json!({"progressDeadlineSeconds": 2_147_483_647}));
        assert_eq!(after(600, &well, &never, &SidecarHealth::Running), None);
        assert_eq!(after(601, &well, &never, &SidecarHealth::Running), failed("its pods made no progress for 600 s"));
        let patient = status(Progress::Moving, &json!({"progressDeadlineSeconds": 3600}));
        assert_eq!(after(3000, &well, &patient, &SidecarHealth::Running), None);
    }

    #[test]
    fn unhealthy_workload_cannot_fail_by_staying_so() {
        let broken = in_flight(Before::Broken);
        for progress in [Progress::Degraded, Progress::Moving, Progress::Stuck("it gave up".into())] {
            let status = status(progress, &json!({}));
            assert_eq!(after(14, &broken, &status, &SidecarHealth::Running), None);
            assert_eq!(after(15, &broken, &status, &SidecarHealth::Running), Some(Verdict::Succeeded));
            // The sidecar has not been seen yet.
            assert_eq!(after(15, &broken, &status, &SidecarHealth::NoPods), None);
            assert_eq!(after(601, &broken, &status, &SidecarHealth::NoPods), Some(Verdict::Succeeded));
            assert_eq!(after(0, &broken, &status, &failing()), failed("it has ended"));
        }
    }

    #[test]
    fn moving_workload_need_not_arrive() {
        let moving = in_flight(Before::Moving);
        let of = |progress| status(progress, &json!({}));
        assert_eq!(after(600, &moving, &of(Progress::Moving), &SidecarHealth::Running), None);
        assert_eq!(after(601, &moving, &of(Progress::Moving), &SidecarHealth::Running), Some(Verdict::Succeeded));
        let stuck = of(Progress::Stuck("it gave up".into()));
        assert_eq!(after(0, &moving, &stuck, &SidecarHealth::Running), Some(Verdict::Succeeded));
        assert_eq!(after(0, &moving, &of(Progress::Moving), &failing()), failed("it has ended"));
    }

    #[test]
    fn workload_without_pods_is_done_when_it_is_observed() {
        let of = |progress| status(progress, &json!({"replicas": 0}));
        let well = in_flight(Before::Well);
        assert_eq!(after(0, &well, &of(Progress::Done), &SidecarHealth::NoPods), Some(Verdict::Succeeded));
        assert_eq!(after(15, &well, &of(Progress::Moving), &SidecarHealth::NoPods), None);
    }

    #[test]
    fn workload_that_its_owner_holds_stays_in_flight() {
        let well = in_flight(Before::Well);
        let held = status(Progress::Held(Reason::Paused), &json!({}));
        assert_eq!(after(9999, &well, &held, &SidecarHealth::Running), None);
        let partitioned = status(Progress::Held(Reason::Partitioned), &json!({}));
        assert_eq!(after(15, &well, &partitioned, &SidecarHealth::Running), Some(Verdict::Succeeded));
    }

    #[test]
    fn removal_never_fails() {
        let removing = InFlight { removing: true, ..in_flight(Before::Well) };
        for (progress, seconds) in [(Progress::Done, 0), (Progress::Stuck("it gave up".into()), 0), (Progress::Moving, 601)] {
            let status = status(progress, &json!({}));
            assert_eq!(after(seconds, &removing, &status, &SidecarHealth::Running), Some(Verdict::Succeeded));
        }
        assert_eq!(after(15, &removing, &status(Progress::Moving, &json!({})), &SidecarHealth::Running), None);
    }

    #[test]
    fn failure_of_another_sidecar_halts_nothing() {
        let stuck = status(Progress::Stuck("it gave up".into()), &json!({}));
        let mut well = in_flight(Before::Well);
        let at = Sighting {
            status: &stuck,
            health: Some(&SidecarHealth::Running),
            has_sidecar: true,
            any_sidecar_fails: true,
            soak: Duration::ZERO,
            now: well.progressed,
        };
        assert_eq!(judge(&mut well, at), Some(Verdict::Succeeded));
    }
}
