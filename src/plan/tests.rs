//! Laws that hold for all pods, and a table of decisions.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    claim::{Claim, Evidence, Intent, Lifecycle, LogSidecarView},
    *,
};
use crate::{
    api::{DeletionPolicy, LogSidecarSpec},
    shipper::Images,
    workload::{key, kind::Kind, ledger, normal::normal},
};

const UID: &str = "uid-of-workload";

/// A workload that is planned step after step, as the controller does it.
#[derive(Clone, Debug)]
struct World {
    template: Value,
    ledger: Option<Ledger>,
}

impl World {
    fn new(template: &Value) -> Self {
        Self { template: template.clone(), ledger: None }
    }

    fn plan(&self, claims: &[(&str, Intent<'_>)]) -> Plan {
        // One spec serves several LogSidecars here, each under its own name.
        let named = |(name, intent): &(&str, Intent<'_>)| match intent {
            Intent::Apply(spec) => Some(resolved(name, spec.spec().clone())),
            Intent::Keep(_) | Intent::Remove(_) | Intent::Orphan => None,
        };
        let named: Vec<Option<ResolvedSpec>> = claims.iter().map(named).collect();
        let claims: Vec<Claim<'_>> = claims
            .iter()
            .zip(&named)
            .map(|((name, intent), spec)| Claim {
                name,
                uid: Some(name),
                revision: None,
                intent: spec.as_ref().map_or(*intent, Intent::Apply),
            })
            .collect();
        let ledger = self.ledger.as_ref();
        plan(
            &PlanInput {
                uid: Some(UID),
                template: &self.template,
                ledger,
                owned: &Owned::default(),
                before: Before::Well,
                kind: Kind::Deployment,
            },
            &claims,
        )
    }

    /// Carries a plan out, the ledger by way of its text.
    fn then(&self, claims: &[(&str, Intent<'_>)]) -> Self {
        let plan = self.plan(claims);
        let text = plan.ledger.as_ref().and_then(Ledger::text);
        let ledger = text.map(|text| Ledger::parse(&text).expect("own text"));
        assert_eq!(ledger, plan.ledger);
        Self { template: plan.template, ledger }
    }
}

fn remove() -> Intent<'static> {
    Intent::Remove(Evidence::Deleting)
}

fn resolved(name: &str, spec: LogSidecarSpec) -> ResolvedSpec {
    ResolvedSpec::new(name, spec, &Images::default())
}

/// The spec of the `LogSidecar` `one`.
fn spec(value: Value) -> ResolvedSpec {
    resolved("one", serde_json::from_value(value).expect("a spec"))
}

/// What an API server adds to a template.
fn defaulted(template: &Value) -> Value {
    let mut template = template.clone();
    for list in ["containers", "initContainers"] {
        for container in template["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let container = container.as_object_mut().expect("a container");
            for (field, default) in [
                ("terminationMessagePath", json!("/dev/termination-log")),
                ("terminationMessagePolicy", json!("File")),
                ("imagePullPolicy", json!("IfNotPresent")),
                ("resources", json!({})),
            ] {
                container.entry(field).or_insert(default);
            }
        }
    }
    template
}

// --- pods and specs ---

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["/var/log", "/var/log/app", "/var/log/app/sub", "/data", "/data/logs", "/l"])
}

fn volume() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"emptyDir": {}}),
        json!({"persistentVolumeClaim": {"claimName": "claim"}}),
        json!({"configMap": {"name": "config"}}),
    ])
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let mount = (0..2usize, path(), any::<bool>())
        .prop_map(|(volume, path, read_only)| json!({"name": format!("v{volume}"), "mountPath": path, "readOnly": read_only}));
    let mounts = prop_oneof![
        Just(None),
        Just(Some(json!([]))),
        Just(Some(Value::Null)),
        prop::collection::vec(mount, 1..3).prop_map(|mut mounts| {
            mounts.dedup_by_key(|mount| mount["mountPath"].clone());
            Some(json!(mounts))
        }),
    ];
    mounts.prop_map(move |mounts| {
        let mut container = json!({"name": name, "image": "app:1", "unknown": {"b": 1, "a": 2}});
        if let Some(mounts) = mounts {
            container["volumeMounts"] = mounts;
        }
        container
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let blank = || prop_oneof![Just(None), Just(Some(json!([]))), Just(Some(Value::Null))];
    let init = prop_oneof![blank(), container("init").prop_map(|container| Some(json!([container])))];
    (volume(), volume(), container("a"), container("b"), any::<bool>(), init, blank()).prop_map(|(v0, v1, a, b, two, init, volumes)| {
        let mut pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": if two { json!([a, b]) } else { json!([a]) }}});
        let uses_volumes = pod.to_string().contains("mountPath") || init.as_ref().is_some_and(|init| init.to_string().contains("mountPath"));
        if uses_volumes {
            let named = |name: &str, mut volume: Value| {
                volume["name"] = name.into();
                volume
            };
            pod["spec"]["volumes"] = json!([named("v0", v0), named("v1", v1)]);
        } else if let Some(volumes) = volumes {
            pod["spec"]["volumes"] = volumes;
        }
        if let Some(init) = init {
            pod["spec"]["initContainers"] = init;
        }
        pod
    })
}

fn log(name: &'static str) -> impl Strategy<Value = Value> {
    let volume = prop::sample::select(vec![
        Value::Null,
        json!({}),
        json!({"name": "mine", "emptyDir": {"medium": "Memory"}}),
        json!({"persistentVolumeClaim": {"claimName": "claim"}, "subPath": "x"}),
        json!({"existing": {"name": "v0"}}),
    ]);
    let sidecar_directory = prop_oneof![Just(Value::Null), Just(json!("/logs"))];
    (path(), prop::sample::select(vec!["a", "b"]), volume, sidecar_directory).prop_map(
        move |(directory, container, volume, sidecar_directory)| {
            let mut log = json!({"name": name, "directory": directory, "container": container});
            for (field, value) in [("volume", volume), ("sidecarDirectory", sidecar_directory)] {
                if !value.is_null() {
                    log[field] = value;
                }
            }
            log
        },
    )
}

fn any_spec() -> impl Strategy<Value = ResolvedSpec> {
    let logs = prop_oneof![log("x").prop_map(|log| json!([log])), (log("x"), log("y")).prop_map(|(x, y)| json!([x, y]))];
    let sidecar = prop::sample::select(vec![
        json!({"tail": {}}),
        json!({"tail": {}, "placement": "Container"}),
        json!({"fluentBit": {}}),
        json!({"fluentBit": {"bufferSize": "8Mi", "state": {"name": "kept", "emptyDir": {}}}, "container": {"name": "ship"}}),
        json!({"fluentd": {"configMapRef": {"name": "theirs", "key": "k"}, "state": {"existing": {"name": "v1"}}}}),
        json!({"container": {"image": "ship:1", "env": [{"name": "A", "value": "1"}]}}),
        json!({"container": {"name": "ship", "image": "ship:1"}, "placement": "Native"}),
        json!({"container": {"image": "ship:1", "ports": [{"name": "metrics", "containerPort": 9090}]}}),
    ]);
    (logs, sidecar).prop_map(|(logs, sidecar)| spec(json!({"target": {"name": "web"}, "logs": logs, "sidecar": sidecar})))
}

proptest! {
    #[test]
    fn injecting_again_changes_nothing_whatever_the_server_added(pod in pod(), one in any_spec(), two in any_spec()) {
        let claims = [("one", Intent::Apply(&one)), ("two", Intent::Apply(&two))];
        let mut world = World::new(&pod).then(&claims);
        let again = world.plan(&claims);
        prop_assert_eq!((&again.template, &again.ledger), (&world.template, &world.ledger));
        world.template = defaulted(&world.template);
        let again = world.plan(&claims);
        prop_assert_eq!((again.template, again.ledger), (world.template, world.ledger));
    }

    #[test]
    fn taking_out_undoes_putting_in_in_any_order(pod in pod(), one in any_spec(), two in any_spec(), first in any::<bool>()) {
        let apply = [("one", Intent::Apply(&one)), ("two", Intent::Apply(&two))];
        let world = World::new(&pod).then(&apply[..1]).then(&apply);
        let half = if first { [("one", remove()), apply[1]] } else { [apply[0], ("two", remove())] };
        let world = world.then(&half).then(&[("one", remove()), ("two", remove())]);
        prop_assert_eq!((world.template.to_string(), world.ledger), (pod.to_string(), None));
    }

    #[test]
    fn what_the_ledger_does_not_name_stays_as_it_was(pod in pod(), one in any_spec()) {
        let world = World::new(&pod).then(&[("one", Intent::Apply(&one))]);
        let mut stripped = world.template.clone();
        let items = world.ledger.iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys());
        items.for_each(|key| key.remove(&mut stripped, None));
        // A list that was blank is the one thing that cannot be told from one that was not there.
        let comparable = |pod: &Value| normal(&Key::Container(String::new()), pod);
        prop_assert_eq!(comparable(&stripped), comparable(&pod));
    }

    #[test]
    fn a_refused_one_leaves_no_trace(pod in pod(), one in any_spec()) {
        let plan = World::new(&pod).plan(&[("one", Intent::Apply(&one))]);
        if plan.results[0].result.is_err() {
            prop_assert_eq!((plan.template, plan.ledger), (pod, None));
        }
    }

    #[test]
    fn keeping_changes_nothing(pod in pod(), one in any_spec(), two in any_spec()) {
        let world = World::new(&pod).then(&[("one", Intent::Apply(&one))]);
        let plan = world.plan(&[("one", Intent::Keep(Reason::Suspended))]);
        prop_assert_eq!((&plan.template, &plan.ledger), (&world.template, &world.ledger));
        let both = world.then(&[("one", Intent::Keep(Reason::Suspended)), ("two", Intent::Apply(&two))]);
        let back = both.then(&[("one", Intent::Keep(Reason::Suspended)), ("two", remove())]);
        prop_assert_eq!((back.template.to_string(), back.ledger), (world.template.to_string(), world.ledger));
    }

    #[test]
    fn a_lost_ledger_is_found_again(pod in pod(), one in any_spec()) {
        let claims = [("one", Intent::Apply(&one))];
        let world = World::new(&pod).then(&claims);
        let lost = World::new(&world.template).then(&claims);
        prop_assert_eq!(&lost.template, &world.template);
        let keys = |world: &World| -> Vec<Key> {
            world.ledger.iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys().cloned()).collect()
        };
        // A mount of an existing volume may be the owner's own: it is left to him.
        let uses_existing = one.spec().logs.iter().any(|log| log.volume.as_ref().is_some_and(|volume| volume.existing.is_some()));
        prop_assert!(keys(&lost).iter().all(|key| keys(&world).contains(key)));
        prop_assert!(uses_existing || keys(&lost) == keys(&world));
    }
}

