//! Any sequence of what owners, LogSidecars and accidents do: in the end, with every LogSidecar gone, the template is the one that
//! the owners' actions alone have made in a namespace without any of it.
//!
//! What an owner re-used of ours is his: a volume of ours that he mounts in a container of his own stays for as long as he does.
//! So is a container of ours that he changes where managedFields have been stripped, as nothing tells whose it is any more; and
//! what has lost both managedFields and ledger counts as part of his manifest. Those two are left out here and tested in
//! `plan::tests`.
//! `SEQUENCES` says how many sequences are tried.

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use logsidecar::{
    api::LEDGER_ANNOTATION,
    workload::{key::Key, kind::Kind, ledger::Ledger, owned::Owned},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    controller::Controller,
    kubernetes::try_kubectl,
    proxy::runtime,
    stage::{Stage, admin},
};

#[derive(Clone, Debug)]
enum Action {
    /// The owner changes his manifest and brings it in.
    Push(Edit, How),
    /// Continuous integration sets an image.
    Image(u8),
    /// A platform team adds a variable, server side, by force.
    Variable(u8),
    Restart(u8),
    Scale(u8),
    StripManagedFields,
    OptOut(bool),
    /// The owner mounts a volume of ours in a container of his.
    Reuse,
    /// Somebody takes away or changes what is ours.
    Spoil(Spoil),
    /// A LogSidecar is made, changed or, without a variant, deleted.
    Sidecar(u8, Option<u8>),
    /// The controller loses power, and another one starts.
    Crash,
    /// Everything comes to rest before the next action.
    Settle,
}

#[derive(Clone, Debug)]
enum Edit {
    Nothing,
    Image(u8),
    Rename,
    AddContainer(u8),
    RemoveContainer(u8),
    AddVolume(u8, u8),
    RemoveVolume(u8),
    AddInit,
    RemoveInits,
    RemoveVolumes,
}

#[derive(Clone, Copy, Debug)]
enum How {
    ClientSide,
    ServerSide,
    Replace,
}

#[derive(Clone, Debug)]
enum Spoil {
    Container,
    Mount,
    Everything,
    Image,
    Ledger,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let edit = prop_oneof![
        Just(Edit::Nothing),
        (0..3u8).prop_map(Edit::Image),
        Just(Edit::Rename),
        (0..2u8).prop_map(Edit::AddContainer),
        (0..2u8).prop_map(Edit::RemoveContainer),
        (0..3u8, 0..4u8).prop_map(|(number, path)| Edit::AddVolume(number, path)),
        (0..3u8).prop_map(Edit::RemoveVolume),
        Just(Edit::AddInit),
        Just(Edit::RemoveInits),
        Just(Edit::RemoveVolumes),
    ];
    let how = prop_oneof![Just(How::ClientSide), Just(How::ServerSide), Just(How::Replace)];
    let spoil = prop_oneof![
        Just(Spoil::Container),
        Just(Spoil::Mount),
        Just(Spoil::Everything),
        Just(Spoil::Image),
        Just(Spoil::Ledger)
    ];
    let action = prop_oneof![
        6 => (edit, how).prop_map(|(edit, how)| Action::Push(edit, how)),
        1 => (0..3u8).prop_map(Action::Image),
        1 => (0..3u8).prop_map(Action::Variable),
        1 => any::<u8>().prop_map(Action::Restart),
        1 => (0..3u8).prop_map(Action::Scale),
        1 => Just(Action::StripManagedFields),
        1 => any::<bool>().prop_map(Action::OptOut),
        1 => Just(Action::Reuse),
        2 => spoil.prop_map(Action::Spoil),
        4 => (0..3u8, prop::option::weighted(0.7, 0..6u8)).prop_map(|(number, variant)| Action::Sidecar(number, variant)),
        1 => Just(Action::Crash),
        5 => Just(Action::Settle),
    ];
    prop::collection::vec(action, 2..12)
}

const SIDECARS: [&str; 3] = ["one", "two", "three"];
const PATHS: [&str; 4] = ["/data", "/logs", "/var/log", "/var/log/app"];

fn sidecar(number: u8, variant: u8) -> String {
    let name = SIDECARS[usize::from(number)];
    let directory = ["/var/log/app", "/logs"][usize::from(variant % 2)];
    let shipper = [
        "{tail: {}}",
        "{container: {image: busybox:1.36}}",
        "{container: {image: busybox:1.37.0, env: [{name: A, value: b}]}}",
    ];
    let shipper = shipper[usize::from(variant / 2)];
    format!(
        "{{apiVersion: logsidecar.dev/v1alpha1, kind: LogSidecar, metadata: {{name: {name}}}, spec: {{target: {{name: web}}, logs: [{{name: app, directory: {directory}}}], sidecar: {shipper}}}}}"
    )
}

