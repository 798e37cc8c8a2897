//! Tracks what is in flight at a workload until it has succeeded or failed: by the workload's own status, which a watch shows, and by its
//! pods, which are listed while that lasts. The verdict is made in [`crate::rollout::verdict`].

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::WorkloadReconciler;
use crate::{
    api::Reason,
    cluster::request::{list_map, objects},
    decide::log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    operator::{rollouts::entry, store::LogSidecars},
    rollout::{
        health::{PodOwner, SidecarHealth, sidecar_health},
        in_flight::InFlight,
        verdict::{Sighting, Verdict, judge},
    },
    workload::{kind::Kind, snapshot::Workload, status::Progress},
};

/// The delay of the status after a verdict.
const REPORT: Duration = Duration::from_millis(300);

/// How often the pods of a workload in flight are listed; less often where many are in flight.
const PROBE: Duration = Duration::from_secs(2);

/// How many lists of pods a second there are at most, in all.
const PROBES_PER_SECOND: u32 = 25;

/// The pods are not listed again within this time, however many events arrive.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// One workload in flight for one `LogSidecar`.
struct Tracked<'a> {
    sidecar: &'a Arc<ValidatedLogSidecar>,
    in_flight: InFlight,
    /// The containers of the `LogSidecar` in the pods.
    containers: Vec<&'a str>,
}

impl Tracked<'_> {
    /// Whether the pods say anything about it.
    fn is_visible(&self, workload: &Workload) -> bool {
        !self.in_flight.removing && !self.containers.is_empty() && workload.status.pods > 0
    }
}

impl WorkloadReconciler {
    /// Tracks what is in flight at a workload. Returns when to reconcile it again at the latest; `None` if watch events suffice.
    pub(super) async fn track(&self, workload: &Arc<Workload>, log_sidecars: &LogSidecars) -> Option<Duration> {
        let now = Instant::now().into_std();
        let mut tracked = self.tracked(workload, log_sidecars, now);
        if tracked.is_empty() {
            return self.poll(workload);
        }
        let replaces_pods = workload.replaces_pods();
        for one in &mut tracked {
            one.in_flight.counts = replaces_pods;
            one.in_flight.note_progress(workload.status.counts(), now);
        }
        if replaces_pods || workload.key.id.kind == Kind::CronJob {
            let pods = self.probe(workload, &mut tracked, now).await;
            self.judge_all(workload, log_sidecars, &mut tracked, pods.as_deref(), now);
        }
        let mut scheduler = self.rollouts.scheduler();
        for one in &tracked {
            scheduler.update(&one.sidecar.key, &workload.key, |in_flight| in_flight.clone_from(&one.in_flight));
        }
        drop(scheduler);
        self.poll(workload)
    }

    /// What is in flight and written. A change for a `LogSidecar` that is gone ends when the workload has settled, or is late.
    fn tracked<'a>(&self, workload: &'a Workload, log_sidecars: &'a LogSidecars, now: std::time::Instant) -> Vec<Tracked<'a>> {
        let mut scheduler = self.rollouts.scheduler();
        let in_flight: Vec<(LogSidecarKey, InFlight)> =
            scheduler.in_flight(&workload.key).map(|(sidecar, in_flight)| (sidecar.clone(), in_flight.clone())).collect();
        let mut tracked = Vec::new();
        for (key, in_flight) in in_flight.into_iter().filter(|(_, in_flight)| in_flight.written) {
            if let Some(sidecar) = log_sidecars.iter().find(|sidecar| sidecar.key == key) {
                let containers = entry(workload, sidecar).map(|entry| entry.containers.iter().map(|name| &**name).collect());
                tracked.push(Tracked { sidecar, in_flight, containers: containers.unwrap_or_default() });
            } else if workload.status.progress != Progress::Moving || in_flight.is_late(workload.status.deadline, now) {
                scheduler.finish(&key, &workload.key);
                scheduler.forget_finished(&key);
            }
        }
        tracked
    }