// --- decisions ---

fn app() -> Value {
    json!({"spec": {"containers": [{"name": "app", "image": "app:1"}]}})
}

fn with(pointer: &str, value: Value) -> Value {
    let mut pod = app();
    pod["spec"]["volumes"] = json!([
        {"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "c"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "other"}},
    ]);
    let (holder, field) = pointer.rsplit_once('/').expect("a pointer");
    pod.pointer_mut(holder).expect("a holder")[field] = value;
    pod
}

fn mounted(volume: &str, path: &str) -> Value {
    with("/spec/containers/0/volumeMounts", json!([{"name": volume, "mountPath": path}]))
}

fn logs(log: Value) -> ResolvedSpec {
    let mut log = log;
    log["name"] = "x".into();
    spec(json!({"target": {"name": "web"}, "logs": [log], "sidecar": {"container": {"image": "ship:1"}}}))
}

#[test]
fn a_pod_that_has_less_time_to_end_than_the_sidecar_waits_gets_one_that_does_not_wait() {
    let collector = spec(json!({
        "target": {"name": "web"}, "logs": [{"name": "app", "directory": "/l"}],
        "sidecar": {"otelCollector": {}}, "outputs": [{"name": "loki", "loki": {"url": "http://loki:3100"}}],
    }));
    for (seconds, waits) in [(json!(null), true), (json!(2), true), (json!(1), false), (json!(0), false)] {
        let pod = with("/spec/terminationGracePeriodSeconds", seconds.clone());
        let plan = World::new(&pod).plan(&[("one", Intent::Apply(&collector))]);
        let Ok(Effect::Applied(warnings)) = &plan.results[0].result else { panic!("{:?}", plan.results[0]) };
        let told = warnings.iter().any(|warning| warning.0.contains("terminationGracePeriodSeconds"));
        let sidecar = &plan.template["spec"]["initContainers"][0];
        assert_eq!((sidecar["lifecycle"].is_object(), told), (waits, !waits), "{seconds}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let two = with("/spec/containers", json!([{"name": "app"}, {"name": "other"}]));
    let table = [
        (two.clone(), json!({"directory": "/l"}), Reason::ContainerAmbiguous),
        (app(), json!({"directory": "/l", "container": "none"}), Reason::ContainerNotFound),
        (with("/spec/initContainers", json!([{"name": "one"}])), json!({"directory": "/l"}), Reason::ContainerNameTaken),
        (mounted("config", "/l"), json!({"directory": "/l"}), Reason::VolumeReadOnly),
        (mounted("config", "/l"), json!({"directory": "/l/sub"}), Reason::VolumeReadOnly),
        (
            mounted("data", "/l"),
            json!({"directory": "/l", "volume": {"persistentVolumeClaim": {"claimName": "c"}}}),
            Reason::DirectoryMounted,
        ),
        (
            mounted("data", "/l"),
            json!({"directory": "/l", "volume": {"existing": {"name": "claim"}}}),
            Reason::DirectoryMounted,
        ),
        (mounted("data", "/l"), json!({"directory": "/l/sub", "sidecarDirectory": "/logs"}), Reason::MountPathTaken),
        (mounted("data", "/d"), json!({"directory": "/l", "volume": {"name": "claim"}}), Reason::VolumeNameTaken),
        (app(), json!({"directory": "/l", "volume": {"existing": {"name": "none"}}}), Reason::VolumeNotFound),
        (mounted("data", "/d"), json!({"directory": "/l", "volume": {"existing": {"name": "config"}}}), Reason::VolumeReadOnly),
        (
            with("/spec/containers/0/volumeMounts", json!([{"name": "data", "mountPath": "/l", "subPathExpr": "$(POD)"}])),
            json!({"directory": "/l"}),
            Reason::EnvNotFound,
        ),
    ];
    for (pod, log, reason) in table {
        let spec = logs(log.clone());
        let refusal = World::new(&pod).plan(&[("one", Intent::Apply(&spec))]).results.remove(0).result.expect_err("refused");
        assert_eq!(refusal.reason, reason, "{log} in {pod}: {refusal}");
    }
}

#[test]
fn a_sidecar_keeps_its_port_and_another_does_not_get_it() {
    let container = json!({"image": "ship:1", "ports": [{"name": "metrics", "containerPort": 9090}]});
    let logs = json!([{"name": "x", "directory": "/l"}]);
    let spec = spec(json!({"target": {"name": "web"}, "logs": logs, "sidecar": {"container": container}}));
    let claims = [("one", Intent::Apply(&spec)), ("two", Intent::Apply(&spec))];
    let world = World::new(&app()).then(&claims[..1]);
    let plan = world.plan(&claims);
    let results: Vec<_> = plan.results.iter().map(|result| result.result.as_ref().err().map(|no| no.reason)).collect();
    assert_eq!((plan.template, results), (world.template, vec![None, Some(Reason::PortTaken)]));
}

/// The mounts of the application and of the sidecar, and the volumes that were added.
fn outcome(pod: &Value, spec: &ResolvedSpec) -> Value {
    let plan = World::new(pod).plan(&[("one", Intent::Apply(spec))]);
    let before = key::list(&pod["spec"], "volumes").count();
    let sidecar = key::container(&plan.template, "one").expect("a sidecar");
    let app = key::container(&plan.template, "app").expect("an app");
    let added: Vec<&Value> = key::list(&plan.template["spec"], "volumes").skip(before).collect();
    json!({"app": app.get("volumeMounts"), "sidecar": sidecar["volumeMounts"], "env": sidecar.get("env"), "added": added})
}

#[test]
fn a_mount_that_is_there_is_used_and_never_mounted_over() {
    let env = json!([{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "DIR", "value": "x/$(POD)"}]);
    let mut expression =
        with("/spec/containers/0/volumeMounts", json!([{"name": "data", "mountPath": "/l", "subPathExpr": "$(DIR)"}]));
    expression["spec"]["containers"][0]["env"] = env.clone();
    let table = [
        (
            app(),
            json!({"directory": "/l", "sidecarDirectory": "/s"}),
            json!({"app": [{"name": "logs-app-l", "mountPath": "/l"}], "sidecar": [{"name": "logs-app-l", "mountPath": "/s"}],
                "env": null, "added": [{"name": "logs-app-l", "emptyDir": {}}]}),
        ),
        (
            mounted("data", "/l"),
            json!({"directory": "/l", "sidecarDirectory": "/s"}),
            json!({"app": [{"name": "data", "mountPath": "/l"}], "sidecar": [{"name": "data", "mountPath": "/s"}], "env": null, "added": []}),
        ),
        (
            mounted("data", "/l"),
            json!({"directory": "/l/sub", "sidecarDirectory": "/s/sub"}),
            json!({"app": [{"name": "data", "mountPath": "/l"}], "sidecar": [{"name": "data", "mountPath": "/s"}], "env": null, "added": []}),
        ),
        (
            mounted("data", "/logs"),
            json!({"directory": "/l", "volume": {"existing": {"name": "claim"}, "subPath": "p"}}),
            json!({"app": [{"name": "data", "mountPath": "/logs"}, {"name": "claim", "mountPath": "/l", "subPath": "p"}],
                "sidecar": [{"name": "claim", "mountPath": "/l", "subPath": "p"}], "env": null, "added": []}),
        ),
        (
            expression,
            json!({"directory": "/l"}),
            json!({"app": [{"name": "data", "mountPath": "/l", "subPathExpr": "$(DIR)"}],
                "sidecar": [{"name": "data", "mountPath": "/l", "subPathExpr": "$(DIR)"}], "env": env, "added": []}),
        ),
    ];
    for (pod, log, expected) in table {
        assert_eq!(outcome(&pod, &logs(log.clone())), expected, "{log}");
    }
}

#[test]
fn two_share_one_volume_and_each_leaves_without_the_other() {
    let (one, two) = (logs(json!({"directory": "/l"})), logs(json!({"directory": "/l"})));
    let both = World::new(&app()).then(&[("one", Intent::Apply(&one)), ("two", Intent::Apply(&two))]);
    assert_eq!(key::list(&both.template["spec"], "volumes").count(), 1);
    let only = both.then(&[("one", remove()), ("two", Intent::Apply(&two))]);
    assert_eq!(only.template, World::new(&app()).then(&[("two", Intent::Apply(&two))]).template);
}

#[test]
fn a_newcomer_never_displaces_the_one_that_is_there() {
    let name = |image: &str| {
        spec(
            json!({"target": {"name": "web"}, "logs": [{"name": "x", "directory": "/l"}], "sidecar": {"container": {"name": "ship", "image": image}}}),
        )
    };
    let (old, new) = (name("old:1"), name("new:1"));
    let world = World::new(&app()).then(&[("b", Intent::Apply(&old))]);
    let plan = world.plan(&[("a", Intent::Apply(&new)), ("b", Intent::Apply(&old))]);
    assert_eq!(plan.template, world.template);
    let results: Vec<Option<Reason>> =
        plan.results.into_iter().map(|result| result.result.err().map(|refusal| refusal.reason)).collect();
    assert_eq!(results, [Some(Reason::ContainerNameTaken), None]);
}

#[test]
fn an_item_that_somebody_else_made_his_own_is_handed_over() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    world.template["spec"]["volumes"][0] = json!({"name": "logs-app-l", "hostPath": {"path": "/x"}});
    let plan = world.plan(&[("one", remove())]);
    assert_eq!(plan.handed_over, [Key::Volume("logs-app-l".into())]);
    assert_eq!(
        plan.template["spec"],
        json!({"containers": app()["spec"]["containers"], "volumes": world.template["spec"]["volumes"]})
    );
    assert_eq!(plan.ledger, None);
}

#[test]
fn a_volume_of_ours_that_somebody_mounts_stays() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let mine = json!({"name": "mine", "volumeMounts": [{"name": "logs-app-l", "mountPath": "/elsewhere"}]});
    world.template["spec"]["containers"].as_array_mut().expect("a list").push(mine.clone());
    let again = world.plan(&[("one", Intent::Apply(&one))]);
    assert_eq!((&again.template, &again.ledger), (&world.template, &world.ledger));
    let plan = world.plan(&[("one", remove())]);
    assert_eq!(plan.handed_over, [Key::Volume("logs-app-l".into())]);
    assert_eq!(plan.template["spec"]["containers"], json!([app()["spec"]["containers"][0], mine]));
    assert_eq!(plan.template["spec"]["volumes"], json!([{"name": "logs-app-l", "emptyDir": {}}]));
}

#[test]
fn a_copy_is_taken_over_if_it_fits_and_never_taken_apart_otherwise() {
    let one = logs(json!({"directory": "/l"}));
    let world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let mut copy = world.clone();
    copy.ledger.as_mut().expect("a ledger").workload = Some("another".into());
    let rebound = copy.then(&[("one", Intent::Apply(&one))]);
    assert_eq!(rebound.template, world.template);
    assert_eq!(rebound.ledger.expect("a ledger").workload.as_deref(), Some(UID));
    let untouched = copy.plan(&[]);
    assert_eq!((untouched.template, untouched.ledger), (copy.template.clone(), copy.ledger.clone()));
    let other = logs(json!({"directory": "/other"}));
    let plan = copy.plan(&[("one", Intent::Apply(&other))]);
    assert_eq!(plan.results[0].result.as_ref().expect_err("refused").reason, Reason::ForeignLedger);
    assert_eq!(plan.template, copy.template);
}

#[test]
fn the_controller_never_takes_out_what_a_manifest_holds() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let ledger = world.ledger.as_mut().expect("a ledger");
    (ledger.workload, ledger.sidecars[0].uid, ledger.sidecars[0].origin) = (None, None, ledger::Origin::File);
    for claims in [&[("one", Intent::Apply(&one))][..], &[("one", remove())], &[]] {
        let after = world.then(claims);
        assert_eq!((&after.template, &after.ledger), (&world.template, &world.ledger), "{claims:?}");
    }
}

