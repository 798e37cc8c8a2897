//! Rolling out safely, as far as it needs the cluster: what is under way is followed until it is done or has failed. What may start
//! next is decided in [`crate::rollout::waves`].

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use kube::{
    Api,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    apply::TIMEOUT,
    cache::{Sidecar, SidecarKey},
    context::Context,
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::{HaltedTarget, LogSidecar, MANAGER, Reason, RolloutStatus, Stage},
    kind::Kind,
    plan::{
        Before, Ledger,
        claim::{Labelled, matches},
    },
    rollout::{
        health::{self, Health, health},
        progress::Progress,
        settings::{Canaries, Settings},
        verdict::{Moment, verdict},
        waves::{self, Candidate, Flight, Memory, Wait},
    },
    status::Target,
};

/// How often the pods of a workload that is under way are looked at; less often where many are.
pub(super) const PROBE: Duration = Duration::from_secs(2);

/// When the status is written after something has ended.
const REPORT: Duration = Duration::from_millis(300);

/// The waves of all LogSidecars.
pub(super) type Waves = waves::Waves<SidecarKey, WorkloadKey>;

/// What is under way, and who may start next.
#[derive(Debug)]
pub(super) struct Rollouts {
    waves: Mutex<Waves>,
    started: Instant,
    found: OnceLock<()>,
}

impl Default for Rollouts {
    fn default() -> Self {
        Self { waves: Mutex::default(), started: Instant::now(), found: OnceLock::new() }
    }
}

impl Rollouts {
    /// Never held while waiting for anything. Whoever holds it may look into the cache, and not the other way round.
    pub fn waves(&self) -> MutexGuard<'_, Waves> {
        self.waves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// A flight that begins now.
    pub fn flight(&self, workload: &Workload) -> Flight {
        Flight {
            revision: String::new(),
            removing: false,
            counts: workload.key.target.kind != Kind::CronJob && !matches!(workload.standing.progress, Progress::Held(_)),
            written: false,
            before: workload.standing.before(),
            since: self.now(),
            step: step(workload),
            healthy: None,
            probed: None,
        }
    }
}

/// What moves while a rollout makes progress.
fn step(workload: &Workload) -> (u32, u32) {
    (workload.standing.new, workload.standing.available)
}

/// What a workload's ledger says of one `LogSidecar`.
pub(super) struct Entry {
    pub revision: Option<String>,
    pub previous: Option<String>,
    pub before: Before,
    containers: Vec<String>,
}

pub(super) fn entry(workload: &Workload, sidecar: &Sidecar) -> Option<Entry> {
    let ledger = Ledger::parse(workload.ledger.as_deref()?).ok()?.seen_from(Some(&workload.uid));
    let entry = ledger.entry(&sidecar.key.name, Some(&sidecar.uid))?;
    Some(Entry {
        revision: entry.revision.clone(),
        previous: entry.previous.clone(),
        before: entry.before,
        containers: entry.items.keys().filter_map(|key| key.container().map(str::to_owned)).collect(),
    })
}

/// Makes sure that the waves of these LogSidecars are about their current specs.
pub(super) fn revise(context: &Context, sidecars: &[Arc<Sidecar>]) {
    let mut waves = context.rollouts.waves();
    for sidecar in sidecars {
        let Ok(spec) = &sidecar.spec else { continue };
        waves.revise(&sidecar.key, &sidecar.revision, sidecar.generation, || remembered(context, sidecar));
        let matched = context.outcomes.count(&sidecar.uid);
        waves.allow(&sidecar.key, Settings::of(spec.rollout.as_ref()).limit(matched));
    }
}

/// What the status says, which was written by whoever ran before.
fn remembered(context: &Context, sidecar: &Sidecar) -> Memory<WorkloadKey> {
    let RolloutStatus { revision, generation, stage, under_way: _, halted_at } = sidecar.status.rollout.clone();
    let halted = halted_at.and_then(|at| {
        let kind = context.kinds.meant_by(Some(&at.api_group), &at.kind)?;
        let target = Target { kind, name: at.name };
        Some((WorkloadKey { namespace: sidecar.key.namespace.clone(), target }, at.cause))
    });
    Memory { revision, generation, stage, halted }
}

