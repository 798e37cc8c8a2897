//! What would change, for `logsidecar plan`.

mod shortened;
mod text;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Paint, WorkloadRef};
use crate::{
    api::{OnFailure, RolloutMode},
    preflight::Cost,
    quantity::Quantity,
};

/// Everything that would change, and what would not.
#[derive(Clone, Debug, Default)]
pub struct PlanReport {
    /// The workloads, in the order of their addresses.
    pub workloads: Vec<WorkloadPlan>,
    /// How the changes would be rolled out.
    pub rollouts: Vec<RolloutPlan>,
}

/// What would become of one workload.
#[derive(Clone, Debug)]
pub struct WorkloadPlan {
    /// Which one.
    pub workload: WorkloadRef,
    /// The LogSidecars for which it would be changed, else all that concern it.
    pub sidecars: Vec<String>,
    /// What would become of it.
    pub result: PlanResult,
    /// One word.
    pub reason: String,
    /// A sentence; empty where the word says it all.
    pub message: String,
    /// What a careful engineer would want to know.
    pub warnings: Vec<String>,
    /// What cannot be met.
    pub refused: Vec<Refused>,
    /// How many pods it has.
    pub pods: u32,
    /// Whether its pods would be replaced.
    pub rolls: bool,
    /// What all of its pods would ask for in addition.
    pub cost: Cost,
    /// The template that it has.
    pub before: Value,
    /// The template that it would have, as the API server says.
    pub template: Value,
    /// The patch that would be sent.
    pub patch: Value,
}

/// What would become of a workload.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanResult {
    /// It would be changed.
    Change,
    /// It is as it is to be.
    Unchanged,
    /// It cannot be what it is to be.
    Blocked,
    /// Somebody wants it left as it is.
    LeftAlone,
}

/// A `LogSidecar` that cannot be met at a workload.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub sidecar: String,
    /// One word.
    pub reason: String,
    /// A sentence that says what to write instead.
    pub message: String,
}

/// How the changes for a `LogSidecar` would be rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPlan {
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How many go first, or which labels those have.
    pub canary: String,
    /// How many follow at a time.
    pub max_concurrent: usize,
    /// How long the sidecar has to run.
    pub soak: Duration,
    /// What happens when it fails.
    pub on_failure: OnFailure,
    /// Whether anything would be done at all.
    pub mode: RolloutMode,
}

impl RolloutPlan {
    /// In a sentence.
    fn told(&self) -> String {
        let first = match self.canary.as_str() {
            "0" => String::new(),
            canary => format!("canary {canary}, then "),
        };
        let planned = match self.mode {
            RolloutMode::Apply => "",
            RolloutMode::Plan => "; spec.rollout.mode is Plan: the controller changes nothing until it is Apply",
        };
        let failure = match self.on_failure {
            OnFailure::Halt => "Halt",
            OnFailure::Rollback => "Rollback",
        };
        let soak = seconds(self.soak);
        format!("{first}{} at a time, soak {soak}; on failure: {failure}{planned}", self.max_concurrent)
    }
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 { format!("{}s", duration.as_secs()) } else { format!("{}ms", duration.as_millis()) }
}

/// What all of it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many would change.
    pub changed: usize,
    /// How many of these would replace their pods.
    pub rollouts: usize,
    /// How many pods those have.
    pub pods: u64,
    /// How many stay as they are.
    pub unchanged: usize,
    /// At how many some `LogSidecar` cannot be met.
    pub blocked: usize,
    /// What it costs.
    pub cost: Cost,
}

impl WorkloadPlan {
    fn is_blocked(&self) -> bool {
        self.result == PlanResult::Blocked || !self.refused.is_empty()
    }

    fn value(&self) -> Value {
        let Self {
            workload,
            sidecars,
            result,
            reason,
            message,
            warnings,
            refused,
            pods,
            rolls,
            cost,
            before: _,
            template,
            patch,
        } = self;
        json!({
            "kind": workload.kind,
            "apiVersion": workload.api_version,
            "namespace": workload.namespace,
            "name": workload.name,
            "sidecars": sidecars,
            "result": result,
            "reason": reason,
            "message": message,
            "warnings": warnings,
            "refused": refused,
            "pods": pods,
            "rollouts": u8::from(*rolls),
            "cost": amounts(*cost),
            "template": template,
            "patch": patch,
        })
    }
}

impl PlanReport {
    /// Sums it up.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let changed: Vec<&WorkloadPlan> =
            self.workloads.iter().filter(|planned| planned.result == PlanResult::Change).collect();
        let rolling = || changed.iter().filter(|planned| planned.rolls);
        Summary {
            changed: changed.len(),
            rollouts: rolling().count(),
            pods: rolling().map(|planned| u64::from(planned.pods)).sum(),
            unchanged: self
                .workloads
                .iter()
                .filter(|planned| matches!(planned.result, PlanResult::Unchanged | PlanResult::LeftAlone))
                .count(),
            blocked: self.workloads.iter().filter(|planned| planned.is_blocked()).count(),
            cost: changed.iter().map(|planned| planned.cost).sum(),
        }
    }

    fn value(&self) -> Value {
        let Summary { changed, rollouts, pods, unchanged, blocked, cost } = self.summary();
        let rolls_out = self.rollouts.iter().map(|rollout| {
            let RolloutPlan { namespace, name, canary, max_concurrent, soak, on_failure, mode } = rollout;
            json!({
                "namespace": namespace,
                "name": name,
                "canary": canary,
                "maxConcurrent": max_concurrent,
                "soak": seconds(*soak),
                "onFailure": on_failure,
                "mode": mode,
            })
        });
        json!({
            "workloads": self.workloads.iter().map(WorkloadPlan::value).collect::<Vec<_>>(),
            "summary": {
                "changed": changed,
                "rollouts": rollouts,
                "pods": pods,
                "unchanged": unchanged,
                "blocked": blocked,
                "cost": amounts(cost),
                "rolloutsOf": rolls_out.collect::<Vec<_>>(),
            },
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self, paint: Paint) -> String {
        text::plan(self, paint)
    }
}

/// For programs.
impl Serialize for PlanReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

/// As quantities.
fn amounts(cost: Cost) -> Value {
    let Cost { cpu_millis, memory_bytes, pods: _ } = cost;
    json!({"cpu": cpu(cpu_millis), "memory": Quantity::whole(memory_bytes).to_string()})
}

fn cpu(millis: i64) -> String {
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{millis}m") }
}

/// `cpu +15m, memory +48Mi`; nothing where nothing is asked for.
fn told(cost: Cost) -> Option<String> {
    let Cost { cpu_millis, memory_bytes, pods: _ } = cost;
    let sign = |number: i64| if number > 0 { "+" } else { "" };
    let cpu = (cpu_millis != 0).then(|| format!("cpu {}{}", sign(cpu_millis), cpu(cpu_millis)));
    let memory = (memory_bytes != 0).then(|| format!("memory {}{}", sign(memory_bytes), Quantity::whole(memory_bytes)));
    let parts: Vec<String> = cpu.into_iter().chain(memory).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
