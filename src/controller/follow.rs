//! What is under way is followed until it has arrived or failed: by the workload's own status, which a watch tells, and by its pods,
//! which are asked for while that lasts.

use std::{sync::Arc, time::Duration};

use kube::{
    Api,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use super::{
    apply::TIMEOUT,
    cache::{Sidecar, SidecarKey},
    context::Context,
    rollout::{clock, entry, replaces_pods, step},
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::Reason,
    rollout::{
        health::{self, Health, health},
        verdict::{Moment, verdict},
        waves::Flight,
    },
    workload::{kind::Kind, status::Progress},
};

/// When the status is written after something has ended.
const REPORT: Duration = Duration::from_millis(300);

/// One workload that is under way for one `LogSidecar`.
struct Under<'a> {
    sidecar: &'a Sidecar,
    flight: Flight,
    /// Its containers.
    containers: Vec<String>,
}

impl Under<'_> {
    /// Whether the pods tell anything about it.
    fn is_to_be_seen(&self, workload: &Workload) -> bool {
        !self.flight.removing && !self.containers.is_empty() && workload.standing.pods > 0
    }
}

/// Follows what is under way at a workload. Says after what time to look again, if a watch will not tell.
pub(super) async fn follow(context: &Arc<Context>, workload: &Arc<Workload>, known: &[Arc<Sidecar>]) -> Option<Duration> {
    let key = &workload.key;
    let flights: Vec<(SidecarKey, Flight)> =
        context.rollouts.waves().flights(key).map(|(sidecar, flight)| (sidecar.clone(), flight.clone())).collect();
    let now = context.rollouts.now();
    let mut unders = Vec::new();
    for (sidecar, flight) in flights.into_iter().filter(|(_, flight)| flight.written) {
        if let Some(sidecar) = known.iter().find(|known| known.key == sidecar) {
            let containers = entry(workload, sidecar).map(|entry| entry.containers).unwrap_or_default();
            unders.push(Under { sidecar, flight, containers });
            continue;
        }
        // Its LogSidecar is gone; what is taken out for it still counts, but not for ever.
        let is_late = now.saturating_sub(flight.since) > u64::from(workload.standing.deadline) * 1000;
        if workload.standing.progress != Progress::Moving || is_late {
            context.rollouts.waves().finish(&sidecar, key);
        }
    }
    let replaces_pods = replaces_pods(workload);
    for under in &mut unders {
        let flight = &mut under.flight;
        flight.counts = replaces_pods;
        // Only the best counts: one that comes and goes makes no progress.
        if flight.step < step(workload) {
            (flight.step, flight.since) = (step(workload), now);
        }
    }
    if replaces_pods || key.target.kind == Kind::CronJob {
        let pods = probe(context, workload, &mut unders, now).await;
        let seen: Vec<Option<Health>> = unders.iter().map(|under| seen(workload, under, pods.as_deref())).collect();
        let one_fails = seen.iter().any(|seen| matches!(seen, Some(Health::Failing { .. })))
            || known.iter().any(|sidecar| has_failed_here(context, sidecar, key));
        for (under, seen) in unders.iter_mut().zip(seen) {
            let soak = under.sidecar.settings().map_or(0, |settings| settings.soak);
            let has_sidecar = under.is_to_be_seen(workload);
            let moment = Moment { standing: &workload.standing, seen: seen.as_ref(), has_sidecar, one_fails, soak, now };
            match verdict(&mut under.flight, moment) {
                // One that shows nothing proves nothing.
                Some(Ok(())) if !has_sidecar && !under.flight.removing => {
                    let mut waves = context.rollouts.waves();
                    waves.abandon(&under.sidecar.key, key);
                    waves.pass_over(&under.sidecar.key, key);
                }
                Some(Ok(())) => {
                    context.metrics.rolled_out(true, lasted(&under.flight));
                    context.rollouts.waves().finish(&under.sidecar.key, key);
                }
                Some(Err(cause)) => {
                    context.metrics.rolled_out(false, lasted(&under.flight));
                    fail(context, workload, under.sidecar, &cause);
                }
                None => continue,
            }
            // How many are under way is in its status.
            context.sidecars.add_after(under.sidecar.key.clone(), REPORT);
        }
    }
    let mut waves = context.rollouts.waves();
    for under in &unders {
        waves.update(&under.sidecar.key, key, |flight| flight.clone_from(&under.flight));
    }
    drop(waves);
    poll(context, workload)
}

