//! Removes the ConfigMaps that nothing refers to any more, and creates those again that were deleted while workloads refer to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PartialObjectMeta, Preconditions},
};
use tokio_util::task::TaskTracker;

use super::{Configs, references::referred_to};
use crate::{
    api::SIDECAR_LABEL,
    cluster::request::{RequestError, TIMEOUT, bounded, list_metadata},
    decide::log_sidecar::ValidatedLogSidecar,
    operator::{scope::Scope, store::Store},
    plan,
};

/// Longer than a patch takes that was sent right after its ConfigMap had been created, or found.
const IN_FLIGHT: Duration = Duration::from_secs(TIMEOUT.as_secs() + 15);

/// Removes ConfigMaps that nothing refers to.
#[derive(Clone)]
pub(in crate::operator) struct Sweeper {
    pub client: Client,
    pub scope: Arc<Scope>,
    pub store: Arc<Store>,
    pub configs: Arc<Configs>,
    /// What is written is tracked here: a shutdown waits for it. Nothing is begun once it is closed.
    pub tracker: TaskTracker,
}

impl Sweeper {
    /// Sweeps every so often, for ever.
    pub async fn run(&self, pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = self.sweep().await {
                tracing::warn!("cannot look for old ConfigMaps: {error}");
            }
        }
    }

    async fn sweep(&self) -> Result<(), RequestError> {
        let api: Api<ConfigMap> = match &self.scope.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let all = list_metadata(&api, ListParams::default().labels(SIDECAR_LABEL)).await?;
        let log_sidecars = self.store.all_log_sidecars();
        self.mend(&log_sidecars, &all).await;
        let mut candidates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for config in all.iter().filter(|config| !is_current(&log_sidecars, config)) {
            candidates.entry(config.namespace().unwrap_or_default()).or_default().insert(config.name_any());
        }
        if candidates.is_empty() {
            return Ok(());
        }
        // From here on a worker that needs one writes to it, and what is written to is not deleted below.
        self.configs.known.retain(|_| false);
        tokio::time::sleep(IN_FLIGHT).await;
        for (namespace, names) in candidates {
            let needed = referred_to(&self.client, &self.scope.kinds, &namespace, &names).await?;
            for name in names.difference(&needed) {
                if self.tracker.is_closed() {
                    return Ok(());
                }
                let listed =
                    all.iter().find(|config| config.name_any() == *name && config.namespace().as_ref() == Some(&namespace));
                self.tracker.track_future(self.remove(&namespace, name, listed)).await?;
            }
        }
        Ok(())
    }

    /// Deletes the version of a ConfigMap that was listed, if it is one of ours: its name is that of its content.
    async fn remove(
        &self,
        namespace: &str,
        name: &str,
        listed: Option<&PartialObjectMeta<ConfigMap>>,
    ) -> Result<(), RequestError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let Some(config) = bounded(api.get_opt(name)).await? else { return Ok(()) };
        let version = listed.and_then(ResourceExt::resource_version);
        if !is_ours(&config) || config.resource_version() != version {
            return Ok(());
        }
        let preconditions = Preconditions { uid: config.uid(), resource_version: version };
        match bounded(api.delete(name, &DeleteParams::default().preconditions(preconditions))).await {
            Ok(_) => {
                tracing::info!(%namespace, configmap = name, "nothing refers to this config any more: removed");
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates those again that were deleted while workloads refer to them.
    async fn mend(&self, log_sidecars: &[Arc<ValidatedLogSidecar>], all: &[PartialObjectMeta<ConfigMap>]) {
        for sidecar in log_sidecars {
            let Some(config) = sidecar.spec.as_ref().ok().and_then(|spec| spec.config_map()) else { continue };
            let namespace = &sidecar.key.namespace;
            let is_it = |there: &PartialObjectMeta<ConfigMap>| {
                there.name_any() == config.name && there.namespace().as_ref() == Some(namespace)
            };
            let is_used = || {
                let workloads = self.store.workloads_in(namespace);
                workloads.iter().any(|workload| workload.ledger.as_ref().is_some_and(|ledger| ledger.mentions(&sidecar.uid)))
            };
            if all.iter().any(is_it) || self.tracker.is_closed() || !is_used() {
                continue;
            }
            self.configs.known.retain(|(at, name, _)| (at, name) != (namespace, &config.name));
            if let Err(error) = self.tracker.track_future(self.configs.ensure(sidecar, config)).await {
                tracing::warn!(sidecar = %sidecar.key, configmap = config.name, "the config is gone and cannot be written: {error}");
            }
        }
    }
}

/// Whether a `LogSidecar` asks for a ConfigMap today. Of one that cannot be read that is not known.
fn is_current(log_sidecars: &[Arc<ValidatedLogSidecar>], config: &PartialObjectMeta<ConfigMap>) -> bool {
    let (namespace, name) = (config.namespace().unwrap_or_default(), config.name_any());
    let asks = |sidecar: &ValidatedLogSidecar| match &sidecar.spec {
        Ok(spec) => spec.config_map().is_some_and(|wanted| wanted.name == name),
        Err(_) => name.starts_with(&format!("{}-", sidecar.key.name)),
    };
    log_sidecars.iter().any(|sidecar| sidecar.key.namespace == namespace && asks(sidecar))
}

fn is_ours(config: &ConfigMap) -> bool {
    serde_json::to_value(config).is_ok_and(|mut object| {
        object["kind"] = "ConfigMap".into();
        plan::ConfigMap::is_ours(&object)
    })
}
