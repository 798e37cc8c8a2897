//! `ResourceQuotas`: what every container has to say, and whether there is room for the new pods.
//! <https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/quota/v1/evaluator/core/pods.go>

use serde_json::Value;

use super::{
    Change, Finding, Pods, name,
    pod::{Amounts, Pod, Resources, amounts},
};
use crate::{quantity::Quantity, workload::key::list};

/// What a quota on it makes a duty of every container; of all other resources it only counts what is there.
const DUTIES: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// What containers do not say although a quota on it makes them.
///
/// That may be a container of the application: a quota on pods that are not `BestEffort` counts its pods only since there is a
/// sidecar that asks for something.
pub(super) fn unmet(change: &Change<'_>, pod: &Pod<'_>, quotas: &[Value]) -> Vec<Finding> {
    if pod.has_own_resources() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for quota in quotas.iter().filter(|quota| counts(quota, pod)) {
        let hard = hard(quota);
        for duty in DUTIES.iter().filter(|duty| hard.contains_key(**duty)) {
            for container in pod.containers.iter().filter(|container| asked(&container.resources, duty).is_none()) {
                let field = if duty.contains('.') { (*duty).to_owned() } else { format!("requests.{duty}") };
                let holder = if change.leaves(container.fields) { "its " } else { "sidecar.container." };
                findings.push(Finding {
                    key: format!("quota {} {duty} {}", name(quota), container.name),
                    subject: format!(
                        "ResourceQuota {} counts these pods and makes each container say what it asks for, which {} does not",
                        name(quota),
                        container.name
                    ),
                    advice: format!("write {holder}resources.{field}"),
                });
            }
        }
    }
    findings
}

/// What a change needs more of than a quota has left.
///
/// A quota that is exceeded anyway does not stop a change that needs no more of it; but where a new pod has to start first
/// and cannot, a change would hang half-way whoever is to blame.
pub(super) fn without_room(pods: Pods, before: &Pod<'_>, after: &Pod<'_>, quotas: &[Value]) -> Vec<Finding> {
    let (old_usage, new_usage) = (before.usage(), after.usage());
    let mut findings = Vec::new();
    for quota in quotas {
        let (was_counted, is_counted) = (counts(quota, before), counts(quota, after));
        let used = amounts(&quota["status"]["used"]);
        for (resource, hard) in hard(quota) {
            let used = used.get(&resource).copied().unwrap_or_default();
            let of = |usage, counted: bool| asked(usage, &resource).filter(|_| counted).unwrap_or_default();
            let need = Need { old: of(&old_usage, was_counted), new: of(&new_usage, is_counted), used, hard };
            let Some((subject, advice)) = need.without_room(pods, &resource) else { continue };
            let name = name(quota);
            findings.push(Finding {
                key: format!("quota {name} {resource}"),
                subject: format!("ResourceQuota {name} has no room for this change"),
                advice: format!("{subject}: {advice}"),
            });
        }
    }
    findings
}

/// One resource of one quota.
struct Need {
    old: Quantity,
    new: Quantity,
    used: Quantity,
    hard: Quantity,
}

impl Need {
    /// What would happen, and what to do instead.
    fn without_room(&self, pods: Pods, resource: &str) -> Option<(String, String)> {
        let Self { old, new, used, hard } = *self;
        let (more, wanted) = (new - old, pods.wanted);
        let in_the_end = used + more.times(wanted);
        if wanted > 0 && more > Quantity::ZERO && in_the_end > hard {
            let told =
                format!("{wanted} pods with {more} more of {resource} each would make it {in_the_end} of {hard} (now {used})");
            let less = if resource.contains("pods") {
                ""
            } else {
                ", or have the sidecar ask for less in sidecar.container.resources"
            };
            return Some((told, format!("raise it{less}")));
        }
        // The first pod comes on top of all old ones; the last one on top of one old and all other new ones.
        let peak = used + new + more.times(wanted - 1).max(Quantity::ZERO);
        if pods.surges && wanted > 0 && new > Quantity::ZERO && peak > hard {
            let told = format!(
                "a new pod has to start before an old one goes, which would make {resource} {peak} of {hard} (now {used})"
            );
            return Some((told, "raise it, or set maxUnavailable of the workload's rolling update to 1".to_owned()));
        }
        None
    }
}