/// Where the rollout of a `LogSidecar` is, for its status.
pub(super) fn status(context: &Context, sidecar: &Sidecar) -> RolloutStatus {
    let waves = context.rollouts.waves();
    let Some((revision, generation, stage, under_way)) = waves.state(&sidecar.key) else {
        return sidecar.status.rollout.clone();
    };
    let halted_at = waves.halt(&sidecar.key).map(|halt| HaltedTarget {
        api_group: halt.at.target.kind.group().to_owned(),
        kind: halt.at.target.kind.name().to_owned(),
        name: halt.at.target.name.clone(),
        cause: halt.cause.clone(),
    });
    let under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
    RolloutStatus { revision: revision.to_owned(), generation, stage, under_way, halted_at }
}

/// What those wait for whose turn has not come, in a sentence.
pub(super) fn turn(context: &Context, sidecar: &Sidecar) -> String {
    match context.rollouts.waves().turn(&sidecar.key) {
        None => String::new(),
        Some(Wait::Halted(halt)) => format!("halted at {}", halt.at.target),
        Some(Wait::Full(limit)) => format!("waits for its turn: {limit} at a time"),
        Some(Wait::Canary(first)) => {
            let names: Vec<String> = first.iter().take(3).map(|key| key.target.to_string()).collect();
            let more = if first.len() > 3 { format!(" and {} more", first.len() - 3) } else { String::new() };
            format!("waits for the canary: {}{more}", names.join(", "))
        }
    }
}

/// Who may go first, and how many do.
pub(super) fn candidates(context: &Context, sidecar: &Sidecar) -> (Vec<Candidate<WorkloadKey>>, usize) {
    let Ok(spec) = &sidecar.spec else { return (Vec::new(), 0) };
    let rule = Settings::of(spec.rollout.as_ref()).canary;
    let workloads = context.cache.workloads_in(&sidecar.key.namespace);
    let candidate = |workload: &Workload| {
        let labels = workload.labels();
        let target = &workload.key.target;
        let labelled = Labelled { kind: target.kind, name: &target.name, labels: &labels };
        if !matches(&spec.target, labelled) || workload.controller.is_some() {
            return None;
        }
        let has_it = || entry(workload, sidecar).is_some_and(|entry| entry.revision.as_ref() == Some(&sidecar.revision));
        let is_selected = match &rule {
            Canaries::Selected(selector) => kube::core::Selector::try_from(selector.clone())
                .is_ok_and(|selector| kube::core::SelectorExt::matches(&selector, &labels)),
            Canaries::Count(_) => false,
        };
        Some(Candidate {
            workload: workload.key.clone(),
            has_it: workload.standing.pods > 0 && !matches!(workload.standing.progress, Progress::Held(_)) && has_it(),
            is_telling: workload.standing.is_telling(),
            is_ready: workload.standing.progress == Progress::Done,
            recreates: workload.standing.recreates,
            is_selected,
        })
    };
    let count = match rule {
        Canaries::Count(count) => count,
        Canaries::Selected(_) => 1,
    };
    (workloads.iter().filter_map(|workload| candidate(workload)).collect(), count)
}

/// Finds what is under way when the program starts, once: whoever ran before may have begun it. Whatever replaces its pods counts
/// until it is done, as nothing tells any more what something was taken out of.
pub(super) fn find_all(context: &Context) {
    context.rollouts.found.get_or_init(|| {
        let sidecars = context.cache.all_sidecars();
        revise(context, &sidecars);
        for sidecar in &sidecars {
            for workload in context.cache.workloads_in(&sidecar.key.namespace) {
                find(context, sidecar, &workload);
            }
        }
    });
}

