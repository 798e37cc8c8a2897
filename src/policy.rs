//! From a `LogSidecar` to a `MutatingAdmissionPolicy` that puts it into new objects, inside the API server.
//!
//! The policy puts in what the planner puts into stubs of pod templates (`template_stub`, `sketch`), as one expression
//! (`merge_cases`, `cel`): policy, `inject` and controller cannot drift apart. Conditions (`conditions`) exclude what an expression
//! cannot decide and what `inject` would refuse; such a workload is left to the controller, or stays without a sidecar. Pure.

mod cel;
mod conditions;
mod merge_cases;
mod mutation;
mod place;
mod sketch;
mod template_stub;

use serde_json::{Value, json};

use self::{conditions::PolicyContext, place::TemplatePlace, sketch::Sketch};
use crate::{
    plan::{Refusal, ResolvedSpec, Warning},
    shipper::Images,
    workload::kind::Kind,
};

/// The version of the API that a policy is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Kubernetes 1.34 and 1.35, where it has to be enabled.
    V1Beta1,
    /// Kubernetes 1.36 and later.
    V1,
}

impl Version {
    /// The version as in `apiVersion:`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1Beta1 => "admissionregistration.k8s.io/v1beta1",
            Self::V1 => "admissionregistration.k8s.io/v1",
        }
    }
}

/// A `LogSidecar` to make a policy of.
#[derive(Clone, Copy, Debug)]
pub struct PolicySource<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The kind that its target means.
    pub kind: Kind,
    /// Its spec.
    pub spec: &'a ResolvedSpec,
    /// The shippers' images; those of the controller, or it does not know its sidecars again.
    pub images: &'a Images,
}

/// A policy and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The `MutatingAdmissionPolicy`.
    pub policy: Value,
    /// Its `MutatingAdmissionPolicyBinding`.
    pub binding: Value,
    /// What the policy leaves alone, each as what follows "a Deployment".
    pub left: Vec<String>,
    /// What the planner says about all of them, in which a container that is not named is called `CONTAINER`.
    pub warnings: Vec<Warning>,
}

/// There is no policy for a `LogSidecar`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It contradicts itself.
    #[error("spec: {}: {refusal}", .refusal.reason)]
    Refused {
        /// What the planner says.
        refusal: Refusal,
    },
    /// The name of a volume depends on that of a container by a digest.
    #[error(
        "spec.logs[{log}]: the volume is named after its container by a digest, which the API server cannot compute: write logs[{log}].container, or logs[{log}].volume.name"
    )]
    VolumeName {
        /// The entry of `logs`.
        log: String,
    },
}

/// Makes the policy for a `LogSidecar`.
///
/// # Guarantees
/// An object that the policy mutates gets the very template that `inject` gives it, and one more entry in its ledger.
pub fn policy(source: PolicySource<'_>, version: Version) -> Result<Policy, Error> {
    let PolicySource { namespace, kind, spec: resolved, images } = source;
    let (name, spec) = (resolved.name(), resolved.spec());
    let (place, sketch) = (TemplatePlace::of(kind), Sketch::new(resolved, kind, images)?);
    let context = PolicyContext { name, kind, spec, place: &place, sketch: &sketch };
    let conditions = context.conditions();
    let left: Vec<String> = conditions.iter().filter_map(|condition| condition.left.clone()).collect();
    let patch = context.patch();
    // A name has no dot, so that no two of them in any two namespaces meet.
    let object = format!("{name}.{namespace}.logsidecar.dev");
    let mut constraints = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "resourceRules": [rule(kind)],
    });
    if let Some(selector) = &spec.target.selector {
        constraints["objectSelector"] = json!(selector);
    }
    let policy = json!({
        "apiVersion": version.api_version(),
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": object, "annotations": {"kubernetes.io/description": description(source, &left)}},
        "spec": {
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "Never",
            "matchConstraints": constraints,
            "matchConditions": conditions.iter().map(conditions::MatchCondition::value).collect::<Vec<_>>(),
            "variables": context.variables(&patch),
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        },
    });
    let binding = json!({
        "apiVersion": version.api_version(),
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": object},
        "spec": {"policyName": object},
    });
    let warnings = sketch.warnings.iter().map(|Warning(text)| Warning(sketch.placeholders.readable(text))).collect();
    Ok(Policy { policy, binding, left, warnings })
}

fn rule(kind: Kind) -> Value {
    let resource = kind.resource();
    json!({
        "apiGroups": [resource.group],
        "apiVersions": [resource.version],
        "operations": ["CREATE"],
        "resources": [resource.plural],
    })
}

/// What whoever finds the policy in his cluster should know.
fn description(PolicySource { namespace, kind, spec, images: _ }: PolicySource<'_>, left: &[String]) -> String {
    let name = spec.name();
    let which = spec
        .spec()
        .target
        .name
        .as_ref()
        .map_or_else(|| format!("every {kind} of its selector"), |name| format!("{kind} {name}"));
    let mut text = format!(
        "Made by `logsidecar policy` of LogSidecar {namespace}/{name}: print it anew when that changes.\nPuts the sidecar into {which} when it is created.\nfailurePolicy: Ignore, so that a {kind} is never refused because of its logs: it is created without the sidecar.\n"
    );
    text.push_str(&rest(kind));
    left.iter().for_each(|left| text.push_str(&format!("\n- {left}")));
    text
}

/// The head of the list of what a policy leaves alone.
#[must_use]
pub fn rest(kind: Kind) -> String {
    if Kind::IN_CLUSTER.contains(&kind) || matches!(kind, Kind::Custom(_)) {
        format!("Left to the controller is a {kind}")
    } else {
        format!("Created without the sidecar is a {kind}")
    }
}

#[cfg(test)]
mod tests;
