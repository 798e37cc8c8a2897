//! Which volume carries the files of one `logs[]` entry, and how the sidecar sees it.

use serde_json::{Map, Value, json};

use super::{Refusal, Warning};
use crate::api::{Log, LogVolume, Reason};
use crate::workload::key;
use crate::workload::key::Key;
use crate::workload::normal::normal;

/// Directories whose own content an application is likely to miss when a volume is mounted over them.
const BROAD: [&str; 5] = ["/var/log", "/var/lib", "/tmp", "/opt", "/home"];

/// How the files of one `logs[]` entry get to the sidecar.
#[derive(Debug)]
pub(super) struct Route {
    /// What has to be put in: the volume and the application's mount, or nothing where both are there already.
    pub items: Vec<(Key, Value)>,
    /// The volume and the mount that are used because they are there already.
    pub uses: Vec<Key>,
    /// The mount in the sidecar.
    pub sidecar_mount: Map<String, Value>,
    /// Environment variables that the mount's `subPathExpr` needs.
    pub env: Vec<Value>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// Where the sidecar sees the files.
pub(super) fn sidecar_directory(log: &Log) -> &str {
    log.sidecar_directory.as_deref().unwrap_or(&log.directory)
}

/// The name that a new volume gets. It depends on nothing but the container and the directory, so that it stays the same
/// whichever `LogSidecar` asks first, and offline.
pub(super) fn volume_name(log: &Log, container: &str) -> String {
    if let Some(LogVolume { existing: Some(existing), .. }) = &log.volume {
        return existing.name.clone();
    }
    if let Some(name) = log.volume.as_ref().and_then(|volume| volume.name.as_ref()) {
        return name.clone();
    }
    let readable = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let path: String = log.directory.chars().map(readable).collect();
    let name = format!("logs-{container}{path}");
    let faithful = log.directory.chars().all(|c| c == '/' || readable(c) == c) && !name.ends_with('-');
    if faithful && name.len() <= 63 {
        return name;
    }
    let digest = crate::workload::normal::fingerprint(&json!([container, log.directory]));
    let kept: String = name.chars().take(54).collect();
    format!("{}-{}", kept.trim_end_matches('-'), &digest[..8])
}

/// Finds or makes the volume for one entry of `logs`.
///
/// `pod` is the template as it will be without the items that this entry may replace; `free` are names that are taken only
/// by what we put in ourselves.
pub(super) fn route(pod: &Value, log: &Log, container: &str, free: impl Fn(&Key) -> bool) -> Result<Route, Refusal> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let holder = key::container(pod, container).unwrap_or(&Value::Null);
    let covering = key::list(holder, "volumeMounts")
        .filter_map(|mount| Some((mount, below(mount.get("mountPath")?.as_str()?, &log.directory)?)))
        .min_by_key(|(_, below)| below.len());
    match covering {
        Some((mount, below)) => reuse(spec, holder, log, container, mount, below),
        None => fresh(pod, holder, log, container, free),
    }
}

/// The part of `directory` below `mount`, if the mount covers it: "" at the mount itself, `/app` below it.
fn below<'a>(mount: &str, directory: &'a str) -> Option<&'a str> {
    let rest = directory.strip_prefix(mount.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn reuse(spec: &Value, holder: &Value, log: &Log, container: &str, mount: &Value, below: &str) -> Result<Route, Refusal> {
    let text = |field: &str| mount.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, path) = (text("name"), text("mountPath"));
    let volume = key::list(spec, "volumes").find(|volume| volume["name"] == name);
    if mount.get("readOnly") == Some(&Value::Bool(true)) || volume.is_some_and(|volume| !is_writable(volume)) {
        return Err(Refusal::new(
            Reason::VolumeReadOnly,
            format!(
                "container {container} mounts volume {name} at {path}, which it cannot write to: name another directory in logs[{}].directory",
                log.name
            ),
        ));
    }
    let mut warnings = Vec::new();
    if let Some(wanted) = &log.volume {
        let agrees = match (&wanted.existing, &wanted.persistent_volume_claim) {
            (Some(existing), _) => existing.name == name,
            (None, Some(claim)) => {
                volume.is_some_and(|volume| volume["persistentVolumeClaim"]["claimName"] == claim.claim_name.as_str())
            }
            (None, None) => true,
        };
        if !agrees {
            return Err(Refusal::new(
                Reason::DirectoryMounted,
                format!(
                    "container {container} already mounts volume {name} at {path}, and mounting another over it would hide its files: leave logs[{}].volume out to use that volume",
                    log.name
                ),
            ));
        }
        if wanted.name.as_deref().is_some_and(|wanted| wanted != name) {
            warnings.push(Warning(format!(
                "container {container} already mounts volume {name} at {path}: it is used, and logs[{}].volume is not",
                log.name
            )));
        }
    }
    let Some(sidecar_path) = sidecar_directory(log).strip_suffix(below).filter(|path| !path.is_empty()) else {
        return Err(Refusal::new(
            Reason::MountPathTaken,
            format!(
                "{} lies below {path}, where container {container} mounts volume {name}: write a logs[{}].sidecarDirectory that ends in {below}, or leave it out",
                log.directory, log.name
            ),
        ));
    };
    let mut sidecar_mount = mount_of(name, sidecar_path);
    for field in ["subPath", "subPathExpr"] {
        if let Some(value) = mount.get(field).filter(|value| value.as_str().is_some_and(|text| !text.is_empty())) {
            sidecar_mount.insert(field.to_owned(), value.clone());
        }
    }
    let env = variables(text("subPathExpr"), holder, container)?;
    let uses = vec![Key::Volume(name.to_owned()), Key::Mount { container: container.to_owned(), path: path.to_owned() }];
    Ok(Route { items: Vec::new(), uses, sidecar_mount, env, warnings })
}

