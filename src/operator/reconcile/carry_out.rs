//! Carries out a write: first what has to be there before the patch is sent, then the patch.

use super::WorkloadReconciler;
use crate::{
    cluster::patch::{Mode, apply},
    decide::{
        Observation,
        decision::{Prerequisite, Write},
        log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
        question::WriteError,
    },
    operator::{configs, rollouts::entry, store::LogSidecars},
    workload::snapshot::Workload,
};

impl WorkloadReconciler {
    /// Writes; returns the workload as the API server has it now.
    pub(super) async fn carry_out(
        &self,
        observation: &Observation<'_>,
        log_sidecars: &LogSidecars,
        write: &Write,
    ) -> Result<Workload, WriteError> {
        let result = self.write(observation, log_sidecars, write).await;
        self.metrics.wrote(match &result {
            Ok(_) => "written",
            Err(WriteError::Conflict) => "conflict",
            Err(WriteError::Gone) => "gone",
            Err(WriteError::Refused(_)) => "refused",
            Err(WriteError::Timeout(_) | WriteError::Failed(_)) => "failed",
        });
        result
    }

    async fn write(
        &self,
        observation: &Observation<'_>,
        log_sidecars: &LogSidecars,
        write: &Write,
    ) -> Result<Workload, WriteError> {
        let find = |key: &LogSidecarKey| {
            let found = log_sidecars.iter().find(|sidecar| sidecar.key == *key);
            found.ok_or_else(|| WriteError::Failed(format!("{key} is gone")))
        };
        for prerequisite in &write.prerequisites {
            match prerequisite {
                Prerequisite::Revision { log_sidecar, is_required } => {
                    self.keep_revision(find(log_sidecar)?, *is_required).await?;
                }
                Prerequisite::Config(key, config) => self.configs.ensure(find(key)?, config).await?,
                Prerequisite::Reference(key, spec) => configs::check_reference(&self.client, &key.namespace, spec).await?,
            }
        }
        apply(&self.client, observation.workload, (&write.plan, write.patch.clone()), Mode::Write).await
    }

    async fn keep_revision(&self, sidecar: &ValidatedLogSidecar, is_required: bool) -> Result<(), WriteError> {
        // What workloads have, and what a failed rollout would give back to them, is never deleted.
        let named = || {
            let workloads = self.store.workloads_in(&sidecar.key.namespace);
            let entries = workloads.iter().filter_map(|workload| entry(workload, sidecar).cloned());
            entries.flat_map(|entry| [entry.revision, entry.previous]).flatten().map(String::from).collect()
        };
        match self.revisions.keep(sidecar, named).await {
            Ok(()) => Ok(()),
            Err(error) if is_required => Err(WriteError::Failed(format!(
                "revision {} cannot be kept, so that a rollback could not give it back: {error}",
                sidecar.revision()
            ))),
            Err(error) => {
                tracing::warn!(sidecar = %sidecar.key, "this revision cannot be kept, and not be given back later: {error}");
                Ok(())
            }
        }
    }
}
