//! One `LogSidecar`: its finalizer, its status, its deletion. Reads outcomes and decides nothing about workloads.

mod deletion;

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{configs::Configs, now, revisions::Revisions, rollouts::Rollouts, scope::Scope, store::Store, work::Work};
use crate::{
    api::{FINALIZER, LogSidecar, MANAGER},
    cluster::request::{RequestError, bounded, objects},
    decide::{
        decision::Next,
        log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    },
    plan::claim::Lifecycle,
    status::{self, LogSidecarFacts},
};

/// After what time the status is tried again while the first pass over the cluster is not over.
const FIRST_PASS: Duration = Duration::from_millis(500);

/// What reconciling a `LogSidecar` needs.
pub(super) struct LogSidecarReconciler {
    pub client: Client,
    pub scope: Arc<Scope>,
    pub store: Arc<Store>,
    pub work: Arc<Work>,
    pub rollouts: Arc<Rollouts>,
    pub configs: Arc<Configs>,
    pub revisions: Arc<Revisions>,
}

impl LogSidecarReconciler {
    /// Brings one `LogSidecar` up to date.
    pub async fn reconcile(&self, key: &LogSidecarKey) -> Next {
        let Some(sidecar) = self.store.log_sidecar(key) else {
            self.forget_gone();
            return Next::Await;
        };
        let result = match sidecar.lifecycle {
            Lifecycle::New => self.begin(&sidecar).await,
            Lifecycle::Live => self.report(&sidecar).await,
            Lifecycle::Deleting if sidecar.finalizers.iter().any(|name| name == FINALIZER) => self.end(&sidecar).await,
            Lifecycle::Deleting => Ok(Next::Await),
        };
        result.unwrap_or_else(|error| {
            tracing::warn!(sidecar = %key, "{error}");
            Next::Backoff
        })
    }

    /// Forgets what is known of LogSidecars that are gone, as after somebody has removed the finalizer.
    fn forget_gone(&self) {
        let uids: HashSet<String> = self.store.all_log_sidecars().iter().map(|sidecar| sidecar.uid.clone()).collect();
        self.revisions.retain(|uid| uids.contains(uid));
        self.configs.retain(|uid| uids.contains(uid));
    }

    /// Adds the finalizer before the first workload is changed: from then on a deletion cannot be missed.
    async fn begin(&self, sidecar: &ValidatedLogSidecar) -> Result<Next, RequestError> {
        if sidecar.spec.is_err() || !self.is_supported(sidecar) {
            return self.report(sidecar).await;
        }
        let add = if sidecar.finalizers.is_empty() {
            json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]})
        } else {
            json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER})
        };
        let object = self.patch(sidecar, add).await?;
        if let Some(sidecar) = object.and_then(|object| ValidatedLogSidecar::observe(&object, &self.scope.images)) {
            self.work.log_sidecar_changed(&sidecar);
        }
        Ok(Next::Await)
    }

    /// Writes the status if it is not what it should be.
    async fn report(&self, sidecar: &ValidatedLogSidecar) -> Result<Next, RequestError> {
        if !self.work.has_seen_all() {
            return Ok(Next::After(FIRST_PASS));
        }
        let (rollout, wait) = (self.rollouts.status(sidecar), self.rollouts.wait_message(&sidecar.key));
        let spec = sidecar.spec.as_ref().map(|spec| spec.spec());
        let facts = LogSidecarFacts {
            turn: &wait,
            generation: sidecar.generation,
            kind: spec.map_or("", |spec| &spec.target.kind),
            is_supported: self.is_supported(sidecar),
            rollout: &rollout,
            target: spec.ok().and_then(|spec| spec.target.name.as_deref()),
            suspended: spec.is_ok_and(|spec| spec.suspend),
            deleting: sidecar.lifecycle == Lifecycle::Deleting,
            unreadable: spec.err().map(String::as_str),
        };
        let status = self.work.outcomes.sum_up(&sidecar.uid, |all| status::status(facts, all, &sidecar.status, &now()));
        if status == sidecar.status {
            return Ok(Next::Await);
        }
        // The version that was observed: a rollout may have been halted meanwhile, and that must not be overwritten.
        let mut patch = json!({"metadata": {"resourceVersion": sidecar.version}, "status": status});
        if status.rollout.halted_at.is_none() {
            // What a merge patch does not mention stays.
            patch["status"]["rollout"]["haltedAt"] = Value::Null;
        }
        let api: Api<LogSidecar> = Api::namespaced(self.client.clone(), &sidecar.key.namespace);
        // A merge patch replaces lists as a whole, so conditions and targets are exactly those of `status`.
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match bounded(api.patch_status(&sidecar.key.name, &params, &Patch::Merge(&patch))).await {
            Ok(_) => Ok(Next::Await),
            Err(error) if error.is_not_found() => Ok(Next::Await),
            Err(error) if error.is_conflict() => Ok(Next::Backoff),
            Err(error) => Err(error),
        }
    }

    /// Whether the operator acts on the kind that is targeted. Of a spec that cannot be read, it does not say otherwise.
    fn is_supported(&self, sidecar: &ValidatedLogSidecar) -> bool {
        sidecar.spec.as_ref().map_or(true, |spec| {
            let target = &spec.spec().target;
            self.scope.kinds.meant_by(target.api_group.as_deref(), &target.kind).is_some()
        })
    }

    /// Changes the metadata of the version that was observed, and no other.
    async fn patch(&self, sidecar: &ValidatedLogSidecar, operation: Value) -> Result<Option<DynamicObject>, RequestError> {
        let guard = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": sidecar.version});
        let patch: json_patch::Patch = serde_json::from_value(json!([guard, operation]))
            .map_err(|error| RequestError::Kube(kube::Error::SerdeError(error)))?;
        let api = objects(&self.client, Some(&sidecar.key.namespace), &ApiResource::erase::<LogSidecar>(&()));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match bounded(api.patch(&sidecar.key.name, &params, &Patch::Json::<()>(patch))).await {
            Ok(object) => Ok(Some(object)),
            // Changed or gone meanwhile: the watch shows it.
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
