//! Which workloads a `LogSidecar` is for.

use std::collections::BTreeMap;

use kube::core::{Selector, SelectorExt};

use crate::{api::Target, workload::kind::Kind};

/// A workload as far as matching needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct WorkloadLabels<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// Its own labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// The target of a spec with its selector parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMatcher {
    api_group: Option<String>,
    kind: String,
    choice: Choice,
}

/// How the workloads of the kind are chosen.
#[derive(Clone, Debug, PartialEq)]
enum Choice {
    Name(String),
    Labels(Selector),
    /// A selector that the API server would refuse: it selects no workload, rather than all of them.
    Nothing,
}

impl TargetMatcher {
    /// Parses the selector of a target.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        let choice = match (&target.name, &target.selector) {
            (Some(name), _) => Choice::Name(name.clone()),
            (None, Some(selector)) => match Selector::try_from(selector.clone()) {
                Ok(selector) if !selector.selects_all() => Choice::Labels(selector),
                Ok(_) | Err(_) => Choice::Nothing,
            },
            (None, None) => Choice::Nothing,
        };
        Self { api_group: target.api_group.clone(), kind: target.kind.clone(), choice }
    }

    /// Returns whether the target selects that workload.
    #[must_use]
    pub fn matches(&self, workload: WorkloadLabels<'_>) -> bool {
        workload.kind.is_meant_by(self.api_group.as_deref(), &self.kind)
            && match &self.choice {
                Choice::Name(name) => name == workload.name,
                Choice::Labels(selector) => selector.matches(workload.labels),
                Choice::Nothing => false,
            }
    }
}
