//! What would go wrong with the new pods, known before the first write.
//!
//! The API server takes almost every pod template. It is the pods made from it that are refused: by a quota, a limit, the
//! level of Pod Security. Then a rollout hangs that was none of its owner's doing, so we look first. What the controller and
//! the command line ask is the same [`blockers`]; it is pure, and [`NamespaceConstraints`] are what the caller has read.
//!
//! * `pod`: what a pod asks for once the defaults of its namespace are in it
//! * `quota`, `limit_range`, `pod_security`, `autoscaler`: one rule of the API server each
//! * [`fn@cost`]: what a change asks for in all
//!
//! Only what a change makes worse stands in its way. What the template had before is its owner's business, and whatever is
//! only taken out goes out.

mod autoscaler;
mod cost;
mod limit_range;
mod pod;
mod pod_security;
mod quota;

use std::collections::BTreeSet;

use serde_json::Value;

pub use self::cost::{Cost, cost};
use self::pod::Pod;
use crate::{
    api::Reason,
    plan::Refusal,
    workload::{
        key::{containers, list},
        kind::Kind,
    },
};

/// What a namespace says about new pods, as the API server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceConstraints {
    /// The Namespace itself, for its labels.
    pub namespace: Value,
    /// Its `ResourceQuotas`.
    pub quotas: Vec<Value>,
    /// Its `LimitRanges`.
    pub limit_ranges: Vec<Value>,
    /// Its `HorizontalPodAutoscalers`, as `autoscaling/v2` has them.
    pub autoscalers: Vec<Value>,
}

/// A change of a pod template that is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The kind of workload.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// The template as it is.
    pub before: &'a Value,
    /// The template as it would be.
    pub after: &'a Value,
    /// The pods made from it.
    pub pods: Pods,
}

/// How many pods are made from a template, and how they are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pods {
    /// How many there are to be.
    pub wanted: i64,
    /// Whether a new pod has to start before an old one goes: `maxUnavailable` comes to 0.
    pub surges: bool,
}

impl Change<'_> {
    /// Whether everything in the new template is in the old one as well.
    fn only_takes_out(&self) -> bool {
        let (before, after) = (&self.before["spec"], &self.after["spec"]);
        let mounts = |container: &Value| {
            containers(self.before).any(|old| is_same(old, container) && contains(old, container, "volumeMounts"))
        };
        contains(before, after, "volumes") && containers(self.after).all(mounts)
    }

    /// Whether a container was there before and stays as it is.
    fn leaves(&self, container: &Value) -> bool {
        containers(self.before).any(|old| is_same(old, container))
    }
}

fn contains(one: &Value, other: &Value, field: &str) -> bool {
    list(other, field).all(|item| list(one, field).any(|before| before == item))
}

/// What we do to containers of others are mounts.
fn is_same(one: &Value, other: &Value) -> bool {
    without_mounts(one) == without_mounts(other)
}

fn without_mounts(container: &Value) -> Value {
    let mut container = container.clone();
    if let Some(fields) = container.as_object_mut() {
        fields.shift_remove("volumeMounts");
    }
    container
}

/// One thing that a pod does not meet.
#[derive(Clone, Debug)]
struct Finding {
    /// What tells it from every other of the same pod, and says whether an earlier template had it.
    key: String,
    /// What is not met, and by whom. Findings that share it are reported together.
    subject: String,
    /// What to write instead.
    advice: String,
}

/// Everything that is known to stand in the way of a change.
///
/// Guarantees: nothing that the template before did not meet either, as far as a pod by itself is concerned; nothing for a
/// change that only takes out; no value of an environment variable in a message.
#[must_use]
pub fn blockers(change: &Change<'_>, constraints: &NamespaceConstraints) -> Vec<Refusal> {
    if change.only_takes_out() {
        return Vec::new();
    }
    let before = Pod::new(change.before, &constraints.limit_ranges);
    let after = Pod::new(change.after, &constraints.limit_ranges);
    let known: BTreeSet<String> = unmet(change, &before, constraints).into_iter().map(|finding| finding.key).collect();
    let mut findings = unmet(change, &after, constraints);
    findings.retain(|finding| !known.contains(&finding.key));
    findings.extend(quota::without_room(change.pods, &before, &after, &constraints.quotas));
    refusals(findings)
}

/// What a pod by itself does not meet.
fn unmet(change: &Change<'_>, pod: &Pod<'_>, constraints: &NamespaceConstraints) -> Vec<Finding> {
    let NamespaceConstraints { namespace, quotas, limit_ranges, autoscalers } = constraints;
    let mut findings = pod_security::unmet(pod, namespace);
    findings.extend(limit_range::unmet(pod, limit_ranges));
    findings.extend(quota::unmet(change, pod, quotas));
    findings.extend(autoscaler::unmet(change, pod, autoscalers));
    findings
}

/// One refusal for each subject, in the order in which they were found.
fn refusals(findings: Vec<Finding>) -> Vec<Refusal> {
    let mut subjects: Vec<(String, Vec<String>)> = Vec::new();
    for Finding { key: _, subject, advice } in findings {
        match subjects.iter_mut().find(|(known, _)| *known == subject) {
            Some((_, advices)) if advices.contains(&advice) => {}
            Some((_, advices)) => advices.push(advice),
            None => subjects.push((subject, vec![advice])),
        }
    }
    let message = |(subject, advices): (String, Vec<String>)| format!("{subject}: {}", advices.join("; "));
    subjects.into_iter().map(|subject| Refusal::new(Reason::Blocked, message(subject))).collect()
}

/// The name of an object.
fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
