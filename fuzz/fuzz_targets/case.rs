//! Pods, owners, forgers and wishes, made from few names.

use arbitrary::{Arbitrary, Unstructured};
use logsidecar::{
    api::{LEDGER_ANNOTATION, Log, LogSidecarSpec, Placement, Reason},
    plan::{Evidence, Intent, ResolvedSpec, object::ledger_text},
    workload::{key::Key, kind::Kind, ledger::Ledger, normal::digest},
};
use serde_json::{Map, Value, json};

const CONTAINERS: [&str; 6] = ["app", "db", "one", "two", "ship", "init"];
const VOLUMES: [&str; 6] = ["data", "mine", "logs-app-l", "logs-app-data", "logs-db-l", "claim"];
const PATHS: [&str; 6] = ["/l", "/l/sub", "/data", "/var/log/app", "/", "/s"];
const SIDECARS: [&str; 3] = ["one", "two", "app"];
const UIDS: [Option<&str>; 3] = [None, Some("uid"), Some("other")];
const KINDS: [Kind; 3] = [Kind::Deployment, Kind::CronJob, Kind::Pod];

/// An index into one of the lists above.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Pick(u8);

impl Pick {
    fn of<T: Copy>(self, list: &[T]) -> T {
        list[usize::from(self.0) % list.len()]
    }
}

/// A whole story of one workload.
#[derive(Arbitrary, Debug)]
pub struct Case {
    kind: Pick,
    uid: Pick,
    annotations: Option<Json>,
    pub pod: Pod,
    #[arbitrary(with = few)]
    pub rounds: Vec<Round>,
}

impl Case {
    pub fn kind(&self) -> Kind {
        self.kind.of(&KINDS)
    }

    pub fn uid(&self) -> Option<&'static str> {
        self.uid.of(&UIDS)
    }

    /// Annotations are absent, blank, or what an API server lets be: an object.
    pub fn annotations(&self) -> Option<Value> {
        self.annotations.as_ref().map(|Json(value)| match value {
            Value::Null | Value::Object(_) => value.clone(),
            other => json!({"a": other}),
        })
    }
}

/// What happens between two plans, and what is wanted in the second.
#[derive(Arbitrary, Debug)]
pub struct Round {
    #[arbitrary(with = few)]
    pub edits: Vec<Edit>,
    #[arbitrary(with = few)]
    pub forgeries: Vec<Forgery>,
    #[arbitrary(with = few)]
    owned: Vec<Name>,
    #[arbitrary(with = few)]
    pub wishes: Vec<Wish>,
    /// Whether the entries of LogSidecars that are gone are taken out.
    pub sweep: bool,
}

impl Round {
    pub fn owned(&self, template: &Value) -> Vec<Key> {
        self.owned.iter().map(|name| name.key(template)).collect()
    }
}

/// Long lists take time and show nothing new.
fn few<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>) -> arbitrary::Result<Vec<T>> {
    let mut items = Vec::new();
    while items.len() < 4 && u.ratio(3u8, 5u8)? {
        items.push(u.arbitrary()?);
    }
    Ok(items)
}

// --- JSON ---

/// Any JSON, not deep.
#[derive(Clone, Debug)]
pub struct Json(pub Value);

impl<'a> Arbitrary<'a> for Json {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        json_value(u, 3).map(Self)
    }
}

fn json_value(u: &mut Unstructured<'_>, depth: u8) -> arbitrary::Result<Value> {
    Ok(match u.int_in_range(0..=if depth == 0 { 5u8 } else { 7 })? {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => u.arbitrary::<bool>()?.into(),
        4 => u.arbitrary::<i8>()?.into(),
        5 => word(u)?.into(),
        6 => {
            let mut list = Vec::new();
            while list.len() < 3 && u.arbitrary()? {
                list.push(json_value(u, depth - 1)?);
            }
            list.into()
        }
        _ => {
            let mut map = Map::new();
            while map.len() < 3 && u.arbitrary()? {
                map.insert(word(u)?, json_value(u, depth - 1)?);
            }
            map.into()
        }
    })
}

fn word(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    const FIELDS: [&str; 12] = [
        "name",
        "mountPath",
        "volumeMounts",
        "containers",
        "volumes",
        "env",
        "value",
        "securityContext",
        "runAsUser",
        "image",
        "emptyDir",
        "subPathExpr",
    ];
    Ok(match u.int_in_range(0..=5u8)? {
        0 => u.arbitrary::<Pick>()?.of(&CONTAINERS).to_owned(),
        1 => u.arbitrary::<Pick>()?.of(&VOLUMES).to_owned(),
        2 => u.arbitrary::<Pick>()?.of(&PATHS).to_owned(),
        3 => u.arbitrary()?,
        _ => u.arbitrary::<Pick>()?.of(&FIELDS).to_owned(),
    })
}