#[test]
fn what_two_share_stays_until_the_last_of_them_goes() {
    let (one, two) = (logs(json!({"directory": "/l"})), logs(json!({"directory": "/l"})));
    let both = World::new(&app()).then(&[("one", Intent::Apply(&one)), ("two", Intent::Apply(&two))]);
    let suspended = Intent::Keep(Reason::Suspended);
    let kept = both.then(&[("one", remove()), ("two", suspended)]);
    let mount = json!([{"name": "logs-app-l", "mountPath": "/l"}]);
    assert_eq!(key::container(&kept.template, "app").expect("an app")["volumeMounts"], mount);
    assert_eq!(kept.then(&[("two", remove())]).template, app());
}

#[test]
fn the_name_of_a_refused_one_hides_no_container() {
    let pod = with("/spec/containers", json!([{"name": "app"}, {"name": "helper"}]));
    let mut pod = pod;
    pod["metadata"] = json!({"annotations": {"kubectl.kubernetes.io/default-container": "app"}});
    let b = logs(json!({"directory": "/l"}));
    let world = World::new(&pod).then(&[("b", Intent::Apply(&b))]);
    let plan = world.plan(&[("app", Intent::Apply(&b)), ("b", Intent::Apply(&b))]);
    assert_eq!(plan.template, world.template);
    assert_eq!(plan.results[0].result.as_ref().expect_err("refused").reason, Reason::ContainerNameTaken);
}

