//! Policies are evaluated here, by the interpreter behind `kube`'s feature `cel`: whatever one of them does to an object is what
//! `inject` does to it. `tests/trust/policy.rs` shows the same on an API server.

use std::thread;

use logsidecar::{
    api::LogSidecarSpec,
    plan::{
        self, Claim, Intent, Plan, PlanInput, RENDERER, ResolvedSpec,
        object::{embed, ledger_text},
    },
    policy::{self, Policy, PolicySource, Version},
    shipper::Images,
    workload::{
        kind::Kind,
        ledger::{Before, Ledger},
        owned::Owned,
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::{api_server::admit, logsidecar::run};

// --- what `inject` does ---

fn kind_of(spec: &LogSidecarSpec) -> Kind {
    let meant = Kind::BUILT_IN.into_iter().find(|kind| kind.is_meant_by(None, &spec.target.kind));
    meant.expect("one of Kubernetes' own")
}

fn made(spec: &LogSidecarSpec) -> Result<Value, policy::Error> {
    let images = Images::default();
    let spec = &ResolvedSpec::new("one", spec.clone(), &images);
    let source = PolicySource { namespace: "default", kind: kind_of(spec.spec()), spec, images: &images };
    policy::policy(source, Version::V1).map(|Policy { policy, .. }| policy)
}

fn injected(object: &Value, spec: &LogSidecarSpec) -> Option<Value> {
    let (kind, spec) = (kind_of(spec), ResolvedSpec::new("one", spec.clone(), &Images::default()));
    let template = object.pointer(kind.template()).expect("a template");
    let input = PlanInput { uid: None, template, ledger: None, owned: &Owned::default(), before: Before::Well, kind };
    let plan = plan::plan(&input, &[Claim { name: "one", uid: None, revision: None, intent: Intent::Apply(&spec) }]);
    let Plan { results, .. } = &plan;
    results[0].result.is_ok().then(|| {
        let mut object = object.clone();
        embed(&mut object, kind, plan);
        object
    })
}

/// The template without the ledger, which that of a Pod has, too.
fn template(object: &Value, kind: Kind) -> Value {
    let mut template = object.pointer(kind.template()).expect("a template").clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, value| field != "annotations" || value.get("logsidecar.dev/injected").is_none());
    }
    template
}

// --- objects and specs ---

fn one_of<T: Clone + std::fmt::Debug + 'static>(values: impl Into<Vec<T>>) -> impl Strategy<Value = T> {
    prop::sample::select(values.into())
}

/// Parts of objects, by name; the name alone says what is in it.
fn with(mut object: Value, fields: Vec<(&str, Option<Value>)>) -> Value {
    for (field, value) in fields {
        if let Some(value) = value {
            object[field] = value;
        }
    }
    object
}

fn security_context() -> impl Strategy<Value = Option<Value>> {
    let user = one_of([None, Some(json!(0)), Some(json!(7)), Some(json!(70000))]);
    let (group, root) = (one_of([None, Some(json!(0)), Some(json!(8))]), one_of([None, Some(json!(true)), Some(json!(false))]));
    (any::<bool>(), user, group, root).prop_map(|(any, user, group, root)| {
        any.then(|| with(json!({}), vec![("runAsUser", user), ("runAsGroup", group), ("runAsNonRoot", root)]))
    })
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let mount = |path: &str| json!({"name": "v", "mountPath": path});
    let mounts = ["/", "/var", "/var/log", "/var/log/", "/var/log/app/x", "/var/lo", "/var/log.d", "/data", "/l"].map(mount);
    let mounts = prop_oneof![4 => Just(None), 1 => one_of(mounts).prop_map(|mount| Some(json!([mount]))), 1 => Just(Some(json!([mount("/other")])))];
    (mounts, security_context()).prop_map(move |(mounts, context)| {
        with(json!({"name": name, "image": "app:1"}), vec![("volumeMounts", mounts), ("securityContext", context)])
    })
}