fn manifest() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}, "annotations": {"kubectl.kubernetes.io/default-container": "app"}},
        "spec": {"containers": [{"name": "app", "image": "app:0"}, {"name": "helper", "image": "helper:0"}]}}}})
}

fn list<'a>(holder: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    if holder[field].is_null() {
        holder[field] = json!([]);
    }
    holder[field].as_array_mut().expect("a list")
}

/// Lists that an edit has emptied are left out of a manifest, as people do.
fn tidy(holder: &mut Value) {
    if let Some(map) = holder.as_object_mut() {
        map.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    }
}

fn edit(manifest: &mut Value, edit: &Edit) {
    let spec = &mut manifest["spec"]["template"]["spec"];
    let is = |name: String| move |item: &Value| item["name"] == name.as_str();
    match edit {
        Edit::Nothing => {}
        Edit::Image(tag) => spec["containers"][0]["image"] = json!(format!("app:{tag}")),
        Edit::Rename => {
            let name = if spec["containers"][0]["name"] == "app" { "main" } else { "app" };
            spec["containers"][0]["name"] = json!(name);
            let annotations = &mut manifest["spec"]["template"]["metadata"]["annotations"];
            annotations["kubectl.kubernetes.io/default-container"] = json!(name);
            return;
        }
        Edit::AddContainer(number) => {
            let name = format!("more-{number}");
            if !list(spec, "containers").iter().any(is(name.clone())) {
                list(spec, "containers").push(json!({"name": name, "image": "more:0"}));
            }
        }
        Edit::RemoveContainer(number) => {
            let gone = is(format!("more-{number}"));
            list(spec, "containers").retain(|item| !gone(item));
        }
        Edit::AddVolume(number, path) => {
            let (name, path) = (format!("own-{number}"), PATHS[usize::from(*path)]);
            if !list(spec, "volumes").iter().any(is(name.clone())) {
                list(spec, "volumes").push(json!({"name": name, "emptyDir": {}}));
            }
            let mounts = list(&mut spec["containers"][0], "volumeMounts");
            if !mounts.iter().any(|mount| mount["mountPath"] == path) {
                mounts.push(json!({"name": name, "mountPath": path}));
            }
        }
        Edit::RemoveVolume(number) => {
            let gone = is(format!("own-{number}"));
            list(spec, "volumes").retain(|item| !gone(item));
            list(&mut spec["containers"][0], "volumeMounts").retain(|item| !gone(item));
        }
        Edit::AddInit => {
            if list(spec, "initContainers").is_empty() {
                list(spec, "initContainers").push(json!({"name": "prepare", "image": "prepare:0"}));
            }
        }
        Edit::RemoveInits => list(spec, "initContainers").clear(),
        Edit::RemoveVolumes => {
            list(spec, "volumes").clear();
            list(&mut spec["containers"][0], "volumeMounts").clear();
        }
    }
    tidy(spec);
    tidy(&mut spec["containers"][0]);
}

/// One of the two namespaces.
struct Place<'a>(&'a str);