#[test]
fn one_that_is_suspended_keeps_what_it_shares() {
    let (one, two) = (logs(json!({"directory": "/l"})), logs(json!({"directory": "/l"})));
    let suspended = Intent::Keep(Reason::Suspended);
    let both = World::new(&app()).then(&[("one", Intent::Apply(&one)), ("two", Intent::Apply(&two))]);
    let world = both.then(&[("one", Intent::Apply(&one)), ("two", suspended)]).then(&[("one", suspended), ("two", remove())]);
    let mount = json!([{"name": "logs-app-l", "mountPath": "/l"}]);
    assert_eq!(key::container(&world.template, "app").expect("an app")["volumeMounts"], mount);
    assert_eq!(world.then(&[("one", remove())]).template, app());
}

#[test]
fn a_workload_made_anew_from_its_own_copy_is_what_it_was() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    world.ledger.as_mut().expect("a ledger").workload = Some("before".into());
    let anew = world.then(&[("one", Intent::Apply(&one))]);
    assert_eq!(anew.template, world.template);
    assert_eq!(anew.then(&[("one", remove())]).template, app());
}

#[test]
fn a_manifest_that_was_rewritten_on_the_way_in_is_not_written_to() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let ledger = world.ledger.as_mut().expect("a ledger");
    (ledger.workload, ledger.sidecars[0].uid, ledger.sidecars[0].origin) = (None, None, ledger::Origin::File);
    ledger.blank.insert("metadata.annotations".into(), json!({}));
    world.template["spec"]["containers"][1]["image"] = "mirror/ship:1".into();
    let nobody = world.plan(&[]);
    assert_eq!((&nobody.template, &nobody.ledger, nobody.handed_over), (&world.template, &world.ledger, vec![]));
    assert_eq!(world.plan(&[("one", Intent::Apply(&one))]).ledger, world.ledger);
}

