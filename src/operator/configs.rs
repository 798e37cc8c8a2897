//! The ConfigMaps with the configs of shippers: created before the first workload refers to one, released when their `LogSidecar` is
//! deleted. [`sweep`] removes those that nothing refers to any more.

mod references;
pub(super) mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{once::Once, scope::Scope};
use crate::{
    api::{ConfigMapKey, MANAGER, Reason, SIDECAR_LABEL},
    cluster::{
        kept::owner,
        request::{RequestError, TIMEOUT, bounded, list_metadata},
    },
    decide::{log_sidecar::ValidatedLogSidecar, question::WriteError},
    plan::{self, Refusal, ResolvedSpec},
};

/// The ConfigMaps that are known to be in the cluster: namespace, name, and uid of the owner.
pub(super) struct Configs {
    client: Client,
    scope: Arc<Scope>,
    known: Once<(String, String, String)>,
}

impl Configs {
    pub fn new(client: Client, scope: Arc<Scope>) -> Self {
        Self { client, scope, known: Once::default() }
    }

    /// Creates a ConfigMap, unless it is there. It is immutable and named by its content, so what is there is what is needed.
    ///
    /// # Errors
    /// Why it could not be created.
    pub async fn ensure(&self, sidecar: &ValidatedLogSidecar, config: &plan::ConfigMap) -> Result<(), WriteError> {
        let key = (sidecar.key.namespace.clone(), config.name.clone(), sidecar.uid.clone());
        self.known.run(&key, Box::pin(self.create(sidecar, config))).await
    }

    async fn create(&self, sidecar: &ValidatedLogSidecar, config: &plan::ConfigMap) -> Result<(), WriteError> {
        let namespace = &sidecar.key.namespace;
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let mut manifest = config.manifest(Some(namespace));
        manifest["metadata"]["ownerReferences"] = json!([owner(sidecar)]);
        let object: ConfigMap = serde_json::from_value(manifest).map_err(|error| WriteError::Failed(error.to_string()))?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match bounded(api.create(&params, &object)).await {
            Ok(_) => {
                tracing::info!(sidecar = %sidecar.key, configmap = config.name, "config written");
                Ok(())
            }
            Err(error) if error.is_conflict() => adopt(&api, sidecar, config).await,
            Err(error) => Err(explain(&config.name, error)),
        }
    }

    /// Before a `LogSidecar` goes: those of its ConfigMaps that something still refers to lose their owner, or they would go with
    /// it, and the pods of a rollout that is undone would wait for them for ever. The sweeper removes them later.
    ///
    /// # Errors
    /// What a request fails with.
    pub async fn release(&self, sidecar: &ValidatedLogSidecar) -> Result<(), RequestError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &sidecar.key.namespace);
        let params = ListParams::default().labels(&format!("{SIDECAR_LABEL}={}", sidecar.key.name));
        let owned = list_metadata(&api, params).await?;
        let is_owned = |config: &&kube::api::PartialObjectMeta<ConfigMap>| {
            config.owner_references().iter().any(|owner| owner.uid == sidecar.uid)
        };
        let names: BTreeSet<String> = owned.iter().filter(is_owned).map(ResourceExt::name_any).collect();
        for name in references::referred_to(&self.client, &self.scope.kinds, &sidecar.key.namespace, &names).await? {
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            match bounded(api.patch(&name, &params, &Patch::Merge(&json!({"metadata": {"ownerReferences": []}})))).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        self.retain(|uid| uid != sidecar.uid);
        Ok(())
    }

    /// Forgets the LogSidecars whose uids do not satisfy a predicate.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.known.retain(|(_, _, owner)| keep(owner));
    }
}

/// Adopts the ConfigMap of an earlier `LogSidecar` of the same name. The write changes its version, so the sweeper does not delete it.
async fn adopt(api: &Api<ConfigMap>, sidecar: &ValidatedLogSidecar, config: &plan::ConfigMap) -> Result<(), WriteError> {
    let found = bounded(api.get(&config.name)).await.map_err(|error| explain(&config.name, error))?;
    let data = BTreeMap::from([(config.config.file.to_owned(), config.config.text.clone())]);
    if found.data.as_ref() != Some(&data) {
        let message = format!("ConfigMap {} has another content than its name says: delete it", config.name);
        return Err(WriteError::Refused(Refusal::new(Reason::ConfigInvalid, message)));
    }
    let patch = json!({"metadata": {
        "labels": {SIDECAR_LABEL: sidecar.key.name},
        "ownerReferences": [owner(sidecar)],
        "annotations": {"logsidecar.dev/adopted": super::now()},
    }});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = bounded(api.patch(&config.name, &params, &Patch::Merge(&patch))).await;
    patched.map(drop).map_err(|error| explain(&config.name, error))
}

/// Refuses to write a template whose pods would wait for a ConfigMap of the author's own, or would not start with what is in it.
pub(super) async fn check_reference(client: &Client, namespace: &str, spec: &ResolvedSpec) -> Result<(), WriteError> {
    let Some(ConfigMapKey { name, key }) = spec.config_reference() else { return Ok(()) };
    let refused = |problem: String| Err(WriteError::Refused(spec.refuse_config(&problem)));
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    match bounded(api.get(name)).await {
        Ok(found) => match found.data.as_ref().and_then(|data| data.get(key)) {
            Some(text) => spec.judge_config(text).map_err(WriteError::Refused),
            None => refused(format!("ConfigMap {name} has no key {key}: correct the key, or add it")),
        },
        Err(error) if error.is_not_found() => refused(format!("there is no ConfigMap {name}: create it, or correct the name")),
        Err(error) => Err(WriteError::Failed(format!("ConfigMap {name}: {error}"))),
    }
}

fn explain(name: &str, error: RequestError) -> WriteError {
    match error {
        RequestError::Timeout => WriteError::Timeout(TIMEOUT.as_secs()),
        RequestError::Kube(kube::Error::Api(status)) if status.code == 403 => {
            let message: String = status.message.chars().take(300).collect();
            let message = format!("the API server forbids to write ConfigMap {name}: {message}");
            WriteError::Refused(Refusal::new(Reason::Forbidden, message))
        }
        RequestError::Kube(kube::Error::Api(status)) => {
            WriteError::Failed(format!("ConfigMap {name}: {} {}", status.code, status.reason))
        }
        RequestError::Kube(other) => WriteError::Failed(other.to_string()),
    }
}
