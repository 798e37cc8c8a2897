//! The scheduler, kept up to date with what the cluster has. Who may be changed next is decided in [`crate::rollout::scheduler`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use kube::core::{Selector, SelectorExt};
use tokio::time::Instant;

use super::store::Store;
use crate::{
    api::{HaltedTarget, RolloutStatus},
    decide::{
        decision::RolloutChange,
        log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
        question::Turn,
    },
    plan::target::WorkloadLabels,
    rollout::{
        canary::{CanaryCandidate, CanaryCandidates},
        in_flight::InFlight,
        scheduler::{RolloutProgress, RolloutScheduler, TurnRequest, Wait},
        settings::CanarySelection,
    },
    workload::{
        id::WorkloadKey,
        kind::Kinds,
        ledger::{Before, EntrySummary},
        snapshot::Workload,
        status::Progress,
    },
};

/// The rollouts of all LogSidecars.
pub(super) type Scheduler = RolloutScheduler<LogSidecarKey, WorkloadKey>;

/// What is in flight, and who may start next.
#[derive(Debug)]
pub(super) struct Rollouts {
    scheduler: Mutex<Scheduler>,
    kinds: Kinds,
}

impl Rollouts {
    pub fn new(kinds: Kinds) -> Self {
        Self { scheduler: Mutex::default(), kinds }
    }

    /// Locks the scheduler. Never hold the lock across an `await`. Lock order: scheduler before store.
    pub fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the rollouts of these LogSidecars are about their current specs.
    pub fn revise(&self, log_sidecars: &[Arc<ValidatedLogSidecar>], targets: impl Fn(&str) -> usize) {
        let mut scheduler = self.scheduler();
        for sidecar in log_sidecars.iter().filter(|sidecar| sidecar.spec.is_ok()) {
            let spec = (sidecar.revision(), sidecar.generation);
            scheduler.revise(&sidecar.key, &sidecar.uid, spec, || sidecar.recorded_rollout(&self.kinds));
            scheduler.set_limit(&sidecar.key, sidecar.settings.limit(targets(&sidecar.uid)));
        }
    }

    /// Asks for a turn to change a workload.
    pub fn request_turn(
        &self,
        store: &Store,
        workload: &Workload,
        log_sidecars: &[Arc<ValidatedLogSidecar>],
        requests: &[TurnRequest<LogSidecarKey>],
    ) -> Turn {
        let mut scheduler = self.scheduler();
        let is_requested = |sidecar: &ValidatedLogSidecar| requests.iter().any(|request| request.sidecar == sidecar.key);
        let is_stale = |sidecar: &ValidatedLogSidecar| {
            sidecar.spec.is_ok() && !scheduler.is_about(&sidecar.key, (&sidecar.uid, sidecar.generation))
        };
        if log_sidecars.iter().any(|sidecar| is_requested(sidecar) && is_stale(sidecar)) {
            return Turn::Stale;
        }
        let candidates = |key: &LogSidecarKey| {
            let sidecar = log_sidecars.iter().find(|sidecar| sidecar.key == *key);
            sidecar.map(|sidecar| candidates(store, sidecar)).unwrap_or_default()
        };
        let answer = scheduler.request_turn(&workload.key, requests, &begin(workload), candidates);
        match answer {
            Ok(()) => Turn::Granted,
            Err(waits) => Turn::Denied {
                waits,
                is_canary: requests.iter().any(|request| scheduler.is_due_canary(&request.sidecar, &workload.key)),
            },
        }
    }