fn find(context: &Context, sidecar: &Sidecar, workload: &Workload) {
    let entry = entry(workload, sidecar);
    let (labels, target) = (workload.labels(), &workload.key.target);
    let labelled = Labelled { kind: target.kind, name: &target.name, labels: &labels };
    let is_meant = || sidecar.spec.as_ref().is_ok_and(|spec| matches(&spec.target, labelled));
    let unsettled = sidecar.status.observed_generation != sidecar.generation;
    let is_under_way = match workload.standing.progress {
        Progress::Moving => entry.is_some() || unsettled || is_meant(),
        Progress::Stuck(_) => entry.is_some(),
        Progress::Done | Progress::Degraded | Progress::Held(_) => false,
    };
    if !is_under_way {
        return;
    }
    let revision = entry.as_ref().and_then(|entry| entry.revision.clone());
    // Nobody is blamed for what somebody else has changed since.
    let is_ours = workload.owned.written_at() >= workload.last_writer.as_ref().map(|writer| writer.at);
    let flight = Flight {
        removing: entry.is_none(),
        before: entry.filter(|_| is_ours).map_or(Before::Moving, |entry| entry.before),
        revision: revision.unwrap_or_else(|| "unknown".to_owned()),
        written: true,
        ..context.rollouts.flight(workload)
    };
    context.rollouts.waves().find(&sidecar.key, &workload.key, &flight);
}

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
    let mut unders = Vec::new();
    for (sidecar, flight) in flights.into_iter().filter(|(_, flight)| flight.written) {
        match known.iter().find(|known| known.key == sidecar) {
            Some(sidecar) => {
                let containers = entry(workload, sidecar).map(|entry| entry.containers).unwrap_or_default();
                unders.push(Under { sidecar, flight, containers });
            }
            // Its LogSidecar is gone; what is taken out for it still counts.
            None if workload.standing.progress == Progress::Moving => {}
            None => context.rollouts.waves().finish(&sidecar, key),
        }
    }
    if unders.is_empty() {
        return None;
    }
    let is_held = matches!(workload.standing.progress, Progress::Held(_));
    let now = context.rollouts.now();
    for under in &mut unders {
        let flight = &mut under.flight;
        flight.counts = !is_held && key.target.kind != Kind::CronJob;
        if flight.step != step(workload) {
            (flight.step, flight.since) = (step(workload), now);
        }
    }
    if !is_held {
        let pods = probe(context, workload, &mut unders, now).await;
        let seen: Vec<Option<Health>> = unders.iter().map(|under| seen(workload, under, pods.as_deref())).collect();
        let one_fails = seen.iter().any(|seen| matches!(seen, Some(Health::Failing { .. })));
        for (under, seen) in unders.iter_mut().zip(seen) {
            let soak = under.sidecar.spec.as_ref().map_or(0, |spec| Settings::of(spec.rollout.as_ref()).soak);
            let has_sidecar = under.is_to_be_seen(workload);
            let moment = Moment { standing: &workload.standing, seen: seen.as_ref(), has_sidecar, one_fails, soak, now };
            match verdict(&mut under.flight, moment) {
                Some(Ok(())) => context.rollouts.waves().finish(&under.sidecar.key, key),
                Some(Err(cause)) => fail(context, workload, under.sidecar, &cause),
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
    let still = waves.flights(key).any(|(_, flight)| flight.written && flight.counts);
    still.then(|| pause(waves.under_way()))
}

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
    Some(health(pods?, whose, &containers, since)).filter(|_| under.is_to_be_seen(workload))
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

/// Writes down that a rollout was halted, before anything is done about it: whoever starts anew must not try the next workload.
/// Says whether it is written.
pub(super) async fn record(context: &Context, sidecar: &Sidecar) -> bool {
    let status = status(context, sidecar);
    if status.stage != Stage::Halted {
        return true;
    }
    let api: Api<LogSidecar> = Api::namespaced(context.client.clone(), &sidecar.key.namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": {"uid": sidecar.uid}, "status": {"rollout": status}}));
    match tokio::time::timeout(TIMEOUT, api.patch_status(&sidecar.key.name, &params, &patch)).await {
        Ok(Ok(_)) => {
            context.rollouts.waves().recorded(&sidecar.key, &status.revision);
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(sidecar = %sidecar.key, "cannot write down that the rollout was halted: {error}");
            false
        }
        Err(_) => false,
    }
}
