//! How the changes of a plan would be rolled out.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{OnFailure, RolloutMode};

/// How the changes for a `LogSidecar` would be rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPlan {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The number of canaries, or the selector of their labels.
    pub canary: String,
    /// How many workloads follow at a time.
    pub max_concurrent: usize,
    /// How long the sidecar has to run.
    pub soak: Duration,
    /// What happens when the rollout fails.
    pub on_failure: OnFailure,
    /// Whether changes are applied.
    pub mode: RolloutMode,
}

impl RolloutPlan {
    /// Describes it in a sentence.
    pub(super) fn describe(&self) -> String {
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

    /// Returns it for programs.
    pub(super) fn value(&self) -> Value {
        let Self { namespace, name, canary, max_concurrent, soak, on_failure, mode } = self;
        json!({
            "namespace": namespace,
            "name": name,
            "canary": canary,
            "maxConcurrent": max_concurrent,
            "soak": seconds(*soak),
            "onFailure": on_failure,
            "mode": mode,
        })
    }
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 { format!("{}s", duration.as_secs()) } else { format!("{}ms", duration.as_millis()) }
}