/// As the quota's controller has taken it over from the spec, else as the spec has it.
fn hard(quota: &Value) -> Amounts {
    let known = amounts(&quota["status"]["hard"]);
    if known.is_empty() { amounts(&quota["spec"]["hard"]) } else { known }
}

/// What is asked for, by the name that it has in a quota. `None` for what is not asked for, and for what is not about pods.
fn asked(resources: &Resources, name: &str) -> Option<Quantity> {
    if let Some(resource) = name.strip_prefix("limits.") {
        return resources.limits.get(resource).copied();
    }
    match name {
        "pods" | "count/pods" => Some(Quantity::whole(1)),
        name => resources.requests.get(name.strip_prefix("requests.").unwrap_or(name)).copied(),
    }
}

/// Whether a quota counts a pod.
///
/// One that selects by priority class counts nothing here: which class a pod gets without naming one is known to the API
/// server alone. So it is with scopes that are newer than this.
fn counts(quota: &Value, pod: &Pod<'_>) -> bool {
    let selected = quota.pointer("/spec/scopeSelector/matchExpressions").and_then(Value::as_array).into_iter().flatten();
    let exist = |expression: &Value| expression["operator"] == "Exists";
    let scopes =
        list(&quota["spec"], "scopes").chain(selected.map(|one| if exist(one) { &one["scopeName"] } else { &Value::Null }));
    let ends = pod.spec.get("activeDeadlineSeconds").is_some_and(Value::is_number);
    scopes.into_iter().all(|scope| match scope.as_str() {
        Some("Terminating") => ends,
        Some("NotTerminating") => !ends,
        Some("BestEffort") => pod.is_best_effort(),
        Some("NotBestEffort") => !pod.is_best_effort(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use crate::preflight::tests::{Case, app, messages, quota, resources, sidecar};
    use serde_json::json;

    #[test]
    fn a_quota_makes_every_container_say_what_it_asks_for() {
        let ours = sidecar(json!({"requests": {"cpu": "5m"}}));
        let all = json!({"requests.cpu": "9", "memory": "9Gi", "limits.cpu": "9", "requests.ephemeral-storage": "9Gi", "services": "1"});
        let expected = "ResourceQuota compute counts these pods and makes each container say what it asks for, which ship does not: write sidecar.container.resources.requests.memory; write sidecar.container.resources.limits.cpu";
        let case = Case::puts_in(&app(resources("1", "1Gi")), &ours);
        assert_eq!(messages(&case.quota(&quota(&all, &json!({})))), [expected]);
        // What its owner's container lacks is not ours to say.
        let case = Case::puts_in(&app(json!({})), &sidecar(resources("5m", "16Mi")));
        assert_eq!(messages(&case.quota(&quota(&all, &json!({})))), [""; 0]);
        // A limit range says it, or the pod as a whole.
        let case = Case::puts_in(&app(resources("1", "1Gi")), &ours);
        let defaults =
            json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"memory": "1Mi"}}]}});
        assert_eq!(messages(&case.quota(&quota(&all, &json!({}))).limit_range(&defaults)), [""; 0]);
        let mut own = app(resources("1", "1Gi"));
        own["spec"]["resources"] = resources("1", "1Gi");
        assert_eq!(messages(&Case::puts_in(&own, &ours).quota(&quota(&all, &json!({})))), [""; 0]);
    }

    #[test]
    fn what_the_new_pods_need_more_has_to_fit() {
        let case = || Case::puts_in(&app(resources("1", "1Gi")), &sidecar(resources("5m", "16Mi")));
        let hard = json!({"limits.memory": "3100Mi", "requests.cpu": "3015m", "requests.ephemeral-storage": "0"});
        let full = "ResourceQuota compute has no room for this change: 3 pods with 16Mi more of limits.memory each would make it 3120Mi of 3100Mi (now 3Gi): raise it, or have the sidecar ask for less in sidecar.container.resources";
        let used = json!({"limits.memory": "3Gi", "requests.cpu": "3"});
        assert_eq!(messages(&case().quota(&quota(&hard, &used))), [full]);
        let roomy = json!({"limits.memory": "3120Mi", "requests.cpu": "3015m"});
        assert_eq!(messages(&case().quota(&quota(&roomy, &used))), [""; 0]);
        // Nobody runs.
        assert_eq!(messages(&case().pods(0, true).quota(&quota(&hard, &used))), [""; 0]);
        // What it asks for of another resource, or not more of this one, does not matter.
        let full = json!({"limits.memory": "1", "requests.storage": "0", "count/pods": "0", "pods": "0"});
        let same =
            Case::replaces(&app(resources("1", "1Gi")), &sidecar(resources("5m", "16Mi")), &sidecar(resources("6m", "16Mi")));
        let exceeded = json!({"limits.memory": "2", "pods": "7"});
        assert_eq!(messages(&same.quota(&quota(&full, &exceeded))), [""; 0]);
    }

    #[test]
    fn where_a_pod_has_to_start_first_there_has_to_be_room_for_it() {
        let case = || Case::puts_in(&app(resources("1", "1Gi")), &sidecar(resources("5m", "16Mi"))).pods(3, true);
        let used = json!({"requests.cpu": "3", "pods": "3"});
        let peak = "ResourceQuota compute has no room for this change: a new pod has to start before an old one goes, which would make requests.cpu 4015m of 4 (now 3): raise it, or set maxUnavailable of the workload's rolling update to 1";
        assert_eq!(messages(&case().quota(&quota(&json!({"requests.cpu": "4", "pods": "4"}), &used))), [peak]);
        assert_eq!(messages(&case().quota(&quota(&json!({"requests.cpu": "4015m"}), &used))), [""; 0]);
        assert_eq!(messages(&case().quota(&quota(&json!({"pods": "3"}), &used))).len(), 1);
        assert_eq!(
            messages(&case().pods(3, false).quota(&quota(&json!({"requests.cpu": "3015m", "pods": "3"}), &used))),
            [""; 0]
        );
    }

    #[test]
    fn a_quota_counts_the_pods_of_its_scope() {
        let table = [
            (json!({"scopes": ["NotBestEffort"]}), 1),
            (json!({"scopes": ["BestEffort"]}), 0),
            (json!({"scopes": ["NotTerminating", "NotBestEffort"]}), 1),
            (json!({"scopes": ["Terminating"]}), 0),
            (json!({"scopeSelector": {"matchExpressions": [{"scopeName": "NotTerminating", "operator": "Exists"}]}}), 1),
            (
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}),
                0,
            ),
        ];
        for (scope, expected) in table {
            let mut quota = quota(&json!({"requests.cpu": "1"}), &json!({"requests.cpu": "1"}));
            scope.as_object().expect("fields").iter().for_each(|(field, value)| quota["spec"][field] = value.clone());
            let case = Case::puts_in(&app(resources("1", "1Gi")), &sidecar(resources("5m", "16Mi")));
            assert_eq!(messages(&case.quota(&quota)).len(), expected, "{scope}");
        }
    }

    #[test]
    fn a_sidecar_that_asks_for_something_brings_its_pod_under_a_quota() {
        let mut quota = quota(&json!({"requests.cpu": "9", "pods": "1"}), &json!({}));
        quota["spec"]["scopes"] = json!(["NotBestEffort"]);
        let found = messages(&Case::puts_in(&app(json!({})), &sidecar(resources("5m", "16Mi"))).quota(&quota));
        assert_eq!(
            found,
            [
                "ResourceQuota compute counts these pods and makes each container say what it asks for, which app does not: write its resources.requests.cpu",
                "ResourceQuota compute has no room for this change: 3 pods with 1 more of pods each would make it 3 of 1 (now 0): raise it",
            ]
        );
    }
}
