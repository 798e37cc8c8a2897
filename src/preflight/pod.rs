//! A pod as the API server would make it from a template: with what the `LimitRanges` of its namespace write into it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{quantity::Quantity, workload::key::list};

/// Amounts by the name of the resource.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// A pod to be.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    /// `spec` of the template.
    pub spec: &'a Value,
    pub containers: Vec<Container<'a>>,
}

/// A container of either list.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub name: &'a str,
    pub fields: &'a Value,
    /// What it asks for and may use, with all defaults.
    pub resources: Resources,
    role: Role,
}

/// `requests` and `limits`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Resources {
    pub requests: Amounts,
    pub limits: Amounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    App,
    /// An init container that goes on running.
    Native,
    Init,
}

impl Container<'_> {
    /// Whether it runs as long as the application does.
    pub fn stays(&self) -> bool {
        self.role != Role::Init
    }
}

impl<'a> Pod<'a> {
    pub fn new(template: &'a Value, limit_ranges: &[Value]) -> Self {
        let spec = &template["spec"];
        let app = list(spec, "containers").map(|fields| (fields, Role::App));
        let init = list(spec, "initContainers")
            .map(|fields| (fields, if fields["restartPolicy"] == "Always" { Role::Native } else { Role::Init }));
        let containers = app.chain(init).map(|(fields, role)| Container {
            name: fields["name"].as_str().unwrap_or_default(),
            fields,
            resources: Resources::of(fields).with_defaults(limit_ranges),
            role,
        });
        Self { spec, containers: containers.collect() }
    }

    /// What the pod as a whole asks for and may use, without the overhead of its runtime.
    ///
    /// <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/753-sidecar-containers#resources-calculation-for-scheduling-and-pod-admission>
    /// and, for what is set for the pod itself,
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/>
    pub fn resources(&self) -> Resources {
        let own = &self.spec["resources"];
        let sum = |of: fn(&Resources) -> &Amounts, field: &str| {
            let mut total = self.sum(of);
            total.extend(amounts(&own[field]));
            total
        };
        let mut requests = sum(|resources| &resources.requests, "requests");
        // Here, too, a request follows the limit, but not where containers ask for something.
        follow(&mut requests, &amounts(&own["limits"]));
        Resources { requests, limits: sum(|resources| &resources.limits, "limits") }
    }

    /// The same with the overhead, as the quota and the scheduler count it.
    pub fn usage(&self) -> Resources {
        let mut resources = self.resources();
        for (name, overhead) in amounts(&self.spec["overhead"]) {
            add(&mut resources.requests, &name, overhead);
            // A pod without a limit does not get one by it.
            if resources.limits.get(&name).is_some_and(|limit| *limit > Quantity::ZERO) {
                add(&mut resources.limits, &name, overhead);
            }
        }
        resources
    }

    fn sum(&self, of: fn(&Resources) -> &Amounts) -> Amounts {
        let (mut running, mut started, mut initialising) = (Amounts::new(), Amounts::new(), Amounts::new());
        let add_all = |to: &mut Amounts, own: &Amounts| own.iter().for_each(|(name, amount)| add(to, name, *amount));
        for container in &self.containers {
            let own = of(&container.resources);
            match container.role {
                Role::App => add_all(&mut running, own),
                Role::Native => {
                    add_all(&mut running, own);
                    add_all(&mut started, own);
                }
                // While it runs, the native sidecars before it do.
                Role::Init => {
                    let mut now = started.clone();
                    add_all(&mut now, own);
                    raise(&mut initialising, now);
                }
            }
        }
        raise(&mut running, initialising);
        running
    }

    /// Whether resources are set for the pod as a whole, so that its containers need none of their own.
    pub fn has_own_resources(&self) -> bool {
        let Resources { requests, limits } = Resources::of(self.spec);
        !requests.is_empty() || !limits.is_empty()
    }

    /// Quality of service `BestEffort`: nobody asks for anything.
    /// <https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/apis/core/v1/helper/qos/qos.go>
    pub fn is_best_effort(&self) -> bool {
        let own = Resources::of(self.spec);
        let all = self.containers.iter().map(|container| &container.resources).chain([&own]);
        all.flat_map(|resources| resources.requests.iter().chain(&resources.limits))
            .all(|(name, amount)| !matches!(name.as_str(), "cpu" | "memory") || *amount == Quantity::ZERO)
    }
}

impl Resources {
    /// What is written, with the API server's own default: a request follows the limit.
    pub fn of(holder: &Value) -> Self {
        let limits = amounts(&holder["resources"]["limits"]);
        let mut requests = amounts(&holder["resources"]["requests"]);
        follow(&mut requests, &limits);
        Self { requests, limits }
    }