// --- templates ---

/// A pod template: a good one, or whatever there may be in a place of it.
#[derive(Arbitrary, Debug)]
pub struct Pod {
    app: Container,
    #[arbitrary(with = few)]
    others: Vec<Container>,
    init: Option<Option<Container>>,
    volumes: Option<u8>,
    default_container: Option<Pick>,
    security: Option<Json>,
    #[arbitrary(with = few)]
    oddities: Vec<Oddity>,
}

/// Something that no API server would take, somewhere; rare, as it switches some of the laws off.
#[derive(Debug)]
struct Oddity(Option<(Pick, Json)>);

impl<'a> Arbitrary<'a> for Oddity {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(if u.ratio(1u8, 8u8)? { Some(u.arbitrary()?) } else { None }))
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Container {
    name: Pick,
    mounts: Option<Mounts>,
    env: Option<Json>,
    security: Option<Json>,
}

#[derive(Clone, Debug)]
struct Mounts(Vec<Mount>);

impl<'a> Arbitrary<'a> for Mounts {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        few(u).map(Self)
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Mount {
    volume: Pick,
    path: Pick,
    read_only: Option<bool>,
    expression: Option<Pick>,
}

impl Mount {
    fn value(self) -> Value {
        let mut mount = json!({"name": self.volume.of(&VOLUMES), "mountPath": self.path.of(&PATHS)});
        if let Some(read_only) = self.read_only {
            mount["readOnly"] = read_only.into();
        }
        if let Some(expression) = self.expression {
            mount["subPathExpr"] = expression.of(&["$(A)", "$$(A)/$(B)", "$(", ""]).into();
        }
        mount
    }
}

impl Container {
    fn value(&self, name: &str) -> Value {
        let mut container = json!({"name": name, "image": "app:1"});
        if let Some(Mounts(mounts)) = &self.mounts {
            let mut values: Vec<Value> = Vec::new();
            for mount in mounts.iter().map(|mount| mount.value()) {
                if !values.iter().any(|other| other["mountPath"] == mount["mountPath"]) {
                    values.push(mount);
                }
            }
            container["volumeMounts"] = values.into();
        }
        if let Some(Json(value)) = &self.env {
            container["env"] = json!([{"name": "A", "value": "$(B)"}, {"name": "B", "value": value}, value]);
        }
        if let Some(Json(value)) = &self.security {
            container["securityContext"] = json!({"runAsUser": value, "runAsNonRoot": value});
        }
        container
    }
}

fn volume(name: &str, sort: u8) -> Value {
    let mut volume = match sort % 4 {
        0 | 1 => json!({"emptyDir": {}}),
        2 => json!({"persistentVolumeClaim": {"claimName": "claim"}}),
        _ => json!({"configMap": {"name": "config"}}),
    };
    volume["name"] = name.into();
    volume
}

impl Pod {
    pub fn put_into(&self, object: &mut Value, kind: Kind) {
        let mut containers = vec![self.app.value("app")];
        let mut names = vec!["app"];
        for other in &self.others {
            let name = other.name.of(&CONTAINERS);
            if !names.contains(&name) {
                containers.push(other.value(name));
                names.push(name);
            }
        }
        let mut template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers, "x": {"y": [1]}}});
        match &self.init {
            None => {}
            Some(None) => template["spec"]["initContainers"] = Value::Null,
            Some(Some(init)) => {
                let name = init.name.of(&CONTAINERS);
                let init = if names.contains(&name) { None } else { Some(init.value(name)) };
                template["spec"]["initContainers"] = init.into_iter().collect();
            }
        }
        if let Some(bits) = self.volumes {
            let chosen = VOLUMES.iter().enumerate().filter(|(index, _)| bits & (1 << index) != 0);
            template["spec"]["volumes"] = chosen.map(|(index, name)| volume(name, bits >> (index % 4))).collect();
        }
        if let Some(name) = self.default_container {
            template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": name.of(&CONTAINERS)});
        }
        if let Some(Json(value)) = &self.security {
            template["spec"]["securityContext"] = json!({"runAsUser": value, "runAsNonRoot": true});
        }
        for (pick, Json(value)) in self.oddities.iter().filter_map(|Oddity(odd)| odd.as_ref()) {
            let places = [
                "/spec",
                "/spec/containers",
                "/spec/containers/0",
                "/spec/containers/0/name",
                "/spec/containers/0/image",
                "/metadata",
            ];
            if let Some(place) = template.pointer_mut(pick.of(&places)) {
                *place = value.clone();
            }
        }
        if kind == Kind::Pod {
            for field in ["metadata", "spec"] {
                match (object[field].as_object_mut(), template[field].take()) {
                    (Some(old), Value::Object(new)) => old.extend(new),
                    (_, new) => object[field] = new,
                }
            }
        } else {
            let steps: Vec<&str> = kind.template().split('/').skip(1).collect();
            let (first, inner) = steps.split_first().expect("a way to the template");
            object[*first] = inner.iter().rev().fold(template, |value, step| json!({*step: value}));
        }
    }
}

