//! What one `LogSidecar` puts into one pod template: volumes, the application's mounts, the sidecar container.

use serde_json::{Map, Value};

use super::{Refusal, ResolvedSpec, Warning, port, shipping, user, volume};
use crate::workload::key;
use crate::workload::key::Key;
use crate::{
    api::{Log, LogSidecarSpec, PartialContainer, Placement, Reason},
    merge,
    shipper::Shipper,
    workload::kind::Kind,
};

/// The version of everything in this file that decides about bytes; see [`crate::workload::ledger::Entry::renderer`].
pub const RENDERER: u32 = 1;

/// What goes in, in the order in which it has to be put.
#[derive(Debug)]
pub(super) struct Contribution {
    pub items: Vec<(Key, Value)>,
    /// Volumes and mounts of others that the sidecar uses.
    pub uses: Vec<Key>,
    pub warnings: Vec<Warning>,
}

/// The address of the sidecar container of a `LogSidecar`.
pub(super) fn container_key(resolved: &ResolvedSpec) -> Key {
    let spec = resolved.spec();
    let name = spec.own_container().and_then(PartialContainer::name).unwrap_or(resolved.name()).to_owned();
    match placement(spec) {
        Placement::Native => Key::InitContainer(name),
        Placement::Container => Key::Container(name),
    }
}

/// A default that depends on the spec alone, so that no server upgrade ever changes a template.
fn placement(spec: &LogSidecarSpec) -> Placement {
    let default = if Shipper::of(spec).is_some() { Placement::Native } else { Placement::Container };
    spec.sidecar.as_ref().and_then(|sidecar| sidecar.placement).unwrap_or(default)
}

/// The container that writes the files of one entry.
///
/// `sidecars` are the names of containers that we put in: they never count as the pod's own.
pub(super) fn writer<'a>(pod: &'a Value, log: &'a Log, sidecars: &[&str]) -> Result<&'a str, Refusal> {
    let name_of = |container: &'a Value| container.get("name").and_then(Value::as_str);
    let names: Vec<&str> = key::containers(pod).filter_map(name_of).filter(|name| !sidecars.contains(name)).collect();
    if let Some(wanted) = &log.container {
        return names.iter().copied().find(|name| name == wanted).ok_or_else(|| {
            let message =
                format!("the pod has no container {wanted}: write one of {} in logs[{}].container", names.join(", "), log.name);
            Refusal::new(Reason::ContainerNotFound, message)
        });
    }
    let app: Vec<&str> =
        key::list(&pod["spec"], "containers").filter_map(name_of).filter(|name| names.contains(name)).collect();
    let default = pod.pointer("/metadata/annotations/kubectl.kubernetes.io~1default-container").and_then(Value::as_str);
    match (app.as_slice(), default) {
        ([only], _) => Ok(only),
        (app, Some(default)) if app.contains(&default) => Ok(default),
        ([], _) => Err(Refusal::new(Reason::ContainerNotFound, "the pod has no container")),
        (app, _) => {
            let message =
                format!("the pod has several containers: write one of {} in logs[{}].container", app.join(", "), log.name);
            Err(Refusal::new(Reason::ContainerAmbiguous, message))
        }
    }
}

/// Returns everything that a `LogSidecar` puts into `pod`.
///
/// `free` tells the items of `pod` that are ours alone and may be replaced.
pub(super) fn items(
    pod: &Value,
    resolved: &ResolvedSpec,
    sidecars: &[&str],
    kind: Kind,
    free: impl Fn(&Key) -> bool,
) -> Result<Contribution, Refusal> {
    let (spec, key) = (resolved.spec(), container_key(resolved));
    let native = placement(spec) == Placement::Native;
    if key::container(pod, container_name(&key)).is_some() {
        return Err(Refusal::new(
            Reason::ContainerNameTaken,
            format!("the pod already has a container {}: write another sidecar.container.name", container_name(&key)),
        ));
    }
    let mut pod = pod.clone();
    let (mut items, mut uses, mut mounts, mut env) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut warnings, mut writers) = (Vec::new(), Vec::new());
    for log in &spec.logs {
        let writer = writer(&pod, log, sidecars)?.to_owned();
        let route = volume::route(&pod, log, &writer, &free)?;
        for (key, item) in &route.items {
            key.put(&mut pod, item.clone());
        }
        items.extend(route.items);
        uses.extend(route.uses);
        warnings.extend(route.warnings);
        add_mount(&mut mounts, route.sidecar_mount, log)?;
        env.extend(route.env);
        writers.push(writer);
    }
    let mut container = match Shipper::of(spec) {
        Some(shipper) => {
            let (context, advice) = user::security_context(&pod, &distinct(&writers), shipper.engine().is_some());
            warnings.extend(advice);
            mounts.iter_mut().for_each(|mount| drop(mount.insert("readOnly".to_owned(), true.into())));
            let mut parts = shipping::parts(&pod, resolved, container_name(&key), &writers, &free)?;
            parts.container.insert("securityContext".to_owned(), context);
            for (key, volume) in parts.volumes {
                key.put(&mut pod, volume.clone());
                items.push((key, volume));
            }
            uses.extend(parts.uses);
            warnings.extend(parts.warnings);
            for mount in parts.mounts {
                add_own_mount(&mut mounts, mount)?;
            }
            merge::overlay(parts.container, &written(spec))
        }
        None => written(spec),
    };
    if native {
        container.insert("restartPolicy".to_owned(), "Always".into());
    } else if matches!(kind, Kind::Job | Kind::CronJob) {
        warnings.push(Warning("with placement Container the Job never completes while the sidecar runs".to_owned()));
    }
    let container = Value::Object(assemble(container_name(&key), container, mounts, env)?);
    // The port of a shipper is in its settings, unless ports are written.
    let has_ports = spec.own_container().is_some_and(|user| user.0.contains_key("ports"));
    let shipper = Shipper::of(spec).filter(|shipper| shipper.engine().is_some() && !has_ports);
    port::refuse_taken(&pod, &container, shipper.map(Shipper::field))?;
    items.push((key, container));
    Ok(Contribution { items, uses, warnings })
}

