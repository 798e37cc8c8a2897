//! Laws that hold for all changes, and what the tables of the single rules are written with.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A change and what is around it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    before: Value,
    after: Value,
    pods: Pods,
    constraints: NamespaceConstraints,
}

impl Case {
    /// A sidecar comes.
    pub fn puts_in(template: &Value, sidecar: &Value) -> Self {
        Self::replaces_all(template, &with(template, sidecar))
    }

    /// Another sidecar comes in its place.
    pub fn replaces(template: &Value, old: &Value, new: &Value) -> Self {
        Self::replaces_all(&with(template, old), &with(template, new))
    }

    /// Another template comes.
    pub fn replaces_all(before: &Value, after: &Value) -> Self {
        let constraints =
            NamespaceConstraints { namespace: json!({"metadata": {"name": "shop"}}), ..NamespaceConstraints::default() };
        Self { before: before.clone(), after: after.clone(), pods: Pods { wanted: 3, surges: false }, constraints }
    }

    pub fn pods(mut self, wanted: i64, surges: bool) -> Self {
        self.pods = Pods { wanted, surges };
        self
    }

    pub fn quota(mut self, quota: &Value) -> Self {
        self.constraints.quotas.push(quota.clone());
        self
    }

    pub fn limit_range(mut self, range: &Value) -> Self {
        self.constraints.limit_ranges.push(range.clone());
        self
    }

    pub fn autoscaler(mut self, autoscaler: &Value) -> Self {
        self.constraints.autoscalers.push(autoscaler.clone());
        self
    }

    pub fn level(mut self, level: &str) -> Self {
        self.constraints.namespace["metadata"]["labels"] = json!({"pod-security.kubernetes.io/enforce": level});
        self
    }

    fn change(&self) -> Change<'_> {
        Change { kind: Kind::Deployment, name: "web", before: &self.before, after: &self.after, pods: self.pods }
    }

    fn back(&self) -> Self {
        Self { before: self.after.clone(), after: self.before.clone(), ..self.clone() }
    }
}

/// What is told.
pub(super) fn messages(case: &Case) -> Vec<String> {
    let refusals = blockers(&case.change(), &case.constraints);
    assert!(refusals.iter().all(|refusal| refusal.reason == Reason::Blocked));
    refusals.into_iter().map(|refusal| refusal.message).collect()
}

/// A pod with one container.
pub(super) fn app(resources: Value) -> Value {
    let mut container = json!({"name": "app", "image": "app:1"});
    container["resources"] = resources;
    json!({"spec": {"containers": [container]}})
}

/// A native sidecar.
pub(super) fn sidecar(resources: Value) -> Value {
    sidecar_with(Value::Object(serde_json::Map::from_iter([("resources".to_owned(), resources)])))
}

pub(super) fn sidecar_with(mut fields: Value) -> Value {
    fields["name"] = "ship".into();
    fields["restartPolicy"] = "Always".into();
    fields["env"] = json!([{"name": "TOKEN", "value": "a-secret"}]);
    fields
}

/// Requests and limits alike.
pub(super) fn resources(cpu: &str, memory: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": memory});
    json!({"requests": amounts, "limits": amounts})
}

