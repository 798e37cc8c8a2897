//! The ConfigMaps with the configs of shippers: made before the first workload refers to one, and removed when nothing refers to it
//! any more, also not what a rollout that is undone would bring back.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, ReplicaSet},
        batch::v1::Job,
        core::v1::{ConfigMap, Pod},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use super::{
    apply::{Error, TIMEOUT},
    cache::Sidecar,
    context::Context,
    sidecar::is_any,
};
use crate::{
    api::{MANAGER, Reason, SIDECAR_LABEL},
    plan::{self, Refusal},
    workload::kind::Kind,
};

/// Longer than a patch is under way that was sent right after its ConfigMap had been made, or found.
const UNDER_WAY: Duration = Duration::from_secs(TIMEOUT.as_secs() + 15);

/// What is known to be in the cluster, as `NAMESPACE/NAME UID-OF-THE-OWNER`.
#[derive(Debug, Default)]
pub(super) struct Configs(Mutex<HashSet<String>>);

impl Configs {
    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one that owns a ConfigMap.
pub(super) fn owner(sidecar: &Sidecar) -> OwnerReference {
    OwnerReference {
        api_version: "logsidecar.dev/v1alpha1".to_owned(),
        kind: "LogSidecar".to_owned(),
        name: sidecar.key.name.clone(),
        uid: sidecar.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Makes a ConfigMap, unless it is there. It is immutable and named by its content, so what is there is what is needed.
pub(super) async fn ensure(context: &Context, sidecar: &Sidecar, config: &plan::ConfigMap) -> Result<(), Error> {
    let namespace = &sidecar.key.namespace;
    let known = format!("{namespace}/{} {}", config.name, sidecar.uid);
    if context.configs.known().contains(&known) {
        return Ok(());
    }
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let mut manifest = config.manifest(Some(namespace));
    manifest["metadata"]["ownerReferences"] = json!([owner(sidecar)]);
    let object: ConfigMap = serde_json::from_value(manifest).map_err(|error| Error::Failed(error.to_string()))?;
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match ask(api.create(&params, &object)).await? {
        Ok(_) => tracing::info!(sidecar = %sidecar.key, configmap = config.name, "config written"),
        Err(kube::Error::Api(status)) if status.code == 409 => adopt(&api, sidecar, config).await?,
        Err(error) => return Err(explain(&config.name, error)),
    }
    context.configs.known().insert(known);
    Ok(())
}

/// Of an earlier `LogSidecar` of the same name, or kept when it was deleted. The write also tells the sweeper that it is needed.
async fn adopt(api: &Api<ConfigMap>, sidecar: &Sidecar, config: &plan::ConfigMap) -> Result<(), Error> {
    let found = ask(api.get(&config.name)).await?.map_err(|error| explain(&config.name, error))?;
    let data = BTreeMap::from([(config.config.file.to_owned(), config.config.text.clone())]);
    if found.data.as_ref() != Some(&data) {
        let message = format!("ConfigMap {} has another content than its name says: delete it", config.name);
        return Err(Error::Refused(Refusal::new(Reason::ConfigInvalid, message)));
    }
    let patch = json!({"metadata": {
        "labels": {SIDECAR_LABEL: sidecar.key.name},
        "ownerReferences": [owner(sidecar)],
        "annotations": {"logsidecar.dev/adopted": super::sidecar::now()},
    }});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = ask(api.patch(&config.name, &params, &Patch::Merge(&patch))).await?;
    patched.map(drop).map_err(|error| explain(&config.name, error))
}

/// No answer in time is an answer, too.
pub(super) async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Result<kube::Result<T>, Error> {
    tokio::time::timeout(TIMEOUT, request).await.map_err(|_| Error::Timeout)
}

fn explain(name: &str, error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if status.code == 403 => Error::Refused(Refusal::new(
            Reason::Forbidden,
            format!(
                "the API server forbids to write ConfigMap {name}: {}",
                status.message.chars().take(300).collect::<String>()
            ),
        )),
        kube::Error::Api(status) => Error::Failed(format!("ConfigMap {name}: {} {}", status.code, status.reason)),
        other => Error::Failed(other.to_string()),
    }
}

/// Before a `LogSidecar` goes: those of its ConfigMaps that somebody still refers to are nobody's from now on, or they would go with
/// it, and the pods of a rollout that is undone would wait for them for ever. The sweeper has them when nobody does any more.
pub(super) async fn release(context: &Context, sidecar: &Sidecar) -> Result<(), Error> {
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &sidecar.key.namespace);
    let params = ListParams::default().labels(&format!("{SIDECAR_LABEL}={}", sidecar.key.name));
    let mut owned = ask(api.list(&params)).await?.map_err(|error| explain("", error))?.items;
    owned.retain(|config| config.owner_references().iter().any(|owner| owner.uid == sidecar.uid));
    let names: BTreeSet<String> = owned.iter().map(ResourceExt::name_any).collect();
    for name in referred_to(context, &sidecar.key.namespace, &names).await? {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match ask(api.patch(&name, &params, &Patch::Merge(&json!({"metadata": {"ownerReferences": []}})))).await? {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            answer => drop(answer.map_err(|error| explain(&name, error))?),
        }
    }
    Ok(())
}

/// Removes ConfigMaps that nothing refers to any more, every so often.
pub(super) async fn sweep_for_ever(context: &Context, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        if let Err(error) = sweep(context).await {
            tracing::warn!("old ConfigMaps could not be looked for: {error}");
        }
    }
}