/// How many seconds a rollout has taken until now.
#[allow(clippy::cast_precision_loss, reason = "no rollout takes 2^52 seconds")]
fn lasted(flight: &Flight) -> f64 {
    (clock() - flight.began).max(0) as f64
}

/// After what time to look at what is under way again. Most of what happens is told by a watch: only how the sidecars in the pods are
/// doing is not, and that nothing happens at all.
pub(super) fn poll(context: &Context, workload: &Workload) -> Option<Duration> {
    let waves = context.rollouts.waves();
    let is_under_way = waves.flights(&workload.key).any(|(_, flight)| flight.written && flight.counts);
    let deadline = Duration::from_secs(workload.standing.deadline.into()) + PROBE;
    is_under_way.then(|| if workload.standing.pods == 0 { deadline } else { pause(waves.under_way()) })
}

fn has_failed_here(context: &Context, sidecar: &Sidecar, workload: &WorkloadKey) -> bool {
    context.rollouts.waves().halt(&sidecar.key).is_some_and(|halt| halt.is_at(workload))
}

/// How often the pods of a workload that is under way are looked at; less often where many are.
const PROBE: Duration = Duration::from_secs(2);

/// With many under way, each is looked at less often: no more than 25 lists of pods a second in all.
fn pause(under_way: usize) -> Duration {
    PROBE.max(Duration::from_millis(40) * u32::try_from(under_way).unwrap_or(u32::MAX))
}

/// The pods of a workload, unless it is too early to look again, or nothing depends on them.
async fn probe(context: &Context, workload: &Workload, unders: &mut [Under<'_>], now: u64) -> Option<Vec<Value>> {
    let recently = |under: &Under<'_>| under.flight.probed.is_some_and(|probed| now < probed + 1000);
    if !unders.iter().any(|under| under.is_to_be_seen(workload) && !recently(under)) {
        return None;
    }
    unders.iter_mut().for_each(|under| under.flight.probed = Some(now));
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &workload.key.namespace, &Kind::Pod.resource());
    let params = ListParams::default().labels(&workload.selector);
    match tokio::time::timeout(TIMEOUT, api.list(&params)).await {
        Ok(Ok(pods)) => Some(pods.items.iter().filter_map(|pod| serde_json::to_value(pod).ok()).collect()),
        Ok(Err(error)) => {
            tracing::warn!(workload = %workload.key, "cannot see its pods: {error}");
            None
        }
        Err(_) => None,
    }
}

/// What the pods say about one sidecar.
fn seen(workload: &Workload, under: &Under<'_>, pods: Option<&[Value]>) -> Option<Health> {
    let target = &workload.key.target;
    let whose = health::Workload { kind: target.kind, name: &target.name, uid: &workload.uid };
    let containers: Vec<&str> = under.containers.iter().map(String::as_str).collect();
    // While pods are being replaced, the old ones say nothing about what is new.
    let since = workload.owned.written_at().filter(|_| workload.standing.progress != Progress::Done);
    Some(health(pods?, whose, &containers, since, under.flight.began)).filter(|_| under.is_to_be_seen(workload))
}

fn fail(context: &Arc<Context>, workload: &Arc<Workload>, sidecar: &Sidecar, cause: &str) {
    let (halts, waiting) = {
        let mut waves = context.rollouts.waves();
        (waves.fail(&sidecar.key, &workload.key, cause), waves.waiting(&sidecar.key))
    };
    if halts {
        tracing::warn!(workload = %workload.key, sidecar = sidecar.key.name, reason = %Reason::Halted, "{cause}");
        context.tell(workload, &sidecar.key.name, Reason::Halted, cause.to_owned());
        // What they wait for now is another thing.
        waiting.into_iter().for_each(|key| context.workloads.add(key));
    }
}