#[test]
fn different_directories_never_share_a_volume_by_their_names() {
    let spec = spec(
        json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/d/a-1"}, {"name": "b", "directory": "/d/a/1"}],
        "sidecar": {"container": {"image": "ship:1"}}}),
    );
    let plan = World::new(&app()).plan(&[("one", Intent::Apply(&spec))]);
    assert_eq!(plan.results[0].result.as_ref().expect_err("refused").reason, Reason::VolumeNameTaken);
}

#[test]
fn a_mount_that_the_owner_makes_his_own_is_his() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    // By a client-side apply: managedFields still say that the list key is ours.
    let mine = json!([{"name": "mine", "mountPath": "/l"}]);
    world.template["spec"]["containers"][0]["volumeMounts"] = mine.clone();
    world.template["spec"]["volumes"].as_array_mut().expect("a list").push(json!({"name": "mine", "emptyDir": {}}));
    let key = Key::Mount { container: "app".into(), path: "/l".into() };
    let owned = Owned::of([(key, &mine[0])]);
    let input = PlanInput {
        uid: Some(UID),
        template: &world.template,
        ledger: world.ledger.as_ref(),
        owned: &owned,
        before: Before::Well,
        kind: Kind::Deployment,
    };
    let claim = Claim { name: "one", uid: Some("one"), revision: None, intent: Intent::Apply(&one) };
    let plan = plan(&input, &[claim]);
    assert_eq!(plan.template["spec"]["containers"][0]["volumeMounts"], mine);
    assert_eq!(plan.template["spec"]["containers"][1]["volumeMounts"], mine);
    assert_eq!(plan.template["spec"]["volumes"], json!([{"name": "mine", "emptyDir": {}}]));
    let removed = super::plan(&input, &[Claim { intent: remove(), ..claim }]);
    assert_eq!(removed.template["spec"]["containers"][0]["volumeMounts"], mine);
}