async fn sweep(context: &Context) -> Result<(), Error> {
    let api: Api<ConfigMap> = match &context.namespace {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    };
    let all = ask(api.list(&ListParams::default().labels(SIDECAR_LABEL))).await?.map_err(|error| explain("", error))?.items;
    let current = current(context);
    mend(context, &current, &all).await;
    let mut candidates: BTreeMap<String, Vec<ConfigMap>> = BTreeMap::new();
    for config in all {
        let namespace = config.namespace().unwrap_or_default();
        let is_current = |(sidecar, wanted): &(Arc<Sidecar>, Option<plan::ConfigMap>)| {
            sidecar.key.namespace == namespace
                && match wanted {
                    Some(wanted) => wanted.name == config.name_any(),
                    None => sidecar.spec.is_err() && config.name_any().starts_with(&format!("{}-", sidecar.key.name)),
                }
        };
        if is_made_here(&config) && !current.iter().any(is_current) {
            candidates.entry(namespace).or_default().push(config);
        }
    }
    if candidates.is_empty() {
        return Ok(());
    }
    // From here on whoever needs one writes to it, and what is written to is not deleted below.
    context.configs.known().clear();
    tokio::time::sleep(UNDER_WAY).await;
    for (namespace, configs) in candidates {
        let names = configs.iter().map(ResourceExt::name_any).collect();
        let needed = referred_to(context, &namespace, &names).await?;
        let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
        for config in configs.iter().filter(|config| !needed.contains(&config.name_any())) {
            let preconditions = Preconditions { uid: config.uid(), resource_version: config.resource_version() };
            let params = DeleteParams::default().preconditions(preconditions);
            match ask(api.delete(&config.name_any(), &params)).await? {
                Ok(_) => {
                    tracing::info!(%namespace, configmap = config.name_any(), "nothing refers to this config any more: removed");
                }
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => return Err(explain(&config.name_any(), error)),
            }
        }
    }
    Ok(())
}

/// What each `LogSidecar` asks for today. Of one that cannot be read nobody knows.
fn current(context: &Context) -> Vec<(Arc<Sidecar>, Option<plan::ConfigMap>)> {
    let wanted = |sidecar: &Sidecar| {
        let spec = sidecar.spec.as_ref().ok()?;
        plan::ConfigMap::of(&sidecar.key.name, spec, &context.images).ok()?
    };
    context.cache.all_sidecars().into_iter().map(|sidecar| (sidecar.clone(), wanted(&sidecar))).collect()
}

/// Makes those again that somebody has deleted while workloads refer to them.
async fn mend(context: &Context, current: &[(Arc<Sidecar>, Option<plan::ConfigMap>)], all: &[ConfigMap]) {
    for (sidecar, wanted) in current {
        let Some(config) = wanted else { continue };
        let namespace = &sidecar.key.namespace;
        let is_there = |there: &ConfigMap| there.name_any() == config.name && there.namespace().as_ref() == Some(namespace);
        let workloads = context.cache.workloads_in(namespace);
        let is_used =
            || workloads.iter().any(|workload| workload.ledger.as_ref().is_some_and(|text| text.contains(&sidecar.uid)));
        if all.iter().any(is_there) || !is_used() {
            continue;
        }
        context.configs.known().retain(|known| !known.starts_with(&format!("{namespace}/{} ", config.name)));
        if let Err(error) = ensure(context, sidecar, config).await {
            tracing::warn!(sidecar = %sidecar.key, configmap = config.name, "the config is gone and cannot be written: {error}");
        }
    }
}

fn is_made_here(config: &ConfigMap) -> bool {
    let mut object = serde_json::to_value(config).unwrap_or_default();
    object["kind"] = "ConfigMap".into();
    plan::ConfigMap::is_ours(&object)
}

/// Which of these names are in a pod template, in a pod, or in what a rollout that is undone would bring back.
async fn referred_to(context: &Context, namespace: &str, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    if names.is_empty() {
        return Ok(found);
    }
    let built_in = [
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
        ApiResource::erase::<Job>(&()),
        ApiResource::erase::<Pod>(&()),
    ];
    let kinds = context.kinds.in_cluster().map(|kind| (kind.resource(), matches!(kind, Kind::Custom(_))));
    for (resource, may_be_missing) in kinds.chain(built_in.map(|resource| (resource, false))) {
        let all_found = |item: &DynamicObject| {
            mentioned(&item.data, names, &mut found);
            found.len() == names.len()
        };
        let asked = is_any(context, namespace, &resource, may_be_missing, all_found).await;
        if asked.map_err(|error| Error::Failed(error.to_string()))? {
            break;
        }
    }
    Ok(found)
}

/// The names that are the name of a ConfigMap somewhere in a value.
fn mentioned(value: &Value, names: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) =
                map.get("configMap").and_then(|source| source.get("name")?.as_str()).filter(|name| names.contains(*name))
            {
                found.insert(name.to_owned());
            }
            map.values().for_each(|value| mentioned(value, names, found));
        }
        Value::Array(list) => list.iter().for_each(|value| mentioned(value, names, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_found_where_a_template_mounts_it_and_nowhere_else() {
        let names: BTreeSet<String> = ["a-1", "a-2", "a-3"].map(str::to_owned).into();
        let template = json!({"template": {"spec": {"volumes": [{"name": "a-2"}, {"name": "c", "configMap": {"name": "a-1"}}, {"configMap": {"name": "b"}}]}}});
        let mut found = BTreeSet::new();
        mentioned(&json!({"data": template, "note": "a-3"}), &names, &mut found);
        assert_eq!(found, ["a-1".to_owned()].into());
    }
}