fn container_name(key: &Key) -> &str {
    match key {
        Key::InitContainer(name) | Key::Container(name) | Key::Volume(name) => name,
        Key::Mount { container, .. } => container,
    }
}

fn written(spec: &LogSidecarSpec) -> Map<String, Value> {
    spec.own_container().map(|PartialContainer(map)| map.clone()).unwrap_or_default()
}

/// Each once, in their order.
fn distinct(writers: &[String]) -> Vec<&str> {
    let mut distinct = Vec::new();
    for writer in writers {
        if !distinct.contains(&writer.as_str()) {
            distinct.push(writer.as_str());
        }
    }
    distinct
}

/// A mount of the shipper's own, which no log directory may be in the way of.
fn add_own_mount(mounts: &mut Vec<Map<String, Value>>, mount: Map<String, Value>) -> Result<(), Refusal> {
    if mounts.iter().any(|other| other.get("mountPath") == mount.get("mountPath")) {
        let path = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
        let message = format!("the shipper keeps files of its own at {path}: write another logs[].sidecarDirectory");
        return Err(Refusal::new(Reason::MountPathTaken, message));
    }
    mounts.push(mount);
    Ok(())
}

/// Two entries may share one mount; two volumes cannot share one path.
fn add_mount(mounts: &mut Vec<Map<String, Value>>, mount: Map<String, Value>, log: &Log) -> Result<(), Refusal> {
    match mounts.iter().find(|other| other.get("mountPath") == mount.get("mountPath")) {
        Some(other) if *other == mount => {}
        Some(_) => {
            return Err(Refusal::new(
                Reason::MountPathTaken,
                format!(
                    "two entries of logs would be seen at one path of the sidecar: write another logs[{}].sidecarDirectory",
                    log.name
                ),
            ));
        }
        None => mounts.push(mount),
    }
    Ok(())
}

/// The container as it goes into the pod: the name first, then what is written, then what the mounts need. Variables that a
/// mount needs come first, as a variable can only use those before it.
fn assemble(
    name: &str,
    written: Map<String, Value>,
    mounts: Vec<Map<String, Value>>,
    env: Vec<Value>,
) -> Result<Map<String, Value>, Refusal> {
    let mut container = Map::from_iter([("name".to_owned(), Value::from(name))]);
    container.extend(written.into_iter().filter(|(field, _)| field != "name"));
    let mut all: Vec<Value> = key::list(&Value::Object(container.clone()), "volumeMounts").cloned().collect();
    for mount in mounts {
        match all.iter().find(|own| own.get("mountPath") == mount.get("mountPath")) {
            Some(own) if own.get("name") == mount.get("name") => {}
            Some(own) => {
                let message = format!(
                    "sidecar.container.volumeMounts has another volume at {}: leave it out, or write another sidecarDirectory",
                    own["mountPath"].as_str().unwrap_or_default()
                );
                return Err(Refusal::new(Reason::MountPathTaken, message));
            }
            None => all.push(Value::Object(mount)),
        }
    }
    container.insert("volumeMounts".to_owned(), Value::Array(all));
    let mut own: Vec<Value> = key::list(&Value::Object(container.clone()), "env").cloned().collect();
    if let Some(other) = own.iter().find(|own| env.iter().any(|needed| needed["name"] == own["name"] && needed != *own)) {
        let message = format!(
            "a mount needs the application's variable {}, which sidecar.container.env sets otherwise: leave it out there",
            other["name"].as_str().unwrap_or_default()
        );
        return Err(Refusal::new(Reason::EnvNotFound, message));
    }
    if !env.is_empty() {
        let mut all: Vec<Value> = Vec::new();
        own.retain(|own| !env.contains(own));
        env.into_iter().chain(own).filter(|variable| variable["name"].is_string()).for_each(|variable| {
            if !all.contains(&variable) {
                all.push(variable);
            }
        });
        container.insert("env".to_owned(), Value::Array(all));
    }
    Ok(container)
}