/// The name of an item: of one that there is, or of any.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Name {
    Nth(u8),
    InitContainer(Pick),
    Container(Pick),
    Volume(Pick),
    Mount(Pick, Pick),
}

impl Name {
    pub fn key(self, template: &Value) -> Key {
        match self {
            Self::Nth(nth) => {
                let keys: Vec<Key> = super::keys(template).into_iter().collect();
                let nth = keys.get(usize::from(nth) % keys.len().max(1)).cloned();
                nth.unwrap_or_else(|| Key::Volume(String::new()))
            }
            Self::InitContainer(name) => Key::InitContainer(name.of(&CONTAINERS).to_owned()),
            Self::Container(name) => Key::Container(name.of(&CONTAINERS).to_owned()),
            Self::Volume(name) => Key::Volume(name.of(&VOLUMES).to_owned()),
            Self::Mount(name, path) => {
                Key::Mount { container: name.of(&CONTAINERS).to_owned(), path: path.of(&PATHS).to_owned() }
            }
        }
    }
}

/// What the owner, an API server or an admission plugin does to the template.
#[derive(Arbitrary, Debug)]
pub enum Edit {
    Container(bool, Container),
    Volume(Pick, u8),
    Mount(Pick, Mount),
    Remove(Name),
    /// A field of an item.
    Rewrite(Name, Pick, Json),
    Defaults,
}

impl Edit {
    pub fn make(&self, object: &mut Value, kind: Kind) {
        let Some(template) = object.pointer_mut(kind.template()) else { return };
        // A key is made where its list is a list: anything else is the business of `Oddity`.
        if !template["spec"].is_object() {
            return;
        }
        match self {
            Self::Container(init, container) => {
                let name = container.name.of(&CONTAINERS).to_owned();
                let key = if *init { Key::InitContainer(name.clone()) } else { Key::Container(name.clone()) };
                let is_elsewhere = super::container(template, &name).is_some() && key.get(template).is_none();
                if !is_elsewhere {
                    key.put(template, container.value(&name));
                }
            }
            Self::Volume(name, sort) => {
                let name = name.of(&VOLUMES);
                Key::Volume(name.to_owned()).put(template, volume(name, *sort));
            }
            Self::Mount(container, mount) => {
                let path = mount.path.of(&PATHS).to_owned();
                Key::Mount { container: container.of(&CONTAINERS).to_owned(), path }.put(template, mount.value());
            }
            Self::Remove(name) => name.key(template).remove(template, None),
            Self::Rewrite(name, field, Json(value)) => {
                let key = name.key(template);
                let Some(mut item) = key.get(template).cloned() else { return };
                if let Some(item) = item.as_object_mut() {
                    item.insert(field.of(&["image", "emptyDir", "readOnly", "resources", "x"]).to_owned(), value.clone());
                }
                key.put(template, item);
            }
            Self::Defaults => {
                for list in ["containers", "initContainers"] {
                    for container in template["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                        let Some(container) = container.as_object_mut() else { continue };
                        container.entry("terminationMessagePath").or_insert("/dev/termination-log".into());
                        container.entry("resources").or_insert(json!({}));
                    }
                }
            }
        }
    }
}

// --- ledgers ---

/// What somebody does to the annotation.
#[derive(Arbitrary, Debug)]
pub enum Forgery {
    Drop,
    Text(String),
    /// Entries of a ledger of his own, or added to the one that is there.
    Entry {
        add: bool,
        workload: Pick,
        name: Pick,
        uid: Pick,
        by: Author,
        #[arbitrary(with = few)]
        items: Vec<(Name, Digest)>,
    },
    Blank(Pick, Pick, Json),
    Workload(Pick),
    Origin(Author),
    /// The text, with another value somewhere.
    Field(Pick, Json),
}

