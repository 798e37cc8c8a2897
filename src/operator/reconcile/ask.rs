//! Answers the questions of a decision. Decides nothing: what cannot be answered is answered with what proves nothing.

use std::sync::Arc;

use kube::{
    Api,
    api::{PartialObjectMeta, Patch, PatchParams},
};
use serde_json::json;

use super::WorkloadReconciler;
use crate::{
    api::{LogSidecar, MANAGER, Stage},
    cluster::{
        kept,
        patch::{Mode, apply},
        request::{RequestError, bounded},
    },
    decide::{
        Observation,
        log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
        question::{Answer, DryRun, KeptSpec, Question},
    },
    operator::store::LogSidecars,
    plan::{Plan, ResolvedSpec},
};

impl WorkloadReconciler {
    /// Answers a question about an observation.
    pub(super) async fn answer(
        &self,
        observation: &Observation<'_>,
        log_sidecars: &LogSidecars,
        question: &Question,
    ) -> Answer {
        let find = |key: &LogSidecarKey| log_sidecars.iter().find(|sidecar| sidecar.key == *key);
        match question {
            Question::IsCurrent(key) => Answer::Confirmed(self.is_current(find(key), key).await),
            Question::IsGone(key, uid) => Answer::Confirmed(self.is_gone(key, uid.as_deref()).await),
            Question::RecordHalt(key) => Answer::Confirmed(match find(key) {
                Some(sidecar) => self.record_halt(sidecar).await,
                None => false,
            }),
            Question::KeptSpec(key, revision) => Answer::KeptSpec(match find(key) {
                Some(sidecar) => self.kept_spec(sidecar, revision).await,
                None => KeptSpec::Unavailable,
            }),
            Question::Constraints => {
                let namespace = &observation.workload.key.namespace;
                Answer::Constraints(self.namespaces.of(&self.client, namespace).await.ok())
            }
            Question::DryRun(plan, _) => Answer::DryRun(self.dry_run(observation, plan).await),
            Question::Turn(requests) => {
                Answer::Turn(self.rollouts.request_turn(&self.store, observation.workload, log_sidecars, requests))
            }
        }
    }

    /// Whether the API server has just the version that is stored.
    async fn is_current(&self, stored: Option<&Arc<ValidatedLogSidecar>>, key: &LogSidecarKey) -> bool {
        let Some(stored) = stored else { return false };
        let live = self.read(key).await;
        live.is_ok_and(|live| live.metadata.resource_version.as_deref() == Some(&stored.version))
    }

    /// Whether the API server has no `LogSidecar` of that name and uid.
    async fn is_gone(&self, key: &LogSidecarKey, uid: Option<&str>) -> bool {
        match self.read(key).await {
            Ok(live) => uid.is_some() && live.metadata.uid.as_deref() != uid,
            // A 404 that does not name the kind says that the CRD is not served, and nothing about the object.
            Err(RequestError::Kube(kube::Error::Api(status))) => {
                status.code == 404 && status.details.as_ref().is_some_and(|details| details.kind == "logsidecars")
            }
            Err(_) => false,
        }
    }

    async fn read(&self, key: &LogSidecarKey) -> Result<PartialObjectMeta<LogSidecar>, RequestError> {
        let api: Api<LogSidecar> = Api::namespaced(self.client.clone(), &key.namespace);
        bounded(api.get_metadata(&key.name)).await
    }

    /// Records that a rollout was halted, before anything is done about it: a controller that starts later must not try the next
    /// workload.
    async fn record_halt(&self, sidecar: &ValidatedLogSidecar) -> bool {
        let status = self.rollouts.status(sidecar);
        if status.stage != Stage::Halted {
            return true;
        }
        let api: Api<LogSidecar> = Api::namespaced(self.client.clone(), &sidecar.key.namespace);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"uid": sidecar.uid}, "status": {"rollout": status}}));
        match bounded(api.patch_status(&sidecar.key.name, &params, &patch)).await {
            Ok(_) => {
                self.rollouts.scheduler().recorded(&sidecar.key, &status.revision);
                true
            }
            Err(error) => {
                tracing::warn!(sidecar = %sidecar.key, "cannot record that the rollout was halted: {error}");
                false
            }
        }
    }

    async fn kept_spec(&self, sidecar: &ValidatedLogSidecar, revision: &str) -> KeptSpec {
        match kept::read(&self.client, sidecar, revision).await {
            Ok(Some(spec)) => KeptSpec::Found(Arc::new(ResolvedSpec::new(&sidecar.key.name, spec, &self.scope.images))),
            Ok(None) => KeptSpec::Unknown,
            Err(error) => {
                tracing::warn!(sidecar = %sidecar.key, "cannot read revision {revision}: {error}");
                KeptSpec::Unavailable
            }
        }
    }

    async fn dry_run(&self, observation: &Observation<'_>, plan: &Plan) -> DryRun {
        match apply(&self.client, observation.workload, (plan, observation.patch(plan)), Mode::DryRun).await {
            Ok(answer) if answer.template() == observation.template => DryRun::Unchanged,
            Ok(_) => DryRun::Changed,
            Err(error) => DryRun::Failed(error),
        }
    }
}