fn fresh(pod: &Value, holder: &Value, log: &Log, container: &str, free: impl Fn(&Key) -> bool) -> Result<Route, Refusal> {
    let name = volume_name(log, container);
    let key = Key::Volume(name.clone());
    let wanted = log.volume.clone().unwrap_or_default();
    let found = key.get(pod);
    let (mut items, mut uses) = (Vec::new(), Vec::new());
    if wanted.existing.is_some() {
        match found {
            Some(volume) if is_writable(volume) => {}
            Some(_) => {
                return Err(Refusal::new(
                    Reason::VolumeReadOnly,
                    format!("volume {name} cannot be written to: name another one in logs[{}].volume.existing", log.name),
                ));
            }
            None => {
                return Err(Refusal::new(
                    Reason::VolumeNotFound,
                    format!("the pod has no volume {name}: correct logs[{}].volume.existing, or leave it out", log.name),
                ));
            }
        }
    } else {
        let volume = source(&name, &wanted);
        let same = found.is_some_and(|found| normal(&key, found) == normal(&key, &volume));
        if found.is_some() && !free(&key) && same && wanted.name.is_some() {
            // The owner's own, or another entry's: it is used, and does not become ours by that.
            uses.push(key);
        } else if found.is_some() && !free(&key) {
            return Err(Refusal::new(
                Reason::VolumeNameTaken,
                format!(
                    "the pod already has another volume {name}: set logs[{}].volume.name, or volume.existing to use that one",
                    log.name
                ),
            ));
        } else {
            items.push((key, volume));
        }
    }
    let mut mount = mount_of(&name, &log.directory);
    let mut sidecar_mount = mount_of(&name, sidecar_directory(log));
    for mount in [&mut mount, &mut sidecar_mount] {
        mount.extend(wanted.sub_path.iter().map(|path| ("subPath".to_owned(), path.as_str().into())));
    }
    items.push((Key::Mount { container: container.to_owned(), path: log.directory.clone() }, Value::Object(mount)));
    let warnings = hidden(holder, log, container);
    Ok(Route { items, uses, sidecar_mount, env: Vec::new(), warnings })
}

/// What the new mount hides, or leaves out.
fn hidden(holder: &Value, log: &Log, container: &str) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if BROAD.contains(&log.directory.as_str()) {
        warnings.push(Warning(format!(
            "mounting a volume at {} hides everything that the image of container {container} has there",
            log.directory
        )));
    }
    let nested = key::list(holder, "volumeMounts").filter_map(|mount| mount.get("mountPath")?.as_str());
    warnings.extend(nested.filter(|path| below(&log.directory, path).is_some()).map(|path| {
        Warning(format!("container {container} mounts another volume at {path}: the sidecar does not see the files below it"))
    }));
    warnings
}

pub(super) fn mount_of(volume: &str, path: &str) -> Map<String, Value> {
    Map::from_iter([("name".to_owned(), volume.into()), ("mountPath".to_owned(), path.into())])
}

pub(super) fn source(name: &str, wanted: &LogVolume) -> Value {
    match &wanted.persistent_volume_claim {
        Some(claim) => json!({"name": name, "persistentVolumeClaim": claim}),
        None => json!({"name": name, "emptyDir": wanted.empty_dir.clone().unwrap_or_default()}),
    }
}

fn is_writable(volume: &Value) -> bool {
    let claim_is_read_only = volume.pointer("/persistentVolumeClaim/readOnly") == Some(&Value::Bool(true));
    let has = |source: &str| volume.get(source).is_some_and(|source| !source.is_null());
    !claim_is_read_only && !["configMap", "secret", "downwardAPI", "projected", "image"].into_iter().any(has)
}

/// The variables that `$(NAME)` in `expression` refers to, and those that they refer to, each after what it needs.
fn variables(expression: &str, holder: &Value, container: &str) -> Result<Vec<Value>, Refusal> {
    let env: Vec<&Value> = key::list(holder, "env").collect();
    if let Some(missing) = references(expression).find(|name| env.iter().all(|variable| variable["name"] != *name)) {
        return Err(Refusal::new(
            Reason::EnvNotFound,
            format!(
                "the mount of container {container} uses $({missing}), which is not in its env: add it there, so that the sidecar can be given the same"
            ),
        ));
    }
    let mut needed = Vec::new();
    need(expression, &env, &mut needed);
    Ok(needed)
}

/// A variable can only use those before it, so `env` gets shorter at every step.
fn need(expression: &str, env: &[&Value], needed: &mut Vec<Value>) {
    for name in references(expression) {
        let Some(at) = env.iter().rposition(|variable| variable["name"] == name) else { continue };
        need(env[at].get("value").and_then(Value::as_str).unwrap_or_default(), &env[..at], needed);
        if !needed.contains(env[at]) {
            needed.push(env[at].clone());
        }
    }
}

fn references(expression: &str) -> impl Iterator<Item = &str> {
    let mut rest = expression;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find('$')?;
            rest = &rest[at + 1..];
            if let Some(escaped) = rest.strip_prefix('$') {
                rest = escaped;
            } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
                rest = after;
                return Some(name);
            }
        }
    })
}
