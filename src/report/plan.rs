//! What would change, for `logsidecar plan`.

mod rollout;
mod shortened;
mod text;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::rollout::RolloutPlan;
use super::{Paint, WorkloadRef};
use crate::{preflight::Cost, quantity::Quantity};

/// Everything that would change, and what would not.
#[derive(Clone, Debug, Default)]
pub struct PlanReport {
    /// The workloads, in the order of their addresses.
    pub workloads: Vec<WorkloadPlan>,
    /// How the changes would be rolled out.
    pub rollouts: Vec<RolloutPlan>,
}

/// The plan of one workload.
#[derive(Clone, Debug)]
pub struct WorkloadPlan {
    /// The workload.
    pub workload: WorkloadRef,
    /// The LogSidecars for which it would be changed, else all that concern it.
    pub sidecars: Vec<String>,
    /// The result of planning it.
    pub result: PlanResult,
    /// The reason, in one word.
    pub reason: String,
    /// A sentence; empty where the word says it all.
    pub message: String,
    /// Warnings about the change.
    pub warnings: Vec<String>,
    /// The LogSidecars that are refused.
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

/// The result of planning one workload.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanResult {
    /// It would be changed.
    Change,
    /// It is in the target state.
    Unchanged,
    /// The target state is not reachable.
    Blocked,
    /// It is left unchanged on request.
    LeftAlone,
}

/// A `LogSidecar` that is refused at a workload.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub sidecar: String,
    /// The reason, in one word.
    pub reason: String,
    /// A sentence that says what to write instead.
    pub message: String,
}

/// The totals of a plan.
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
    /// At how many some `LogSidecar` is refused.
    pub blocked: usize,
    /// The cost of all changes.
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
    /// Returns the totals.
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
        let rollouts_of: Vec<Value> = self.rollouts.iter().map(RolloutPlan::value).collect();
        json!({
            "workloads": self.workloads.iter().map(WorkloadPlan::value).collect::<Vec<_>>(),
            "summary": {
                "changed": changed,
                "rollouts": rollouts,
                "pods": pods,
                "unchanged": unchanged,
                "blocked": blocked,
                "cost": amounts(cost),
                "rolloutsOf": rollouts_of,
            },
        })
    }

    /// Returns the plan as text for people.
    #[must_use]
    pub fn text(&self, paint: Paint) -> String {
        text::plan(self, paint)
    }
}

/// The form for programs.
impl Serialize for PlanReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

/// Returns the cost as quantities.
fn amounts(cost: Cost) -> Value {
    let Cost { cpu_millis, memory_bytes, pods: _ } = cost;
    json!({"cpu": cpu(cpu_millis), "memory": Quantity::whole(memory_bytes).to_string()})
}

fn cpu(millis: i64) -> String {
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{millis}m") }
}

/// `cpu +15m, memory +48Mi`; nothing where nothing is asked for.
fn describe_cost(cost: Cost) -> Option<String> {
    let Cost { cpu_millis, memory_bytes, pods: _ } = cost;
    let sign = |number: i64| if number > 0 { "+" } else { "" };
    let cpu = (cpu_millis != 0).then(|| format!("cpu {}{}", sign(cpu_millis), cpu(cpu_millis)));
    let memory = (memory_bytes != 0).then(|| format!("memory {}{}", sign(memory_bytes), Quantity::whole(memory_bytes)));
    let parts: Vec<String> = cpu.into_iter().chain(memory).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