    /// Applies what a decision means for the rollouts of a workload.
    pub fn apply(&self, workload: &Workload, log_sidecars: &[Arc<ValidatedLogSidecar>], changes: &[RolloutChange]) {
        let mut scheduler = self.scheduler();
        let key = &workload.key;
        for change in changes {
            match change {
                RolloutChange::MarkWritten => scheduler.update_all(key, |in_flight| in_flight.written = true),
                RolloutChange::AbandonUnwritten => scheduler.abandon_unwritten(key),
                RolloutChange::StopJudging => {
                    scheduler.update_all(key, |in_flight| (in_flight.removing, in_flight.written) = (true, true));
                }
                RolloutChange::ExcludeFromCanaries => {
                    log_sidecars
                        .iter()
                        .for_each(|sidecar| scheduler.exclude_canary(&sidecar.key, (&sidecar.uid, sidecar.generation), key));
                }
                RolloutChange::JudgeCanary(sidecar, fitness) => {
                    if let Some(decided) = log_sidecars.iter().find(|decided| decided.key == *sidecar) {
                        let spec = (decided.uid.as_str(), decided.generation);
                        scheduler.judge_canary(sidecar, spec, key, fitness, &begin(workload));
                    }
                }
            }
        }
    }

    /// Where the rollout of a `LogSidecar` is, for its status.
    pub fn status(&self, sidecar: &ValidatedLogSidecar) -> RolloutStatus {
        let scheduler = self.scheduler();
        // That of an earlier LogSidecar of the same name says nothing about this one.
        let progress = scheduler.progress(&sidecar.key).filter(|progress| progress.owner == sidecar.uid);
        let Some(RolloutProgress { owner: _, revision, generation, stage, in_flight }) = progress else {
            return sidecar.status.rollout.clone();
        };
        let halted_at = scheduler.failure(&sidecar.key).map(|(at, cause)| HaltedTarget {
            api_group: at.id.kind.group().to_owned(),
            kind: at.id.kind.name().to_owned(),
            name: at.id.name.to_string(),
            cause: cause.to_owned(),
        });
        let under_way = u32::try_from(in_flight).unwrap_or(u32::MAX);
        RolloutStatus { revision, generation, stage, under_way, halted_at }
    }

    /// What the queued workloads of a `LogSidecar` wait for, in a sentence.
    pub fn wait_message(&self, sidecar: &LogSidecarKey) -> String {
        match self.scheduler().wait(sidecar) {
            None => String::new(),
            Some(Wait::Halted(halt)) => format!("halted at {}", halt.at.id),
            Some(Wait::Full(limit)) => format!("waits for its turn: {limit} at a time"),
            Some(Wait::Canary(first)) => {
                let names: Vec<String> = first.iter().take(3).map(|key| key.id.to_string()).collect();
                let more = if first.len() > 3 { format!(" and {} more", first.len() - 3) } else { String::new() };
                format!("waits for the canary: {}{more}", names.join(", "))
            }
        }
    }

    /// Tracks what is in flight when the program starts, once: the controller before it may have begun that. Whatever replaces its
    /// pods uses the budget until it is done: which removals were in flight is not recorded anywhere.
    pub fn resume(&self, store: &Store, targets: impl Fn(&str) -> usize) {
        let log_sidecars = store.all_log_sidecars();
        self.revise(&log_sidecars, targets);
        let now = Timestamp::now();
        let mut workloads: (String, Vec<Arc<Workload>>) = (String::new(), Vec::new());
        for sidecar in &log_sidecars {
            if workloads.0 != sidecar.key.namespace {
                workloads = (sidecar.key.namespace.clone(), store.workloads_in(&sidecar.key.namespace));
            }
            for workload in &workloads.1 {
                if let Some(in_flight) = resumed(sidecar, workload, now) {
                    self.scheduler().track_existing(&sidecar.key, &workload.key, &in_flight);
                }
            }
        }
    }
}

/// A change that begins now.
pub(super) fn begin(workload: &Workload) -> InFlight {
    InFlight::begin(&workload.status, workload.replaces_pods(), Instant::now().into_std(), Timestamp::now())
}