    /// As the API server has them, `LimitRanges` hold the defaults that follow from `max` and `min`, too.
    /// <https://kubernetes.io/docs/concepts/policy/limit-range/>
    fn with_defaults(mut self, limit_ranges: &[Value]) -> Self {
        for limit in limits_of(limit_ranges, "Container").map(|(_, limit)| limit) {
            follow(&mut self.requests, &amounts(&limit["defaultRequest"]));
            follow(&mut self.limits, &amounts(&limit["default"]));
        }
        self
    }
}

/// The items of one type of all `LimitRanges`, each with the object that it is in.
pub(super) fn limits_of<'a>(limit_ranges: &'a [Value], kind: &'a str) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    let items = limit_ranges.iter().flat_map(|range| list(&range["spec"], "limits").map(move |limit| (range, limit)));
    items.filter(move |(_, limit)| limit["type"] == kind)
}

/// A map of quantities. What is none was never stored by an API server.
pub(super) fn amounts(map: &Value) -> Amounts {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), Quantity::read(amount)?))).collect()
}

fn follow(amounts: &mut Amounts, defaults: &Amounts) {
    for (name, amount) in defaults {
        amounts.entry(name.clone()).or_insert(*amount);
    }
}

fn add(amounts: &mut Amounts, name: &str, more: Quantity) {
    let amount = amounts.entry(name.to_owned()).or_default();
    *amount = *amount + more;
}

fn raise(amounts: &mut Amounts, others: Amounts) {
    for (name, other) in others {
        let amount = amounts.entry(name).or_default();
        *amount = other.max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}}})
    }

    fn native(name: &str, cpu: &str) -> Value {
        let mut container = container(name, cpu);
        container["restartPolicy"] = "Always".into();
        container
    }

    #[test]
    fn a_pod_asks_for_what_it_needs_at_its_busiest() {
        let app = [container("a", "1"), container("b", "200m")];
        let table = [
            (json!({"containers": app}), "1200m"),
            (json!({"containers": app, "initContainers": [native("s", "300m")]}), "1500m"),
            (json!({"containers": app, "initContainers": [container("i", "1")]}), "1200m"),
            (json!({"containers": app, "initContainers": [container("i", "2")]}), "2"),
            // The init container runs beside the sidecar before it, and not beside the one behind it.
            (
                json!({"containers": app, "initContainers": [native("s", "300m"), container("i", "2"), native("t", "5m")]}),
                "2300m",
            ),
            (json!({"containers": app, "initContainers": [container("i", "2"), native("s", "300m")]}), "2"),
            (json!({"containers": app, "overhead": {"cpu": "50m"}}), "1250m"),
            (json!({"containers": app, "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "50m"}}), "3050m"),
            (json!({"containers": app, "resources": {"requests": {"memory": "1Gi"}}}), "1200m"),
        ];
        for (spec, expected) in table {
            let template = json!({"spec": spec});
            let usage = Pod::new(&template, &[]).usage();
            assert_eq!(usage.requests.get("cpu").map(ToString::to_string).as_deref(), Some(expected), "{template}");
            assert_eq!(usage.limits, Amounts::new());
        }
    }

    #[test]
    fn a_request_follows_the_limit_and_both_follow_the_limit_range() {
        let ranges = [json!({"spec": {"limits": [
            {"type": "Pod", "max": {"cpu": "9"}},
            {"type": "Container", "default": {"cpu": "2", "memory": "2Gi"}, "defaultRequest": {"cpu": "1", "memory": "1Gi"}},
        ]}})];
        let template = json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "500m"}}}]}});
        let pod = Pod::new(&template, &ranges);
        let text = |amounts: &Amounts| amounts.iter().map(|(name, amount)| format!("{name} {amount}")).collect::<Vec<_>>();
        assert_eq!(text(&pod.containers[0].resources.requests), ["cpu 500m", "memory 1Gi"]);
        assert_eq!(text(&pod.containers[0].resources.limits), ["cpu 500m", "memory 2Gi"]);
    }

    #[test]
    fn best_effort_is_who_asks_for_no_cpu_and_no_memory() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
        for (resources, expected) in [
            (json!({}), true),
            (json!({"requests": {"ephemeral-storage": "1Gi", "cpu": "0"}}), true),
            (json!({"limits": {"memory": "1Gi"}}), false),
            (json!({"requests": {"cpu": "1m"}}), false),
        ] {
            assert_eq!(Pod::new(&pod(resources.clone()), &[]).is_best_effort(), expected, "{resources}");
        }
    }
}
