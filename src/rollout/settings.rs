//! `spec.rollout`, parsed once.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
    jiff::SignedDuration,
};

use crate::api::{Canary, OnFailure, Rollout, RolloutMode};

/// How many workloads of a `LogSidecar` roll at a time, unless it says otherwise.
const MAX_CONCURRENT: usize = 5;

/// The default of `spec.rollout.soak`. Measured: a sidecar that crashes after 12 s has made its Deployment available after 3 s.
const SOAK: Duration = Duration::from_secs(15);

/// How a `LogSidecar` rolls out.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSettings {
    max_concurrent: Concurrency,
    /// How long the sidecar has to run before a workload counts as done.
    pub soak: Duration,
    /// Who goes first.
    pub canary: CanarySelection,
    /// What happens to the workload at which it fails.
    pub on_failure: OnFailure,
    /// Whether anything is changed.
    pub mode: RolloutMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concurrency {
    Count(usize),
    Percent(usize),
}

/// Who goes first.
#[derive(Clone, Debug, PartialEq)]
pub enum CanarySelection {
    /// This number of workloads.
    Count(usize),
    /// Those with these labels.
    Selected(LabelSelector),
}

impl RolloutSettings {
    /// Reads what the API server has checked; what is absent has its default.
    #[must_use]
    pub fn of(rollout: Option<&Rollout>) -> Self {
        let rollout = rollout.cloned().unwrap_or_default();
        Self {
            max_concurrent: max_concurrent(rollout.max_concurrent.as_ref()),
            soak: rollout.soak.as_deref().and_then(duration).unwrap_or(SOAK),
            canary: match rollout.canary {
                Some(Canary { selector: Some(selector), .. }) => CanarySelection::Selected(selector),
                Some(Canary { count: Some(count), .. }) => CanarySelection::Count(count.try_into().unwrap_or(usize::MAX)),
                Some(Canary { count: None, selector: None }) | None => CanarySelection::Count(1),
            },
            on_failure: rollout.on_failure,
            mode: rollout.mode,
        }
    }

    /// How many of so many workloads may roll at a time. A share is rounded down, but never to none.
    #[must_use]
    pub fn limit(&self, matched: usize) -> usize {
        match self.max_concurrent {
            Concurrency::Count(count) => count.max(1),
            Concurrency::Percent(percent) => (matched * percent / 100).max(1),
        }
    }
}

fn max_concurrent(written: Option<&IntOrString>) -> Concurrency {
    match written {
        Some(IntOrString::Int(count)) => Concurrency::Count(usize::try_from(*count).unwrap_or(1)),
        Some(IntOrString::String(share)) => {
            let percent = share.strip_suffix('%').and_then(|percent| percent.parse().ok()).map(Concurrency::Percent);
            percent.or_else(|| share.parse().ok().map(Concurrency::Count)).unwrap_or(Concurrency::Count(MAX_CONCURRENT))
        }
        None => Concurrency::Count(MAX_CONCURRENT),
    }
}

fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn settings(rollout: Value) -> RolloutSettings {
        RolloutSettings::of(Some(&serde_json::from_value(rollout).expect("a rollout")))
    }

    #[test]
    fn numbers_shares_and_durations_are_read() {
        assert_eq!(settings(json!({})), RolloutSettings::of(None));
        let limits =
            |written: Value| [0, 9, 100, 305].map(|matched| settings(json!({"maxConcurrent": written})).limit(matched));
        assert_eq!(RolloutSettings::of(None).limit(300), 5);
        assert_eq!(limits(json!(3)), [3, 3, 3, 3]);
        assert_eq!(limits(json!("3")), [3, 3, 3, 3]);
        assert_eq!(limits(json!("10%")), [1, 1, 10, 30]);
        assert_eq!(limits(json!("100%")), [1, 9, 100, 305]);
        for (text, expected) in [("15s", 15_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(settings(json!({"soak": text})).soak, Duration::from_millis(expected), "{text}");
        }
    }
}