/// The ledger entry of a `LogSidecar` on a workload.
pub(super) fn entry<'a>(workload: &'a Workload, sidecar: &ValidatedLogSidecar) -> Option<&'a EntrySummary> {
    workload.ledger.as_ref()?.entry(&sidecar.key.name, &sidecar.uid)
}

fn has_revision(entry: Option<&EntrySummary>, sidecar: &ValidatedLogSidecar) -> bool {
    entry.is_some_and(|entry| entry.revision.as_deref() == Some(sidecar.revision()))
}

fn matches(sidecar: &ValidatedLogSidecar, workload: &Workload) -> bool {
    let labels = workload.labels();
    let id = &workload.key.id;
    sidecar.spec.as_ref().is_ok_and(|spec| spec.matches(WorkloadLabels { kind: id.kind, name: &id.name, labels: &labels }))
}

/// The workloads that may be canaries of a `LogSidecar`.
fn candidates(store: &Store, sidecar: &ValidatedLogSidecar) -> CanaryCandidates<WorkloadKey> {
    let selection = &sidecar.settings.canary;
    let selector = match selection {
        CanarySelection::Selected(selector) => Selector::try_from(selector.clone()).ok(),
        CanarySelection::Count(_) => None,
    };
    let candidate = |workload: &Workload| {
        let is_damaged = workload.ledger.as_ref().is_some_and(|ledger| !ledger.is_readable());
        if !matches(sidecar, workload) || workload.controller.is_some() || workload.is_opted_out() || is_damaged {
            return None;
        }
        let status = &workload.status;
        let has_pods = status.pods > 0 && !matches!(status.progress, Progress::Held(_));
        Some(CanaryCandidate {
            workload: workload.key.clone(),
            has_revision: has_pods && has_revision(entry(workload, sidecar), sidecar),
            is_conclusive: status.is_conclusive(),
            is_ready: status.progress == Progress::Done,
            recreates: status.recreates,
            is_selected: selector.as_ref().is_some_and(|selector| selector.matches(&workload.labels())),
        })
    };
    let workloads = store.workloads_in(&sidecar.key.namespace);
    CanaryCandidates {
        candidates: workloads.iter().filter_map(|workload| candidate(workload)).collect(),
        count: match selection {
            CanarySelection::Count(count) => *count,
            CanarySelection::Selected(_) => 1,
        },
    }
}

/// The change that the controller before this one has begun at a workload, if there is one.
fn resumed(sidecar: &ValidatedLogSidecar, workload: &Workload, now: Timestamp) -> Option<InFlight> {
    // What was written longer ago than a rollout takes has been judged by the controller that ran then.
    let lasts = workload.status.deadline + sidecar.settings.soak;
    let written = workload.owned.written_at();
    let is_recent =
        written.is_some_and(|at| now.as_second() - at.as_second() <= i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX));
    let is_moving = workload.status.progress == Progress::Moving;
    if !is_moving && !is_recent {
        return None;
    }
    let entry = entry(workload, sidecar);
    // A later change by its owner is not attributed to the sidecar.
    let is_ours = written >= workload.last_writer.as_ref().map(|writer| writer.at);
    let is_judged = is_recent && is_ours && sidecar.spec.is_ok() && has_revision(entry, sidecar);
    let is_unsettled = sidecar.status.observed_generation != sidecar.generation;
    let takes_a_place = is_moving && (entry.is_some() || is_unsettled || matches(sidecar, workload));
    if !is_judged && !takes_a_place {
        return None;
    }
    let revision = entry.and_then(|entry| entry.revision.as_deref()).filter(|_| is_judged);
    Some(InFlight {
        removing: entry.is_none(),
        before: entry.map_or(Before::Moving, |entry| entry.before),
        // Of any other revision nothing but the place counts.
        revision: revision.unwrap_or("unknown").to_owned(),
        written: true,
        // A container that has failed since the write has failed.
        began: written.unwrap_or(Timestamp::UNIX_EPOCH),
        ..begin(workload)
    })
}
