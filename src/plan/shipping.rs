//! What a shipper needs in the pod: its container, and volumes for its config, its state and its certificates.

use serde_json::{Map, Value, json};

use super::{Refusal, ResolvedSpec, Warning, resolved::Rendered, volume};
use crate::workload::key::Key;
use crate::workload::{key, normal::fingerprint};
use crate::{
    api::{Engine, LogVolume, Reason},
    shipper::{
        Shipper,
        engine::{self, CONFIG, Parts as EngineParts, STATE, TLS},
    },
};

/// What a shipper adds to one pod.
#[derive(Debug, Default)]
pub(super) struct PodParts {
    /// The container without name, mounts and security context.
    pub container: Map<String, Value>,
    pub volumes: Vec<(Key, Value)>,
    /// Volumes of others.
    pub uses: Vec<Key>,
    pub mounts: Vec<Map<String, Value>>,
    pub warnings: Vec<Warning>,
}

/// Returns what the shipper of a spec needs in `pod`, for a sidecar `container` whose `logs` are written by `writers`, one for each entry.
pub(super) fn parts(
    pod: &Value,
    resolved: &ResolvedSpec,
    container: &str,
    writers: &[String],
    free: &impl Fn(&Key) -> bool,
) -> Result<PodParts, Refusal> {
    let (rendered, config) = match resolved.rendered()? {
        Rendered::Own => return Ok(PodParts::default()),
        Rendered::Shipper(parts, config) => (parts, config),
    };
    let spec = resolved.spec();
    let Some(engine) = Shipper::of(spec).and_then(Shipper::engine) else {
        return Ok(PodParts { container: rendered.container.clone(), ..PodParts::default() });
    };
    let EngineParts { container: ours, env, config: _, own, certificates } = &**rendered;
    let mut ours = ours.clone();
    let writers = engine::writers(spec.logs.iter().map(|log| log.name.as_str()).zip(writers.iter().map(String::as_str)));
    if let Some(all) = ours.entry("env").or_insert_with(|| json!([])).as_array_mut() {
        all.extend(env.iter().cloned().chain(writers));
    }
    let is_his = spec.own_container().is_some_and(|user| user.0.contains_key("lifecycle"));
    let warnings = if is_his { None } else { fit_the_end(pod, &mut ours) }.into_iter().collect();
    let mut parts = PodParts { container: ours, warnings, ..PodParts::default() };
    let source = match (config, own) {
        (Some(made), _) => Some(json!({"name": made.name})),
        (None, own) => own.as_ref().map(|(name, key, file)| json!({"name": name, "items": [{"key": key, "path": file}]})),
    };
    if let Some(source) = source {
        let volume = own_name(container, "config");
        parts.add(pod, free, json!({"name": volume, "configMap": source}))?;
        parts.mounts.push(mount(&volume, CONFIG, true));
    }
    parts.state(pod, free, container, engine)?;
    for (secret, keys) in certificates {
        let volume = own_name(container, &format!("tls-{}", &fingerprint(&json!(secret))[..8]));
        let items: Vec<Value> = keys.iter().map(|key| json!({"key": key, "path": key})).collect();
        parts.add(pod, free, json!({"name": volume, "secret": {"secretName": secret, "items": items}}))?;
        parts.mounts.push(mount(&volume, &format!("{TLS}/{secret}"), true));
    }
    Ok(parts)
}

impl PodParts {
    /// A volume of our own, under a name that nobody has.
    fn add(&mut self, pod: &Value, free: &impl Fn(&Key) -> bool, volume: Value) -> Result<(), Refusal> {
        let name = volume["name"].as_str().unwrap_or_default().to_owned();
        let key = Key::Volume(name.clone());
        if key.get(pod).is_some() && !free(&key) {
            let message = format!(
                "the pod already has a volume {name}: write another sidecar.container.name, or state.name of the shipper"
            );
            return Err(Refusal::new(Reason::VolumeNameTaken, message));
        }
        self.volumes.push((key, volume));
        Ok(())
    }

    fn state(&mut self, pod: &Value, free: &impl Fn(&Key) -> bool, container: &str, engine: &Engine) -> Result<(), Refusal> {
        let wanted = engine.state.clone().unwrap_or_default();
        let LogVolume { name, sub_path, existing, .. } = &wanted;
        let name = match (existing, name) {
            (Some(existing), _) => existing.name.clone(),
            (None, Some(name)) => name.clone(),
            (None, None) => own_name(container, "state"),
        };
        let mut mount = mount(&name, STATE, false);
        mount.extend(sub_path.iter().map(|path| ("subPath".to_owned(), path.as_str().into())));
        self.mounts.push(mount);
        let key = Key::Volume(name.clone());
        if existing.is_some() {
            if key.get(pod).is_none() {
                let message = format!("the pod has no volume {name}: correct state.existing of the shipper, or leave it out");
                return Err(Refusal::new(Reason::VolumeNotFound, message));
            }
            self.uses.push(key);
            return Ok(());
        }
        self.add(pod, free, volume::source(&name, &wanted))
    }
}

/// Leaves the pause before the end out of a pod that has less time to end: the API server would refuse it.
fn fit_the_end(pod: &Value, container: &mut Map<String, Value>) -> Option<Warning> {
    let pause = container.get("lifecycle")?.pointer("/preStop/sleep/seconds")?.as_u64()?;
    let time = pod.pointer("/spec/terminationGracePeriodSeconds")?.as_u64()?;
    if pause <= time {
        return None;
    }
    container.shift_remove("lifecycle");
    Some(Warning(format!(
        "with terminationGracePeriodSeconds: {time} the sidecar has no time to read to the end: the last lines of a pod that ends may be lost"
    )))
}

/// The volumes of a sidecar that are its own: by where it mounts them, as their names and number depend on the whole spec.
pub(super) fn volumes_of(container: &Value, spec: &ResolvedSpec) -> Vec<Key> {
    let Some(engine) = Shipper::of(spec.spec()).and_then(Shipper::engine) else { return Vec::new() };
    let existing = engine.state.as_ref().and_then(|state| Some(state.existing.as_ref()?.name.as_str()));
    let is_own = |mount: &&Value| {
        let path = mount["mountPath"].as_str().unwrap_or_default();
        path == CONFIG || path == STATE || path.starts_with(&format!("{TLS}/"))
    };
    let names = key::list(container, "volumeMounts").filter(is_own).filter_map(|mount| mount["name"].as_str());
    names.filter(|name| Some(*name) != existing).map(|name| Key::Volume(name.to_owned())).collect()
}

/// The name of a volume that belongs to the sidecar alone.
fn own_name(container: &str, what: &str) -> String {
    let name = format!("{container}-{what}");
    if name.len() <= 63 {
        return name;
    }
    let kept: String = container.chars().take(63 - what.len() - 10).collect();
    format!("{}-{}-{what}", kept.trim_end_matches('-'), &fingerprint(&json!(container))[..8])
}

fn mount(volume: &str, path: &str, read_only: bool) -> Map<String, Value> {
    let mut mount = volume::mount_of(volume, path);
    if read_only {
        mount.insert("readOnly".to_owned(), true.into());
    }
    mount
}