impl Place<'_> {
    fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(admin(), self.0, &Kind::Deployment.resource())
    }

    fn live(&self) -> Value {
        runtime().block_on(self.api().get("web")).expect("a Deployment").data
    }

    fn push(&self, manifest: &Value, how: How) -> Result<(), String> {
        let text = manifest.to_string();
        match how {
            How::ClientSide => try_kubectl(&["-n", self.0, "apply", "-f", "-"], &text).map(drop),
            How::ServerSide => self.patch(&Patch::Apply(manifest.clone()), "gitops", true),
            How::Replace => {
                let object: DynamicObject = serde_json::from_value(manifest.clone()).expect("an object");
                let params = PostParams { field_manager: Some("replacer".to_owned()), ..PostParams::default() };
                let answer = runtime().block_on(self.api().replace("web", &params, &object));
                answer.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    fn patch(&self, patch: &Patch<Value>, manager: &str, force: bool) -> Result<(), String> {
        let params = PatchParams { field_manager: Some(manager.to_owned()), force, ..PatchParams::default() };
        runtime().block_on(self.api().patch("web", &params, patch)).map(drop).map_err(|error| error.to_string())
    }

    /// Changes what is there, as `kubectl edit` does: again if somebody was faster.
    fn change(&self, change: impl Fn(&mut DynamicObject)) {
        loop {
            let mut object = runtime().block_on(self.api().get("web")).expect("a Deployment");
            change(&mut object);
            let params = PostParams { field_manager: Some("editor".to_owned()), ..PostParams::default() };
            match runtime().block_on(self.api().replace("web", &params, &object)) {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                // Without our container its volume cannot go, and so on: then nothing is spoiled.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Our volume for one of the directories, if there is one.
fn our_volume(spec: &Value) -> Option<String> {
    let volumes = spec["volumes"].as_array()?;
    let names = volumes.iter().filter_map(|volume| volume["name"].as_str());
    names.filter(|name| name.starts_with("logs-")).map(str::to_owned).next()
}

/// Whether `managedFields` prove everything that the ledger names. Without them, as after they were stripped, and without the ledger
/// nothing tells our items from those of others, and they stay.
fn is_proven(owned: &Owned, ledger: Option<&String>, template: &Value) -> bool {
    let ledger = ledger.and_then(|text| Ledger::parse(text).ok());
    let mut items = ledger.iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys());
    items.all(|key| key.get(template).is_none_or(|item| owned.holds(key, item)))
}

fn spoil(object: &mut DynamicObject, what: &Spoil) {
    let owned = Owned::read(object.managed_fields(), Kind::Deployment.template());
    let annotations = object.metadata.annotations.get_or_insert_default();
    let template = &mut object.data["spec"]["template"];
    if matches!(what, Spoil::Ledger) && !is_proven(&owned, annotations.get(LEDGER_ANNOTATION), template) {
        return;
    }
    let spec = &mut template["spec"];
    let is_ours = |item: &Value| SIDECARS.iter().any(|name| item["name"] == *name);
    let is_our_mount =
        |item: &Value| item["name"].as_str().is_some_and(|name| name.starts_with("logs-")) && item["mountPath"] != "/reused";
    match what {
        Spoil::Ledger => drop(annotations.remove(LEDGER_ANNOTATION)),
        Spoil::Image => {
            let keys =
                |name: &Value| name.as_str().map(|name| [Key::Container(name.to_owned()), Key::InitContainer(name.to_owned())]);
            for field in ["containers", "initContainers"] {
                for container in list(spec, field).iter_mut().filter(|item| is_ours(item)) {
                    if keys(&container["name"]).into_iter().flatten().any(|key| owned.holds(&key, container)) {
                        container["image"] = json!("spoiled:0");
                    }
                }
            }
        }
        Spoil::Container | Spoil::Mount | Spoil::Everything => {
            if !matches!(what, Spoil::Mount) {
                list(spec, "containers").retain(|item| !is_ours(item));
                list(spec, "initContainers").retain(|item| !is_ours(item));
            }
            if !matches!(what, Spoil::Container) {
                for container in list(spec, "containers").iter_mut().filter(|item| !is_ours(item)) {
                    list(container, "volumeMounts").retain(|item| !is_our_mount(item));
                }
            }
            let used = spec["containers"].to_string();
            if matches!(what, Spoil::Everything) {
                list(spec, "volumes").retain(|volume| {
                    !volume["name"].as_str().is_some_and(|name| name.starts_with("logs-") && !used.contains(name))
                });
            }
        }
    }
}

/// Why the API server may refuse the owner of an injected workload; `docs/owners.md` has the remedies.
fn is_documented(said: &str) -> bool {
    ["Not found", "may not specify more than 1 volume type", "must be unique"].iter().any(|why| said.contains(why))
}

struct Run<'a> {
    with: Place<'a>,
    alone: Place<'a>,
    stage: &'a Stage,
    controller: Controller,
    manifest: Value,
}

impl Run<'_> {
    fn act(&mut self, action: &Action) {
        let both = |patch: &Patch<Value>, manager: &str, force: bool| {
            for place in [&self.with, &self.alone] {
                place.patch(patch, manager, force).unwrap_or_else(|error| panic!("{action:?}: {error}"));
            }
        };
        match action {
            Action::Push(change, how) => {
                let mut manifest = self.manifest.clone();
                edit(&mut manifest, change);
                match self.with.push(&manifest, *how) {
                    Ok(()) => {
                        self.alone.push(&manifest, *how).unwrap_or_else(|error| panic!("{action:?} alone: {error}"));
                        self.manifest = manifest;
                    }
                    // Some are refused without us, too: who applies server side what others have applied client side shares it with them.
                    Err(said) => {
                        let is_known = is_documented(&said) || self.alone.push(&manifest, *how).is_err();
                        assert!(is_known, "{action:?} is refused: {said}");
                    }
                }
            }
            Action::Image(tag) => {
                both(
                    &Patch::Strategic(
                        json!({"spec": {"template": {"spec": {"containers": [{"name": "helper", "image": format!("helper:{tag}")}]}}}}),
                    ),
                    "ci",
                    false,
                );
            }
            Action::Variable(value) => {
                let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {"containers": [
                    {"name": "helper", "env": [{"name": "PLATFORM", "value": value.to_string()}]}]}}}});
                both(&Patch::Apply(body), "platform", true);
            }
            Action::Restart(at) => {
                both(
                    &Patch::Strategic(
                        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at.to_string()}}}}}),
                    ),
                    "kubectl-rollout",
                    false,
                );
            }
            Action::Scale(replicas) => both(&Patch::Merge(json!({"spec": {"replicas": replicas}})), "autoscaler", false),
            Action::StripManagedFields => {
                self.stage.converges();
                both(&Patch::Merge(json!({"metadata": {"managedFields": [{}]}})), "stripper", false);
            }
            Action::OptOut(out) => {
                let value = if *out { json!("false") } else { Value::Null };
                both(&Patch::Merge(json!({"metadata": {"labels": {"logsidecar.dev/inject": value}}})), "owner", false);
            }
            Action::Reuse => self.reuse(),
            Action::Spoil(what) => self.with.change(|object| spoil(object, what)),
            Action::Sidecar(number, Some(variant)) => self.stage.namespace.apply(&sidecar(*number, *variant)),
            Action::Sidecar(number, None) => {
                let name = SIDECARS[usize::from(*number)];
                self.stage.namespace.kubectl(&["delete", "logsidecar", name, "--ignore-not-found", "--timeout=180s"]);
            }
            Action::Crash => {
                self.controller.proxy.kill();
                self.controller.start();
            }
            Action::Settle => self.stage.converges(),
        }
    }

    /// The mount names a volume that has to be there when the API server looks, so it comes with a guard.
    fn reuse(&self) {
        let live = runtime().block_on(self.with.api().get("web")).expect("a Deployment");
        let Some(volume) = our_volume(&live.data["spec"]["template"]["spec"]) else { return };
        let mount = json!({"name": "helper", "volumeMounts": [{"name": volume, "mountPath": "/reused"}]});
        let guarded = json!({"metadata": {"resourceVersion": live.metadata.resource_version}, "spec": {"template": {"spec": {"containers": [mount]}}}});
        if self.with.patch(&Patch::Strategic(guarded), "reuser", false).is_ok() {
            let alone =
                json!({"spec": {"template": {"spec": {"containers": [mount], "volumes": [{"name": volume, "emptyDir": {}}]}}}});
            self.alone.patch(&Patch::Strategic(alone), "reuser", false).expect("his own volume");
        }
    }
}