/// Who is said to have written an entry.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Author {
    Controller,
    File,
    Policy,
}

impl Author {
    const fn origin(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::File => "file",
            Self::Policy => "policy",
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Digest {
    Wrong,
    /// The digest that the item has: then it counts as ours, see `Before::is_fair_game`.
    Right,
}

impl Forgery {
    pub fn make(&self, object: &mut Value, kind: Kind) {
        let template = object.pointer(kind.template()).cloned().unwrap_or_default();
        let ledger = || ledger_text(object).and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_object);
        let mut ledger = ledger().unwrap_or_else(|| json!({"version": 1, "sidecars": []}));
        match self {
            Self::Drop => {
                if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                    annotations.shift_remove(LEDGER_ANNOTATION);
                }
                return;
            }
            Self::Text(text) => return annotate(object, text.clone()),
            Self::Entry { add, workload, name, uid, by, items } => {
                if !add {
                    ledger = json!({"version": 1, "sidecars": []});
                    set(&mut ledger, "workload", workload.of(&UIDS).map(Value::from));
                }
                let told = |key: &Key, digest_of: Digest| match (key.get(&template), digest_of) {
                    (Some(item), Digest::Right) => digest(key, item),
                    _ => "0000000000000000".to_owned(),
                };
                let items: Map<String, Value> = items
                    .iter()
                    .map(|(name, digest)| (name.key(&template), *digest))
                    .map(|(key, digest)| (key.to_string(), told(&key, digest).into()))
                    .collect();
                let mut entry = json!({"name": name.of(&SIDECARS), "origin": by.origin(), "renderer": 1, "items": items});
                set(&mut entry, "uid", uid.of(&UIDS).map(Value::from));
                if let Some(entries) = ledger["sidecars"].as_array_mut() {
                    entries.push(entry);
                }
            }
            Self::Blank(list, container, Json(value)) => {
                let container = container.of(&CONTAINERS);
                let list = list.of(&["volumes", "initContainers", "containers", "metadata.annotations", "mounts"]);
                let list = if list == "mounts" { format!("{container}.volumeMounts") } else { list.to_owned() };
                if !ledger["blank"].is_object() {
                    ledger["blank"] = json!({});
                }
                ledger["blank"][list] = value.clone();
            }
            Self::Workload(uid) => set(&mut ledger, "workload", uid.of(&UIDS).map(Value::from)),
            Self::Origin(by) => {
                for entry in ledger["sidecars"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                    entry.insert("origin".to_owned(), by.origin().into());
                    entry.shift_remove("uid");
                }
            }
            Self::Field(place, Json(value)) => {
                let places = ["/version", "/sidecars", "/sidecars/0", "/sidecars/0/items", "/sidecars/0/name", "/blank"];
                if let Some(place) = ledger.pointer_mut(place.of(&places)) {
                    *place = value.clone();
                }
            }
        }
        annotate(object, ledger.to_string());
    }
}

fn set(object: &mut Value, field: &str, value: Option<Value>) {
    match (object.as_object_mut(), value) {
        (Some(object), Some(value)) => drop(object.insert(field.to_owned(), value)),
        (Some(object), None) => drop(object.shift_remove(field)),
        (None, _) => {}
    }
}

fn annotate(object: &mut Value, text: String) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        drop(Ledger::parse(&text));
        annotations.insert(LEDGER_ANNOTATION.to_owned(), text.into());
    }
}

// --- wishes ---

/// What one LogSidecar wants.
#[derive(Arbitrary, Debug)]
pub struct Wish {
    name: Pick,
    uid: Pick,
    intent: Pick,
    log: Wanted,
    more: Option<Wanted>,
    sidecar: Pick,
}

#[derive(Arbitrary, Debug)]
struct Wanted {
    path: Pick,
    container: Option<Pick>,
    volume: Pick,
    sidecar_path: Option<Pick>,
}

impl Wanted {
    fn value(&self, name: &str) -> Value {
        let directories = ["/l", "/l/sub", "/data", "/var/log/app"];
        let mut log = json!({"name": name, "directory": self.path.of(&directories)});
        if let Some(container) = self.container {
            log["container"] = container.of(&CONTAINERS).into();
        }
        if let Some(path) = self.sidecar_path {
            log["sidecarDirectory"] = path.of(&["/s", "/l", "/s/sub"]).into();
        }
        match self.volume.0 % 6 {
            0 | 1 => {}
            2 => log["volume"] = json!({"name": "mine", "emptyDir": {"sizeLimit": "1Gi"}}),
            3 => log["volume"] = json!({"persistentVolumeClaim": {"claimName": "claim"}, "subPath": "x"}),
            4 => log["volume"] = json!({"existing": {"name": "data"}}),
            _ => log["volume"] = json!({"name": "claim"}),
        }
        log
    }
}