    fn judge_all(
        &self,
        workload: &Arc<Workload>,
        log_sidecars: &LogSidecars,
        tracked: &mut [Tracked<'_>],
        pods: Option<&[Value]>,
        now: std::time::Instant,
    ) {
        let health: Vec<Option<SidecarHealth>> = tracked.iter().map(|one| health_of(workload, one, pods)).collect();
        let any_sidecar_fails = health.iter().any(|health| matches!(health, Some(SidecarHealth::Failing { .. })))
            || log_sidecars.iter().any(|sidecar| self.has_failed_here(sidecar, workload));
        for (one, health) in tracked.iter_mut().zip(health) {
            let has_sidecar = one.is_visible(workload);
            let soak = one.sidecar.settings.soak;
            let at = Sighting { status: &workload.status, health: health.as_ref(), has_sidecar, any_sidecar_fails, soak, now };
            let Some(verdict) = judge(&mut one.in_flight, at) else { continue };
            self.record_verdict(workload, one, verdict, has_sidecar);
        }
    }

    fn record_verdict(&self, workload: &Arc<Workload>, one: &Tracked<'_>, verdict: Verdict, has_sidecar: bool) {
        let (sidecar, key) = (&one.sidecar.key, &workload.key);
        match verdict {
            // Without a sidecar in running pods there is no evidence: not a canary.
            Verdict::Succeeded if !has_sidecar && !one.in_flight.removing => {
                self.rollouts.scheduler().abandon_inconclusive(sidecar, key);
            }
            Verdict::Succeeded => {
                self.metrics.rolled_out(true, seconds_since(one.in_flight.began));
                self.rollouts.scheduler().finish(sidecar, key);
            }
            Verdict::Failed(cause) => {
                self.metrics.rolled_out(false, seconds_since(one.in_flight.began));
                self.fail(workload, one.sidecar, &cause);
            }
        }
        // How many are in flight is in its status.
        self.work.log_sidecars.add_after(sidecar.clone(), REPORT);
    }

    fn fail(&self, workload: &Arc<Workload>, sidecar: &ValidatedLogSidecar, cause: &str) {
        let (halts, queued) = {
            let mut scheduler = self.rollouts.scheduler();
            (scheduler.fail(&sidecar.key, &workload.key, cause), scheduler.queued(&sidecar.key))
        };
        if halts {
            tracing::warn!(workload = %workload.key, sidecar = sidecar.key.name.as_str(), reason = %Reason::Halted, "{cause}");
            self.events.emit(workload, &sidecar.key.name, Reason::Halted, cause.to_owned());
            // What they wait for is something else now.
            queued.into_iter().for_each(|key| self.work.workloads.add(key));
        }
    }

    /// Returns the polling interval of a workload in flight; `None` if nothing is. A watch shows neither the health of its sidecars nor a
    /// lack of progress.
    pub(super) fn poll(&self, workload: &Workload) -> Option<Duration> {
        let scheduler = self.rollouts.scheduler();
        let is_in_flight = scheduler.in_flight(&workload.key).any(|(_, in_flight)| in_flight.written && in_flight.counts);
        let deadline = workload.status.deadline + PROBE;
        is_in_flight.then(|| if workload.status.pods == 0 { deadline } else { pause(scheduler.total_in_flight()) })
    }

    fn has_failed_here(&self, sidecar: &ValidatedLogSidecar, workload: &Workload) -> bool {
        self.rollouts.scheduler().halt(&sidecar.key).is_some_and(|halt| halt.is_at(&workload.key))
    }

    /// The pods of a workload, unless they were listed just now, or nothing depends on them.
    async fn probe(&self, workload: &Workload, tracked: &mut [Tracked<'_>], now: std::time::Instant) -> Option<Vec<Value>> {
        let recently =
            |one: &Tracked<'_>| one.in_flight.probed.is_some_and(|probed| now.saturating_duration_since(probed) < PROBE_AGAIN);
        if !tracked.iter().any(|one| one.is_visible(workload) && !recently(one)) {
            return None;
        }
        tracked.iter_mut().for_each(|one| one.in_flight.probed = Some(now));
        let api = objects(&self.client, Some(&workload.key.namespace), &Kind::Pod.resource());
        let params = ListParams::default().labels(&workload.selector);
        match list_map(&api, params, |pod| reduced(&pod)).await {
            Ok(pods) => Some(pods),
            Err(error) => {
                tracing::warn!(workload = %workload.key, "cannot list its pods: {error}");
                None
            }
        }
    }
}

/// A pod without what its health does not depend on: a `DaemonSet` of five thousand nodes has as many of them.
fn reduced(pod: &DynamicObject) -> Value {
    let metadata = &pod.metadata;
    let status = |field: &str| pod.data.get("status").and_then(|status| status.get(field)).cloned().unwrap_or_default();
    json!({
        "metadata": {
            "name": metadata.name,
            "creationTimestamp": metadata.creation_timestamp,
            "deletionTimestamp": metadata.deletion_timestamp,
            "labels": {"pod-template-hash": metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"))},
            "ownerReferences": metadata.owner_references,
        },
        "status": {
            "initContainerStatuses": status("initContainerStatuses"),
            "containerStatuses": status("containerStatuses"),
        },
    })
}

/// What the pods say about the sidecars of one rollout.
fn health_of(workload: &Workload, one: &Tracked<'_>, pods: Option<&[Value]>) -> Option<SidecarHealth> {
    let id = &workload.key.id;
    let owner = PodOwner { kind: id.kind, name: &id.name, uid: &workload.uid };
    // While pods are being replaced, the old ones say nothing about what is new.
    let since = workload.owned.written_at().filter(|_| workload.status.progress != Progress::Done);
    let health = sidecar_health(pods?, owner, &one.containers, since, one.in_flight.began);
    Some(health).filter(|_| one.is_visible(workload))
}

/// With many in flight, the pods of each are listed less often.
fn pause(in_flight: usize) -> Duration {
    let spread = Duration::from_secs(1) / PROBES_PER_SECOND;
    PROBE.max(spread * u32::try_from(in_flight).unwrap_or(u32::MAX))
}

/// How long a change has taken until now.
#[allow(clippy::cast_precision_loss, reason = "no rollout takes 2^52 seconds")]
fn seconds_since(began: Timestamp) -> f64 {
    (Timestamp::now().as_second() - began.as_second()).max(0) as f64
}