#[test]
fn who_puts_a_volume_of_his_own_under_our_name_gets_the_rest_out_of_his_way() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let his = json!({"name": "logs-app-l", "configMap": {"name": "his"}});
    world.template["spec"]["volumes"][0] = his.clone();
    let plan = world.plan(&[("one", Intent::Apply(&one))]);
    assert_eq!(plan.results[0].result.as_ref().expect_err("refused").reason, Reason::VolumeNameTaken);
    assert_eq!(plan.template["spec"]["volumes"], json!([his]));
    assert_eq!(plan.template["spec"]["containers"], app()["spec"]["containers"]);
    assert_eq!((plan.template["spec"].get("initContainers"), plan.ledger), (None, None));
}

#[test]
fn a_ledger_that_was_removed_is_recovered_for_those_who_were_there_and_nobody_else() {
    let spec = logs(json!({"directory": "/l"}));
    let world = World::new(&app()).then(&[("one", Intent::Apply(&spec)), ("two", Intent::Apply(&spec))]);
    let before = world.ledger.expect("a ledger");
    let keys: BTreeSet<Key> = before.sidecars.iter().flat_map(|entry| entry.items.keys().cloned()).collect();
    // The mounts of a sidecar are ours, too, but go with it.
    let within = ["one", "two"].map(|container| Key::Mount { container: container.into(), path: "/l".into() });
    let owned = Owned::of(keys.into_iter().chain(within).filter_map(|key| key.get(&world.template).map(|item| (key, item))));
    let specs = ["one", "two", "three"].map(|name| resolved(name, spec.spec().clone()));
    let known = |name, created| LogSidecarView {
        name,
        uid: Some(name),
        created: Some(created),
        revision: None,
        spec: specs.iter().find(|spec| spec.name() == name),
        deletion: DeletionPolicy::Remove,
        lifecycle: Lifecycle::Deleting,
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
    let found = recover(UID, &world.template, &owned, &[known("one", early), known("two", late), known("three", early)]);
    let names: Vec<String> = found.iter().flat_map(|ledger| &ledger.sidecars).map(|entry| entry.name.clone()).collect();
    // Where the items of two are the same, `three` may have put in the volume and the mount, too.
    assert_eq!(names, ["one", "three"]);
    let items = |ledger: &Ledger| ledger.entry("one", Some("one")).map(|entry| entry.items.clone());
    assert_eq!(found.as_ref().and_then(items), items(&before));
    assert_eq!(recover(UID, &world.template, &Owned::default(), &[known("one", early)]), None);
    // The spec may have changed after the ledger was lost and before anybody looked.
    let elsewhere = spec_of(&spec, "Native");
    let another = logs(json!({"directory": "/other"}));
    for changed in [&elsewhere, &another] {
        let changed = LogSidecarView { spec: Some(changed), ..known("one", early) };
        assert_eq!(
            recover(UID, &world.template, &owned, &[changed, known("two", late)]).as_ref().and_then(items),
            items(&before)
        );
    }
}

/// The list key of a mount stays ours when its owner replaces the rest.
#[test]
fn a_volume_of_the_owner_at_a_path_of_ours_is_not_recovered() {
    let spec = logs(json!({"directory": "/l"}));
    let world = World::new(&mounted("data", "/l")).then(&[("one", Intent::Apply(&spec))]);
    let ours = [Key::Container("one".into()), Key::Mount { container: "app".into(), path: "/l".into() }];
    let owned = Owned::of(ours.into_iter().filter_map(|key| key.get(&world.template).map(|item| (key, item))));
    let known = LogSidecarView {
        name: "one",
        uid: Some("one"),
        created: Some("2026-01-01T00:00:00Z"),
        revision: None,
        spec: Some(&spec),
        deletion: DeletionPolicy::Remove,
        lifecycle: Lifecycle::Deleting,
    };
    let found = recover(UID, &world.template, &owned, &[known]).expect("a ledger");
    assert_eq!(found.sidecars[0].items.keys().map(ToString::to_string).collect::<Vec<_>>(), ["containers/one"]);
}

fn spec_of(of: &ResolvedSpec, placement: &str) -> ResolvedSpec {
    let mut value = serde_json::to_value(of.spec()).expect("a spec");
    value["sidecar"] = json!({"tail": {}, "placement": placement});
    spec(value)
}

/// As from a backup into another cluster: the workload and the `LogSidecar` both have new uids.
#[test]
fn a_workload_that_was_restored_with_its_log_sidecar_is_taken_over_and_let_go() {
    let one = logs(json!({"directory": "/l"}));
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let ledger = world.ledger.as_mut().expect("a ledger");
    (ledger.workload, ledger.sidecars[0].uid) = (Some("before".into()), Some("before".into()));
    let ledger = world.ledger.as_ref();
    let input = PlanInput {
        uid: Some(UID),
        template: &world.template,
        ledger,
        owned: &Owned::default(),
        before: Before::Well,
        kind: Kind::Deployment,
    };
    let now = Claim { name: "one", uid: Some("one"), revision: None, intent: Intent::Apply(&one) };
    let before = Claim { name: "one", uid: Some("before"), revision: None, intent: Intent::Remove(Evidence::Missing) };
    let plan = plan(&input, &[now, before]);
    assert_eq!(plan.template, world.template);
    assert_eq!(plan.ledger.as_ref().expect("a ledger").sidecars.len(), 1);
    let world = World { template: plan.template, ledger: plan.ledger };
    assert_eq!(world.then(&[("one", remove())]).template, app());
}

/// A ledger as anybody can write it into the annotation of a file.
fn forged(sidecars: &Value, blank: &Value) -> Ledger {
    Ledger::parse(&json!({"version": 1, "sidecars": sidecars, "blank": blank}).to_string()).expect("a ledger")
}

fn by_file(name: &str, items: &Value) -> Value {
    json!({"name": name, "origin": "file", "renderer": 1, "items": items})
}

#[test]
fn a_forged_ledger_makes_nothing_ours_that_the_one_it_names_would_not_put_in() {
    let one = logs(json!({"directory": "/l", "container": "app"}));
    let mut pod = mounted("data", "/d");
    pod["spec"]["containers"].as_array_mut().expect("a list").push(json!({"name": "helper"}));
    let items = json!({"containers/helper": "0", "volumes/config": "0", "volumes/data": "0", "mounts/app:/d": "0"});
    let world = World { template: pod.clone(), ledger: Some(forged(&json!([by_file("one", &items)]), &json!({}))) };
    let there = world.then(&[("one", Intent::Apply(&one))]);
    assert_eq!(there.template, World::new(&pod).then(&[("one", Intent::Apply(&one))]).template);
}

#[test]
fn what_a_forged_ledger_names_does_not_become_ours_by_being_used() {
    let one = logs(json!({"directory": "/l"}));
    let items = json!({"volumes/data": "0", "mounts/app:/l": "0"});
    let world =
        World { template: mounted("data", "/l"), ledger: Some(forged(&json!([by_file("another", &items)]), &json!({}))) };
    let mut there = world.then(&[("one", Intent::Apply(&one))]);
    // The forger takes his entry back.
    there.ledger.as_mut().expect("a ledger").sidecars.retain(|entry| entry.name == "one");
    assert_eq!(there.then(&[("one", remove())]).template, world.template);
}

#[test]
fn of_two_entries_for_one_only_the_first_counts() {
    let (first, second) = (by_file("one", &json!({"volumes/a": "0"})), by_file("one", &json!({"volumes/b": "0"})));
    let world = World { template: app(), ledger: Some(forged(&json!([first, second]), &json!({}))) };
    assert_eq!(world.ledger, Some(forged(&json!([first]), &json!({}))));
    assert_eq!(world.plan(&[]).ledger, world.ledger);
}

#[test]
fn a_forged_ledger_keeps_nobody_out() {
    let one = logs(json!({"directory": "/l"}));
    let sidecars =
        json!([by_file("another", &json!({"containers/one": "0", "volumes/logs-app-l": "0", "mounts/app:/l": "0"}))]);
    let world = World { template: app(), ledger: Some(forged(&sidecars, &json!({}))) };
    let plan = world.plan(&[("one", Intent::Apply(&one))]);
    assert_eq!(plan.results[0].result, Ok(Effect::Applied(vec![])));
    assert_eq!(plan.template, World::new(&app()).then(&[("one", Intent::Apply(&one))]).template);
}

#[test]
fn an_old_entry_of_a_manifest_does_not_share_the_mount_of_another_volume() {
    let one = logs(json!({"directory": "/l", "volume": {"name": "mine"}}));
    let items = json!({"volumes/logs-app-l": "0", "mounts/app:/l": "0"});
    let world = World { template: app(), ledger: Some(forged(&json!([by_file("another", &items)]), &json!({}))) };
    let plan = world.plan(&[("one", Intent::Apply(&one))]);
    assert_eq!(plan.handed_over, []);
    let back = world.then(&[("one", Intent::Apply(&one))]).then(&[("one", remove())]);
    assert_eq!(back.template, app());
}

#[test]
fn a_forged_ledger_puts_nothing_of_its_own_in() {
    let one = logs(json!({"directory": "/l"}));
    let evil = json!([{"name": "evil", "hostPath": {"path": "/"}}]);
    let mut world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let sidecars = serde_json::to_value(world.ledger.expect("a ledger").sidecars).expect("JSON");
    let blank = json!({"volumes": evil, "app.volumeMounts": 5, "metadata.annotations": {"a": "b"}});
    world.ledger = Some(forged(&sidecars, &blank));
    assert_eq!(world.then(&[("one", remove())]).template, app());
}

#[test]
fn one_that_is_refused_keeps_what_it_had_put_in_before_the_ledger_was_lost() {
    let (one, wrong) = (logs(json!({"directory": "/l"})), logs(json!({"directory": "/l", "container": "none"})));
    let world = World::new(&app()).then(&[("one", Intent::Apply(&one))]);
    let keys = world.ledger.iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys().cloned());
    let owned = Owned::of(keys.filter_map(|key| key.get(&world.template).map(|item| (key, item))));
    let input = PlanInput {
        uid: Some(UID),
        template: &world.template,
        ledger: None,
        owned: &owned,
        before: Before::Well,
        kind: Kind::Deployment,
    };
    let plan = plan(&input, &[Claim { name: "one", uid: Some("one"), revision: None, intent: Intent::Apply(&wrong) }]);
    assert_eq!(plan.results[0].result.as_ref().expect_err("refused").reason, Reason::ContainerNotFound);
    assert_eq!(plan.template, world.template);
}

