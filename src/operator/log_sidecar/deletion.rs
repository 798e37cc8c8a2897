//! The deletion of a `LogSidecar`: everything is removed from the workloads, that is verified, and then the finalizer goes.

use std::time::Duration;

use kube::api::{DynamicObject, ListParams};
use serde_json::json;

use super::LogSidecarReconciler;
use crate::{
    api::{DeletionPolicy, FINALIZER},
    cluster::request::{RequestError, any, objects},
    decide::{
        decision::Next,
        log_sidecar::ValidatedLogSidecar,
        observation::{adopt_admitted, recover},
    },
    plan::claim::LogSidecarView,
    workload::{
        kind::Kind,
        ledger::{Entry, Origin},
        snapshot::Workload,
    },
};

/// How long to wait until the workloads that still have something are checked again.
const STILL_THERE: Duration = Duration::from_secs(1);

impl LogSidecarReconciler {
    /// Removes everything, verifies it, and removes the finalizer.
    pub(super) async fn end(&self, sidecar: &ValidatedLogSidecar) -> Result<Next, RequestError> {
        // Whatever was planned before the deletion was seen has been written now, or never will be.
        self.work.workloads.quiesce().await;
        let workloads = self.store.workloads_in(&sidecar.key.namespace);
        let held: Vec<_> =
            workloads.iter().filter(|workload| self.holds(workload, sidecar)).map(|held| held.key.clone()).collect();
        if !held.is_empty() {
            let queued = self.rollouts.scheduler().queued(&sidecar.key);
            held.into_iter().filter(|key| !queued.contains(key)).for_each(|key| self.work.workloads.add(key));
            self.report(sidecar).await?;
            return Ok(Next::After(STILL_THERE));
        }
        if self.is_in_cluster(sidecar).await? {
            return Ok(Next::Backoff);
        }
        let Some(index) = sidecar.finalizers.iter().position(|name| name == FINALIZER) else { return Ok(Next::Await) };
        self.configs.release(sidecar).await?;
        self.patch(sidecar, json!({"op": "remove", "path": format!("/metadata/finalizers/{index}")})).await?;
        tracing::info!(sidecar = %sidecar.key, "released");
        self.work.outcomes.forget(&sidecar.uid);
        self.revisions.retain(|uid| uid != sidecar.uid);
        Ok(Next::Await)
    }

    /// Whether a workload has something that has to be removed: not what a manifest holds, not what came with a copy. As long as a
    /// ledger that names the `LogSidecar` cannot be read, that is not known.
    fn holds(&self, workload: &Workload, sidecar: &ValidatedLogSidecar) -> bool {
        let ledger = match &workload.ledger {
            Some(stored) => match stored.parse() {
                Ok(ledger) => {
                    let known = self.store.log_sidecars_in(&sidecar.key.namespace);
                    let views: Vec<LogSidecarView<'_>> = known.iter().map(|sidecar| sidecar.view()).collect();
                    let adopted = adopt_admitted(workload, &workload.template(), &ledger, &views).unwrap_or(ledger);
                    adopted.seen_from(Some(&workload.uid))
                }
                Err(_) => return stored.mentions(&sidecar.uid),
            },
            // What is left behind for good is in no ledger, and nothing has to be done about it.
            None if sidecar.deletion == DeletionPolicy::Orphan => return false,
            None => match recover(workload, &workload.template(), &[sidecar.view()]) {
                Some(ledger) => ledger,
                None => return false,
            },
        };
        let is_its = |entry: &Entry| entry.origin == Origin::Controller && entry.uid.as_deref() == Some(sidecar.uid.as_str());
        ledger.sidecars.iter().any(is_its)
    }

    /// Asks the API server, not the store.
    async fn is_in_cluster(&self, sidecar: &ValidatedLogSidecar) -> Result<bool, RequestError> {
        for kind in self.scope.kinds.in_cluster() {
            let holds =
                |item: &DynamicObject| Workload::observe(kind, item).is_some_and(|workload| self.holds(&workload, sidecar));
            let api = objects(&self.client, Some(&sidecar.key.namespace), &kind.resource());
            match any(&api, ListParams::default(), holds).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // Of a custom resource that is not served (any more) there is none.
                Err(error) if error.is_not_found() && matches!(kind, Kind::Custom(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}
