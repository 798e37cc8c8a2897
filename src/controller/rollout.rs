//! The waves of all LogSidecars, kept up to date with what the cluster has. Who may start next is decided in
//! [`crate::rollout::waves`]; `canary`, `admission`, `follow` and `recovery` are the steps of a rollout.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;

use super::{
    cache::{Sidecar, SidecarKey},
    context::Context,
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::{HaltedTarget, Reason, RolloutStatus},
    plan::claim::{Labelled, matches},
    rollout::waves::{self, Flight, Memory, Wait},
    status::Target,
    workload::{
        kind::Kind,
        ledger::{Before, Ledger},
        status::Progress,
    },
};

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
            counts: replaces_pods(workload),
            written: false,
            before: workload.standing.before(),
            since: self.now(),
            step: step(workload),
            began: clock(),
            healthy: None,
            probed: None,
        }
    }
}

/// Whether a change of the template makes the workload replace pods now.
pub(super) fn replaces_pods(workload: &Workload) -> bool {
    let waits_for_its_owner = matches!(workload.standing.progress, Progress::Held(Reason::Paused | Reason::OnDelete));
    workload.key.target.kind != Kind::CronJob && !waits_for_its_owner
}

/// Seconds since 1970.
pub(super) fn clock() -> i64 {
    k8s_openapi::jiff::Timestamp::now().as_second()
}

/// What moves while a rollout makes progress.
pub(super) fn step(workload: &Workload) -> (u32, u32) {
    (workload.standing.new, workload.standing.available)
}

/// What a workload's ledger says of one `LogSidecar`.
pub(super) struct Entry {
    pub revision: Option<String>,
    pub previous: Option<String>,
    pub before: Before,
    pub containers: Vec<String>,
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
        let Some(settings) = sidecar.settings() else { continue };
        waves.revise(&sidecar.key, &sidecar.uid, (&sidecar.revision, sidecar.generation), || remembered(context, sidecar));
        let matched = context.outcomes.count(&sidecar.uid);
        waves.allow(&sidecar.key, settings.limit(matched));
    }
}

/// What the status says, which was written by whoever ran before.
fn remembered(context: &Context, sidecar: &Sidecar) -> Memory<WorkloadKey> {
    let RolloutStatus { revision, generation, stage, under_way: _, halted_at } = sidecar.status.rollout.clone();
    let failed = halted_at.and_then(|at| {
        let kind = context.kinds.meant_by(Some(&at.api_group), &at.kind)?;
        let target = Target { kind, name: at.name };
        Some((WorkloadKey { namespace: sidecar.key.namespace.clone(), target }, at.cause))
    });
    Memory { revision, generation, stage, failed }
}

/// Where the rollout of a `LogSidecar` is, for its status.
pub(super) fn status(context: &Context, sidecar: &Sidecar) -> RolloutStatus {
    let waves = context.rollouts.waves();
    let Some((revision, generation, stage, under_way)) = waves.state(&sidecar.key) else {
        return sidecar.status.rollout.clone();
    };
    let halted_at = waves.failure(&sidecar.key).map(|(at, cause)| HaltedTarget {
        api_group: at.target.kind.group().to_owned(),
        kind: at.target.kind.name().to_owned(),
        name: at.target.name.clone(),
        cause: cause.to_owned(),
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
    // What was written longer ago than a rollout takes has been judged by whoever ran before.
    let soak = sidecar.settings().map_or(0, |settings| settings.soak / 1000);
    let lasts = i64::from(workload.standing.deadline).saturating_add_unsigned(soak);
    let is_recent = workload.owned.written_at().is_some_and(|at| clock() - at <= lasts);
    let is_moving = matches!(workload.standing.progress, Progress::Moving);
    if !is_moving && !is_recent {
        return;
    }
    let entry = entry(workload, sidecar);
    // Nobody is blamed for what somebody else has changed since.
    let is_ours = workload.owned.written_at() >= workload.last_writer.as_ref().map(|writer| writer.at);
    let revision = entry.as_ref().and_then(|entry| entry.revision.clone());
    let is_judged = is_recent && is_ours && revision.as_ref() == Some(&sidecar.revision);
    let (labels, target) = (workload.labels(), &workload.key.target);
    let labelled = Labelled { kind: target.kind, name: &target.name, labels: &labels };
    let is_meant = || sidecar.spec.as_ref().is_ok_and(|spec| matches(&spec.target, labelled));
    let unsettled = sidecar.status.observed_generation != sidecar.generation;
    let takes_a_place = is_moving && (entry.is_some() || unsettled || is_meant());
    if !is_judged && !takes_a_place {
        return;
    }
    let flight = Flight {
        removing: entry.is_none(),
        before: entry.map_or(Before::Moving, |entry| entry.before),
        // Of any other revision nothing but the place counts.
        revision: revision.filter(|_| is_judged).unwrap_or_else(|| "unknown".to_owned()),
        written: true,
        // What has failed since it was written has failed.
        began: workload.owned.written_at().unwrap_or_default(),
        ..context.rollouts.flight(workload)
    };
    context.rollouts.waves().find(&sidecar.key, &workload.key, &flight);
}