#[test]
fn the_volume_of_one_that_comes_later_is_there_for_one_that_came_before() {
    let user = logs(json!({"directory": "/b", "volume": {"existing": {"name": "mine"}}}));
    let maker = logs(json!({"directory": "/a", "volume": {"name": "mine"}}));
    let claims = [("user", Intent::Apply(&user)), ("maker", Intent::Apply(&maker))];
    let plan = World::new(&app()).plan(&claims);
    assert!(plan.results.iter().all(|result| result.result.is_ok()), "{:?}", plan.results);
    let again = World::new(&app()).then(&claims).plan(&claims);
    assert_eq!((again.template, again.results), (plan.template, plan.results));
}

// --- what is computed once ---

#[test]
fn the_config_is_rendered_with_the_spec_and_not_with_the_plan() {
    let shipping = spec(json!({
        "target": {"name": "web"}, "logs": [{"name": "app", "directory": "/l"}], "sidecar": {"fluentBit": {}},
    }));
    let config = shipping.config_map().expect("a config");
    // Neither claim nor plan has the images that rendering needs.
    let claims: [Claim<'_>; 1] = [Claim { name: "one", uid: None, revision: None, intent: Intent::Apply(&shipping) }];
    for template in [app(), with("/spec/hostNetwork", json!(true))] {
        let (owned, kind) = (Owned::default(), Kind::Deployment);
        let input = PlanInput { uid: None, template: &template, ledger: None, owned: &owned, before: Before::Well, kind };
        let Intent::Apply(planned) = claims[0].intent else { unreachable!() };
        assert!(std::ptr::eq(planned.config_map().expect("a config"), config));
        let names = plan(&input, &claims).template["spec"]["volumes"].to_string();
        assert!(names.contains(&config.name), "{names}");
    }
}

#[test]
fn a_spec_that_cannot_be_rendered_says_so_in_every_plan() {
    let wrong = spec(json!({
        "target": {"name": "web"}, "logs": [{"name": "app", "directory": "/l", "parser": {"format": "regex", "regex": "("}}],
        "sidecar": {"fluentBit": {}},
    }));
    let refusal = wrong.refusal().expect("refused");
    assert_eq!((refusal.reason, wrong.config_map()), (Reason::ConfigInvalid, None));
    let plan = World::new(&app()).plan(&[("one", Intent::Apply(&wrong))]);
    assert_eq!(plan.results[0].result.as_ref(), Err(refusal));
}

#[test]
fn the_content_of_a_config_map_of_the_authors_own_is_judged() {
    let own = spec(json!({
        "target": {"name": "web"}, "logs": [{"name": "app", "directory": "/l"}],
        "sidecar": {"otelCollector": {"configMapRef": {"name": "mine", "key": "k"}}},
    }));
    assert_eq!(own.config_reference().map(|reference| reference.name.as_str()), Some("mine"));
    let refusal = own.judge_config("- a list").expect_err("refused");
    assert_eq!(refusal.reason, Reason::ConfigInvalid);
    assert!(refusal.message.starts_with("sidecar.otelCollector.configMapRef: ConfigMap mine: "), "{refusal}");
}

mod policy;