/// A pod as an API server has it: nothing in it is `null`, no list is empty.
fn pod() -> impl Strategy<Value = Value> {
    let others = one_of([None, None, Some("b"), Some("one"), Some("ship")]);
    let init = prop_oneof![2 => Just(None), 1 => one_of(["b", "init", "one"]).prop_flat_map(container).prop_map(Some)];
    let volumes = one_of([
        json!({"name": "v", "emptyDir": {}}),
        json!({"name": "v", "configMap": {"name": "c"}}),
        json!({"name": "v", "persistentVolumeClaim": {"claimName": "c", "readOnly": true}}),
        json!({"name": "mine", "emptyDir": {}}),
        json!({"name": "logs-a-var-log", "emptyDir": {}}),
    ]);
    let volumes = prop_oneof![1 => Just(None), 2 => volumes.prop_map(|volume| Some(json!([volume])))];
    let default = one_of([None, Some("a"), Some("b"), Some("none")]);
    let name = one_of(["a", "a", "a", "a-container-of-a-name-that-takes-nearly-all-of-sixty-three-byte"]);
    (name, container("a"), others, container("b"), init, volumes, security_context(), default).prop_map(
        |(name, mut first, other, second, init, volumes, context, default)| {
            first["name"] = name.into();
            let second = other.map(|name| with(second, vec![("name", Some(name.into()))]));
            let init = init.filter(|init| second.as_ref().is_none_or(|second| second["name"] != init["name"]));
            let containers: Vec<Value> = [Some(first), second].into_iter().flatten().collect();
            let spec = with(
                json!({"containers": containers}),
                vec![("initContainers", init.map(|init| json!([init]))), ("volumes", volumes), ("securityContext", context)],
            );
            let annotations = default.map(|name| json!({"kubectl.kubernetes.io/default-container": name}));
            json!({"metadata": with(json!({"labels": {"a": "b"}}), vec![("annotations", annotations)]), "spec": spec})
        },
    )
}

fn object(kind: Kind, pod: &Value) -> Value {
    let mut object = json!({"metadata": {"name": "web"}});
    if kind == Kind::Pod {
        object["spec"] = pod["spec"].clone();
        if let Some(annotations) = pod["metadata"].get("annotations") {
            object["metadata"]["annotations"] = annotations.clone();
        }
        return object;
    }
    if kind == Kind::CronJob {
        object["spec"] = json!({"jobTemplate": {"spec": {}}});
    }
    let (holder, field) = kind.template().rsplit_once('/').expect("a pointer");
    if object.pointer(holder).is_none() {
        object["spec"] = json!({});
    }
    object.pointer_mut(holder).expect("a holder")[field] = pod.clone();
    object
}

fn log(name: &'static str) -> impl Strategy<Value = Value> {
    let volume = one_of([
        None,
        None,
        Some(json!({"name": "mine", "emptyDir": {"medium": "Memory"}})),
        Some(json!({"persistentVolumeClaim": {"claimName": "claim"}, "subPath": "x"})),
        Some(json!({"existing": {"name": "v"}})),
    ]);
    let container = one_of([None, None, Some(json!("a")), Some(json!("b")), Some(json!("init"))]);
    let directory = one_of(["/var/log", "/var/log/app", "/var/log/App_1", "/l", "/data/$(x) 'y' \"z\" \\é😀"]);
    let elsewhere = one_of([None, None, Some(json!("/logs"))]);
    (directory, container, volume, elsewhere).prop_map(move |(directory, container, volume, elsewhere)| {
        with(
            json!({"name": name, "directory": directory, "files": ["*.log", "'\"\\'${x}'%ü"]}),
            vec![("container", container), ("volume", volume), ("sidecarDirectory", elsewhere)],
        )
    })
}