impl Wish {
    pub fn name(&self) -> &'static str {
        self.name.of(&SIDECARS)
    }

    pub fn uid(&self) -> Option<&'static str> {
        self.uid.of(&UIDS)
    }

    pub fn spec(&self) -> LogSidecarSpec {
        let logs: Vec<Value> = [Some(&self.log), self.more.as_ref()]
            .into_iter()
            .flatten()
            .zip(["x", "y"])
            .map(|(log, name)| log.value(name))
            .collect();
        let mut spec = json!({"target": {"name": "web"}, "logs": logs});
        match self.sidecar.0 % 5 {
            0 => {}
            1 => spec["sidecar"] = json!({"tail": {}, "placement": "Container"}),
            2 => {
                spec["sidecar"] =
                    json!({"container": {"name": "ship", "image": "ship:1", "env": [{"name": "A", "value": "1"}]}})
            }
            3 => {
                spec["sidecar"] =
                    json!({"container": {"image": "ship:2", "volumeMounts": [{"name": "data", "mountPath": "/s"}]}});
            }
            _ => spec["sidecar"] = json!({"tail": {}, "container": {"name": "ship", "securityContext": null, "args": []}}),
        }
        serde_json::from_value(spec).expect("a spec")
    }

    pub fn intent<'a>(&self, spec: &'a ResolvedSpec) -> Intent<'a> {
        match self.intent.0 % 8 {
            0 => Intent::Keep(Reason::Suspended),
            1 => Intent::Remove(Evidence::Unmatched),
            2 => Intent::Remove(Evidence::Deleting),
            3 => Intent::Orphan,
            _ => Intent::Apply(spec),
        }
    }
}

/// The same for a policy, which also mounts volumes that exist.
pub fn would_admit(spec: &LogSidecarSpec, name: &str, key: &Key, template: &Value) -> bool {
    let volume = |key: &Key| key.get(template).and_then(|mount| mount["name"].as_str()).map(str::to_owned);
    let exists =
        |log: &Log| log.volume.as_ref().and_then(|volume| volume.existing.as_ref()).map(|existing| existing.name.clone());
    let mounts_existing = match key {
        Key::Mount { path, .. } => {
            spec.logs.iter().any(|log| log.directory == *path && exists(log).is_some() && exists(log) == volume(key))
        }
        Key::InitContainer(_) | Key::Container(_) | Key::Volume(_) => false,
    };
    mounts_existing || would_put(spec, name, key, template)
}

/// Whether the item is at a place where the LogSidecar itself would put one: its container, or a volume that it would make and
/// the mount of it.
pub fn would_put(spec: &LogSidecarSpec, name: &str, key: &Key, template: &Value) -> bool {
    let sidecar = spec.sidecar.as_ref();
    let named = sidecar.and_then(|sidecar| sidecar.container.as_ref()?.name()).unwrap_or(name);
    let is_own = |log: &Log, volume: &str| match &log.volume {
        Some(wanted) if wanted.existing.is_some() => false,
        Some(wanted) if wanted.name.is_some() => wanted.name.as_deref() == Some(volume),
        _ => volume.starts_with("logs-"),
    };
    let mounts = |container: &Value, path: &str, volume: &str| {
        container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|mount| mount["mountPath"] == path && mount["name"] == volume)
    };
    match key {
        Key::InitContainer(container) | Key::Container(container) => {
            let shipped = sidecar.is_none_or(|sidecar| sidecar.tail.is_some());
            let default = if shipped { Placement::Native } else { Placement::Container };
            let placement = sidecar.and_then(|sidecar| sidecar.placement).unwrap_or(default);
            container == named && (placement == Placement::Native) == matches!(key, Key::InitContainer(_))
        }
        Key::Volume(volume) => spec.logs.iter().any(|log| {
            is_own(log, volume) && super::containers(template).any(|container| mounts(container, &log.directory, volume))
        }),
        Key::Mount { path, .. } => {
            let volume = key.get(template).and_then(|mount| mount["name"].as_str()).unwrap_or_default();
            spec.logs.iter().any(|log| log.directory == *path && is_own(log, volume))
        }
    }
}