/// The template, with volumes and mounts in the order of their names: a volume that an owner re-used was there before he did.
fn left(place: &Place<'_>) -> Value {
    let mut template = place.live()["spec"]["template"].clone();
    let by_name = |list: &mut Value| {
        if let Some(list) = list.as_array_mut() {
            list.sort_by_key(|item| (item["name"].to_string(), item["mountPath"].to_string()));
        }
    };
    by_name(&mut template["spec"]["volumes"]);
    for container in template["spec"]["containers"].as_array_mut().expect("containers") {
        by_name(&mut container["volumeMounts"]);
    }
    template
}

/// A template for people.
fn brief(template: &Value) -> String {
    let mut template = template.clone();
    for list in ["containers", "initContainers"] {
        for container in template["spec"][list].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            container.retain(|field, _| ["name", "image", "env", "volumeMounts"].contains(&field.as_str()));
        }
    }
    template.to_string()
}

fn holds(actions: &[Action]) {
    let (stage, alone) = (Stage::new("random"), Stage::new("random-alone"));
    let controller = stage.controller();
    controller.start();
    let manifest = manifest();
    let mut run =
        Run { with: Place(&stage.namespace.name), alone: Place(&alone.namespace.name), stage: &stage, controller, manifest };
    stage.namespace.apply(&run.manifest.to_string());
    alone.namespace.apply(&run.manifest.to_string());
    stage.namespace.apply(&sidecar(0, 0));
    actions.iter().for_each(|action| run.act(action));
    stage.converges();
    stage.uninject();
    let (with, alone) = (left(&run.with), left(&run.alone));
    assert!(with == alone, "left is {}\nbut alone {}", brief(&with), brief(&alone));
    let annotations = runtime().block_on(run.with.api().get("web")).expect("a Deployment").metadata.annotations;
    assert!(!annotations.unwrap_or_default().contains_key(LEDGER_ANNOTATION));
}

#[test]
fn whatever_happens_nothing_of_ours_is_left_and_nothing_of_theirs_is_lost() {
    const AT_ONCE: u32 = 8;
    let sequences: u32 = std::env::var("SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let config = Config {
                    cases: sequences.div_ceil(AT_ONCE),
                    max_shrink_iters: 40,
                    failure_persistence: None,
                    ..Config::default()
                };
                let result = TestRunner::new(config).run(&actions(), |actions| {
                    std::panic::catch_unwind(|| holds(&actions)).map_err(|_| {
                        eprintln!("FAILED {actions:?}");
                        TestCaseError::fail("see above")
                    })
                });
                assert!(result.is_ok(), "{}", result.expect_err("failed"));
            });
        }
    });
    eprintln!("    {sequences} sequences");
}
