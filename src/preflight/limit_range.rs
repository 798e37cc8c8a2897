//! `LimitRanges`: the least and the most that a container or a pod may ask for.
//! <https://github.com/kubernetes/kubernetes/blob/v1.35.0/plugin/pkg/admission/limitranger/admission.go>

use serde_json::Value;

use super::{
    Finding, name,
    pod::{Pod, Resources, amounts, limits_of},
};
use crate::quantity::Quantity;

#[derive(Clone, Copy, Debug)]
enum Bound {
    Min,
    Max,
    Ratio,
}

impl Bound {
    const ALL: [Self; 3] = [Self::Min, Self::Max, Self::Ratio];

    const fn field(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Ratio => "maxLimitRequestRatio",
        }
    }

    /// Whether it is kept. What is not said keeps no bound: neither the least nor the most.
    fn is_kept(self, bound: Quantity, request: Option<Quantity>, limit: Option<Quantity>) -> bool {
        match self {
            Self::Min => request.is_some_and(|request| request >= bound) && limit.is_none_or(|limit| limit >= bound),
            Self::Max => limit.is_some_and(|limit| limit <= bound) && request.is_none_or(|request| request <= bound),
            Self::Ratio => match (request, limit) {
                (Some(request), Some(limit)) if request > Quantity::ZERO && limit > Quantity::ZERO => {
                    // limit / request <= bound, without dividing
                    let most = request.nano().saturating_mul(bound.nano());
                    limit.nano().saturating_mul(Quantity::whole(1).nano()) <= most
                }
                _ => false,
            },
        }
    }
}

/// Where containers, or the pod, are out of bounds.
pub(super) fn unmet(pod: &Pod<'_>, limit_ranges: &[Value]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (range, limit) in limits_of(limit_ranges, "Container") {
        for container in &pod.containers {
            let of = |advice| format!("write {advice} in sidecar.container.resources");
            findings.extend(broken(limit, &container.resources).map(|(bound, resource, advice)| Finding {
                key: format!("limit {} container {} {bound} {resource}", name(range), container.name),
                subject: format!("LimitRange {} bounds every container, and {} is not within", name(range), container.name),
                advice: of(advice),
            }));
        }
    }
    let whole = pod.resources();
    for (range, limit) in limits_of(limit_ranges, "Pod") {
        findings.extend(broken(limit, &whole).map(|(bound, resource, advice)| Finding {
            key: format!("limit {} pod {bound} {resource}", name(range)),
            subject: format!(
                "LimitRange {} bounds every pod, and with the sidecar all containers together are not within",
                name(range)
            ),
            advice: format!(
                "they need {advice}; have the sidecar ask for less in sidecar.container.resources, or raise the bound"
            ),
        }));
    }
    findings
}

/// The bounds that are not kept: which, of which resource, and what to write.
fn broken<'a>(limit: &'a Value, resources: &'a Resources) -> impl Iterator<Item = (&'static str, String, String)> + 'a {
    Bound::ALL.into_iter().flat_map(move |kind| {
        amounts(&limit[kind.field()]).into_iter().filter_map(move |(resource, bound)| {
            let [request, limit] = [&resources.requests, &resources.limits].map(|amounts| amounts.get(&resource).copied());
            let told = |amount: Option<Quantity>| amount.map_or_else(|| "none".to_owned(), |amount| amount.to_string());
            let now = format!("(now request {}, limit {})", told(request), told(limit));
            let advice = match kind {
                Bound::Min => format!("a request of {resource} of at least {bound} {now}"),
                Bound::Max => format!("a limit of {resource} of at most {bound} {now}"),
                Bound::Ratio => format!("a limit of {resource} of at most {bound} times its request {now}"),
            };
            (!kind.is_kept(bound, request, limit)).then(|| (kind.field(), resource, advice))
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::preflight::tests::{Case, app, messages, resources, sidecar};
    use serde_json::{Value, json};

    fn range(kind: &str, bounds: Value) -> Value {
        let mut limit = bounds;
        limit["type"] = kind.into();
        json!({"metadata": {"name": "bounds"}, "spec": {"limits": [limit]}})
    }

    fn found(ours: Value, kind: &str, bounds: Value) -> Vec<String> {
        let case = Case::puts_in(&app(resources("1", "1Gi")), &sidecar(ours));
        messages(&case.limit_range(&range(kind, bounds)))
    }

    #[test]
    fn a_sidecar_has_to_be_within_the_bounds_of_a_container() {
        let container = |advice: &str| {
            vec![format!(
                "LimitRange bounds bounds every container, and ship is not within: write {advice} in sidecar.container.resources"
            )]
        };
        let table = [
            (resources("5m", "16Mi"), json!({"min": {"cpu": "5m"}, "max": {"cpu": "1"}}), vec![]),
            (
                resources("5m", "16Mi"),
                json!({"min": {"cpu": "10m"}}),
                container("a request of cpu of at least 10m (now request 5m, limit 5m)"),
            ),
            (
                json!({}),
                json!({"min": {"cpu": "10m"}}),
                container("a request of cpu of at least 10m (now request none, limit none)"),
            ),
            (json!({}), json!({"min": {"cpu": "10m"}, "defaultRequest": {"cpu": "10m"}}), vec![]),
            (
                json!({"limits": {"memory": "64Mi"}}),
                json!({"max": {"memory": "32Mi"}, "default": {"memory": "32Mi"}}),
                container("a limit of memory of at most 32Mi (now request 64Mi, limit 64Mi)"),
            ),
            (
                json!({"requests": {"memory": "16Mi"}}),
                json!({"max": {"memory": "32Mi"}}),
                container("a limit of memory of at most 32Mi (now request 16Mi, limit none)"),
            ),
            (json!({}), json!({"max": {"memory": "32Mi"}, "default": {"memory": "32Mi"}}), vec![]),
            (
                json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}),
                json!({"maxLimitRequestRatio": {"cpu": "4"}}),
                container("a limit of cpu of at most 4 times its request (now request 100m, limit 1)"),
            ),
            (
                json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "1"}}),
                json!({"maxLimitRequestRatio": {"cpu": "4"}}),
                vec![],
            ),
        ];
        for (ours, bounds, expected) in table {
            // The application is out of some of these bounds, and that is its owner's business.
            assert_eq!(found(ours.clone(), "Container", bounds.clone()), expected, "{ours} {bounds}");
        }
    }

    #[test]
    fn a_pod_has_to_be_within_the_bounds_with_its_sidecar() {
        let expected = "LimitRange bounds bounds every pod, and with the sidecar all containers together are not within: they need a limit of memory of at most 1Gi (now request 1040Mi, limit 1040Mi); have the sidecar ask for less in sidecar.container.resources, or raise the bound";
        assert_eq!(found(resources("5m", "16Mi"), "Pod", json!({"max": {"memory": "1Gi"}})), [expected]);
        assert_eq!(found(resources("5m", "16Mi"), "Pod", json!({"max": {"memory": "1040Mi"}})), [""; 0]);
        // The only limit in the pod is that of the sidecar.
        let unlimited = app(json!({"requests": {"cpu": "1"}}));
        let case = Case::puts_in(&unlimited, &sidecar(resources("5m", "16Mi")));
        assert_eq!(messages(&case.limit_range(&range("Pod", json!({"min": {"cpu": "10m"}})))).len(), 1);
        assert_eq!(found(resources("5m", "16Mi"), "Pod", json!({"max": {"memory": "1Mi"}, "min": {"cpu": "9"}})), [""; 0]);
    }
}