fn spec() -> impl Strategy<Value = LogSidecarSpec> {
    let logs = prop_oneof![3 => log("x").prop_map(|log| vec![log]), 2 => (log("x"), log("y")).prop_map(|(x, y)| vec![x, y])];
    let sidecar = one_of([
        json!({"tail": {}}),
        json!({"tail": {}}),
        json!({"tail": {}, "placement": "Container", "container": {"securityContext": {"runAsUser": 5}, "resources": {"limits": {"cpu": 2}}}}),
        json!({"fluentBit": {"port": 8080}}),
        json!({"fluentd": {"config": "\"\\\n${x}{{y}}", "state": {"persistentVolumeClaim": {"claimName": "c"}}}}),
        json!({"container": {"image": "ship:1", "env": [{"name": "A", "value": "\"\\\n\r\t\u{7}\u{2028}${x}{{y}}"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}}),
        json!({"container": {"name": "ship", "image": "ship:1", "volumeMounts": [{"name": "v", "mountPath": "/config"}]}, "placement": "Native"}),
    ]);
    (logs, sidecar, one_of(Kind::BUILT_IN)).prop_map(|(logs, sidecar, kind)| {
        let target = json!({"name": "web", "kind": kind.name()});
        serde_json::from_value(json!({"target": target, "logs": logs, "sidecar": sidecar})).expect("a spec")
    })
}

// --- laws ---

/// The interpreter goes deep, and so does the stack that it needs.
fn deep(test: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(1 << 28).spawn(test).expect("a thread").join().expect("the test passes");
}

/// Whether something is where the policy would have to look twice.
fn is_plain(pod: &Value, spec: &LogSidecarSpec) -> bool {
    let unnamed = spec.logs.iter().filter(|log| log.container.is_none()).count();
    let existing = spec.logs.iter().any(|log| log.volume.as_ref().is_some_and(|volume| volume.existing.is_some()));
    let text = pod["spec"].to_string();
    let own_mount = spec.sidecar.as_ref().is_some_and(|sidecar| json!(sidecar).to_string().contains("/config"));
    !text.contains("mountPath")
        && !text.contains("sixty-three")
        && !text.contains("\"mine\"")
        && !existing
        && !own_mount
        && (unnamed == 0 || unnamed == spec.logs.len())
}

fn check(pod: &Value, spec: &LogSidecarSpec, seen: &mut [u32; 2]) -> TestCaseResult {
    let kind = kind_of(spec);
    let object = object(kind, pod);
    let Ok(policy) = made(spec) else { return Ok(()) };
    let planned = injected(&object, spec);
    let Some(admitted) = admit(&policy, &object) else {
        seen[1] += 1;
        prop_assert!(planned.is_none() || !is_plain(pod, spec), "{} is left alone", object);
        return Ok(());
    };
    seen[0] += 1;
    prop_assert!(planned.is_some(), "inject refuses {}", object);
    let planned = planned.unwrap_or_default();
    prop_assert_eq!(template(&admitted, kind), template(&planned, kind));
    let ledger = ledger_text(&admitted).map(Ledger::parse).transpose().expect("a ledger");
    prop_assert_eq!(ledger, Some(Ledger::of_policy("one", RENDERER)));
    prop_assert_eq!(admit(&policy, &admitted), None, "once more");
    Ok(())
}

#[test]
fn what_a_policy_does_is_what_inject_does() {
    deep(|| {
        let seen = std::cell::RefCell::new([0, 0]);
        // One case is two policies' worth of parsing: a quarter of what `PROPTEST_CASES` says.
        let default = Config::default();
        let config = Config { cases: default.cases / 4, failure_persistence: None, ..default };
        // The same cases each time, so that there are enough of both sorts every time.
        let rng = TestRng::deterministic_rng(config.rng_algorithm);
        let result = TestRunner::new_with_rng(config, rng)
            .run(&(pod(), spec()), |(pod, spec)| check(&pod, &spec, &mut seen.borrow_mut()));
        result.unwrap_or_else(|error| panic!("{error}"));
        let [mutated, left] = seen.into_inner();
        assert!(mutated > 5 && left > 5, "{mutated} mutated, {left} left alone: one of the two is not looked at");
    });
}

#[test]
fn what_a_policy_has_put_into_an_object_is_taken_out_of_its_manifest_by_way_of_inject() {
    deep(|| {
        let example =
            |file: &str| std::fs::read_to_string(format!("{}/examples/tail-builtin/{file}", env!("CARGO_MANIFEST_DIR")));
        let object = |text: &str| logsidecar::manifest::read("x", text.as_bytes()).expect("a manifest").remove(0).value;
        let (workload, sidecar) = (example("workload.yaml").expect("a file"), example("logsidecar.yaml").expect("a file"));
        let policy = object(&example("policy.yaml").expect("a file"));
        let admitted = admit(&policy, &object(&workload)).expect("the target").to_string();
        let alone = run(&["uninject", "-f", "-"], admitted.as_bytes());
        assert_eq!(object(&alone.stdout), object(&admitted), "only its LogSidecar says what is its");
        assert!(alone.stderr.contains("LogSidecar app-logs: a policy put it in"), "{}", alone.stderr);
        let known = run(&["inject", "-f", "-"], format!("{sidecar}\n---\n{admitted}").as_bytes());
        assert_eq!(template(&object(&known.stdout), Kind::Deployment), template(&object(&admitted), Kind::Deployment));
        let out = run(&["uninject", "-f", "-"], known.stdout.as_bytes());
        let mut plain = object(&workload);
        // Nobody remembers that there were no annotations.
        plain["metadata"]["annotations"] = object(&out.stdout)["metadata"]["annotations"].clone();
        if plain["metadata"]["annotations"].is_null() {
            plain["metadata"].as_object_mut().expect("a map").shift_remove("annotations");
        }
        assert_eq!(object(&out.stdout), plain);
    });
}