pub(super) fn quota(hard: &Value, used: &Value) -> Value {
    json!({"metadata": {"name": "compute"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
}

/// The template with the sidecar in it.
fn with(template: &Value, sidecar: &Value) -> Value {
    let mut template = template.clone();
    template["spec"]["initContainers"] = json!([sidecar]);
    template
}

// --- laws ---

fn amounts() -> impl Strategy<Value = Value> {
    let amount = || prop_oneof![Just(None), prop::sample::select(vec!["0", "5m", "1", "16Mi", "1Gi", "1.5"]).prop_map(Some)];
    (amount(), amount(), amount(), amount()).prop_map(|(a, b, c, d)| {
        let pair = |cpu: Option<&str>, memory: Option<&str>| {
            let both = [("cpu", cpu), ("memory", memory)];
            both.into_iter()
                .filter_map(|(name, amount)| Some((name.to_owned(), amount?.into())))
                .collect::<serde_json::Map<_, _>>()
        };
        json!({"requests": pair(a, b), "limits": pair(c, d)})
    })
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let context = prop::sample::select(vec![
        json!({}),
        json!({"privileged": true}),
        json!({"runAsUser": 0, "allowPrivilegeEscalation": false}),
        json!({"capabilities": {"add": ["SYS_ADMIN"]}}),
    ]);
    (amounts(), context, any::<bool>(), 0..3u8).prop_map(move |(resources, context, native, mounts)| {
        let mounts: Vec<Value> = (0..mounts).map(|n| json!({"name": format!("v{n}"), "mountPath": format!("/{n}")})).collect();
        let mut container = json!({"name": name, "resources": resources, "securityContext": context, "volumeMounts": mounts});
        if native {
            container["restartPolicy"] = "Always".into();
        }
        container
    })
}

fn template() -> impl Strategy<Value = Value> {
    let init = prop::option::of(container("init"));
    let volumes =
        prop::sample::subsequence(vec![json!({"name": "v0", "emptyDir": {}}), json!({"name": "v1", "hostPath": {}})], 0..=2);
    (container("a"), prop::option::of(container("b")), init, prop::option::of(container("ship")), volumes).prop_map(
        |(a, b, init, ship, volumes)| {
            let containers: Vec<Value> = [Some(a), b].into_iter().flatten().collect();
            let init: Vec<Value> = [init, ship].into_iter().flatten().collect();
            json!({"spec": {"containers": containers, "initContainers": init, "volumes": volumes}})
        },
    )
}

fn constraints() -> impl Strategy<Value = NamespaceConstraints> {
    let level = prop::sample::select(vec!["privileged", "baseline", "restricted"]);
    let bounds = (amounts(), prop::sample::select(vec!["Container", "Pod"])).prop_map(|(amounts, kind)| {
        json!({"metadata": {"name": "bounds"}, "spec": {"limits": [{"type": kind, "min": amounts["requests"], "max": amounts["limits"]}]}})
    });
    let scope = prop::sample::select(vec![json!([]), json!(["BestEffort"]), json!(["NotBestEffort"])]);
    let quotas = (amounts(), amounts(), scope).prop_map(|(hard, used, scope)| {
        let mut quota = quota(&hard["limits"], &used["limits"]);
        quota["spec"]["scopes"] = scope;
        quota
    });
    let autoscaler = json!({"metadata": {"name": "busy"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]}});
    (level, prop::collection::vec(bounds, 0..2), prop::collection::vec(quotas, 0..2), any::<bool>()).prop_map(
        move |(level, limit_ranges, quotas, scaled)| NamespaceConstraints {
            namespace: json!({"metadata": {"name": "shop", "labels": {"pod-security.kubernetes.io/enforce": level}}}),
            quotas,
            limit_ranges,
            autoscalers: if scaled { vec![autoscaler.clone()] } else { Vec::new() },
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    (template(), template(), constraints(), 0..5i64, any::<bool>()).prop_map(|(before, after, constraints, wanted, surges)| {
        Case { before, after, pods: Pods { wanted, surges }, constraints }
    })
}

proptest! {
    #[test]
    fn no_change_is_never_blocked(case in case()) {
        let same = Case { after: case.before.clone(), ..case };
        prop_assert_eq!(messages(&same), [""; 0]);
    }

    #[test]
    fn taking_out_is_never_blocked(case in case(), init in any::<bool>()) {
        let mut less = case.before.clone();
        let gone = if init { "initContainers" } else { "volumes" };
        less["spec"][gone].as_array_mut().expect("a list").pop();
        less["spec"]["containers"][0]["volumeMounts"] = json!([]);
        prop_assert_eq!(messages(&Case { after: less, ..case }), [""; 0]);
    }

    #[test]
    fn the_way_back_costs_the_opposite(case in case()) {
        prop_assert_eq!(cost(&case.back().change()), -cost(&case.change()));
    }

    #[test]
    fn a_namespace_that_says_nothing_blocks_nothing(case in case()) {
        prop_assert_eq!(messages(&Case { constraints: NamespaceConstraints::default(), ..case }), [""; 0]);
    }

    #[test]
    fn what_blocks_is_unmet_by_the_new_pod_and_was_not_by_the_old(case in case()) {
        let case = Case { pods: Pods { wanted: 0, surges: false }, ..case };
        let unmet_by = |template: &Value| -> Vec<String> {
            let pod = Pod::new(template, &case.constraints.limit_ranges);
            let findings = unmet(&case.change(), &pod, &case.constraints);
            findings.into_iter().map(|finding| format!("{}: {}", finding.subject, finding.advice)).collect()
        };
        let (old, new) = (unmet_by(&case.before), unmet_by(&case.after));
        for message in messages(&case) {
            let (subject, advices) = message.split_once(": ").expect("a subject");
            let of_subject: Vec<&String> = new.iter().filter(|unmet| unmet.starts_with(subject)).collect();
            prop_assert!(of_subject.iter().any(|unmet| message.starts_with(unmet.as_str())), "{message}: {advices}");
            prop_assert!(!old.contains(&message), "{message}");
        }
    }

    #[test]
    fn no_message_tells_a_value_of_the_environment(case in case(), fields in container("ship")) {
        let mut before = case.before.clone();
        before["spec"]["initContainers"] = json!([]);
        let put_in = Case { after: with(&before, &sidecar_with(fields)), before, ..case };
        prop_assert!(messages(&put_in).iter().all(|message| !message.contains("a-secret")));
    }
}

#[test]
fn the_laws_are_not_about_nothing() {
    let full = quota(&json!({"limits.cpu": "1"}), &json!({"limits.cpu": "1"}));
    let put_in = Case::puts_in(&app(resources("1", "1Gi")), &sidecar(resources("5m", "16Mi"))).level("restricted").quota(&full);
    assert_eq!(messages(&put_in).len(), 2);
    assert_eq!(messages(&put_in.back()), [""; 0]);
    assert_eq!(messages(&put_in.pods(3, true).back()), [""; 0]);
}
