//! Keeps what LogSidecars asked for before: one `ControllerRevision` for each revision that was ever written to a workload, owned by its
//! `LogSidecar`, so that a failed rollout can give back what was there.

use std::collections::BTreeSet;

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use serde_json::json;

use super::once::Once;
use crate::{
    api::{PartialContainer, SIDECAR_LABEL},
    cluster::{
        kept::{name, owner},
        request::{RequestError, bounded, list},
    },
    decide::log_sidecar::ValidatedLogSidecar,
    plan::ResolvedSpec,
    shipper::{Images, Shipper},
};

/// How many revisions of a `LogSidecar` are kept.
const KEPT: usize = 10;

/// The revisions that are known to be kept, by uid and revision.
pub(super) struct Revisions {
    client: Client,
    images: Images,
    kept: Once<(String, String)>,
}

impl Revisions {
    pub fn new(client: Client, images: Images) -> Self {
        Self { client, images, kept: Once::default() }
    }

    /// Keeps what a `LogSidecar` asks for now. Revisions that `named` names are never deleted.
    ///
    /// # Errors
    /// What the request fails with. Nothing is kept then.
    pub async fn keep(
        &self,
        sidecar: &ValidatedLogSidecar,
        named: impl FnOnce() -> BTreeSet<String>,
    ) -> Result<(), RequestError> {
        let Ok(spec) = &sidecar.spec else { return Ok(()) };
        let key = (sidecar.uid.clone(), spec.revision().to_owned());
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &sidecar.key.namespace);
        let mut deleted = Vec::new();
        let create = async {
            match bounded(api.create(&PostParams::default(), &self.snapshot(sidecar, spec))).await {
                Ok(_) => {
                    deleted = prune(&api, sidecar, &named()).await;
                    Ok(())
                }
                // A controller before this one has kept it.
                Err(error) if error.is_conflict() => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.kept.run(&key, Box::pin(create)).await?;
        if !deleted.is_empty() {
            self.kept.retain(|(uid, revision)| *uid != sidecar.uid || !deleted.contains(revision));
        }
        Ok(())
    }

    /// Forgets the LogSidecars whose uids do not satisfy a predicate.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.kept.retain(|(owner, _)| keep(owner));
    }

    fn snapshot(&self, sidecar: &ValidatedLogSidecar, spec: &ResolvedSpec) -> ControllerRevision {
        let (revision, mut spec) = (spec.revision(), spec.spec().clone());
        // The default of today may be another tomorrow.
        if let Some(shipper) = Shipper::of(&spec) {
            let (is_tail, image) = (shipper.engine().is_none(), shipper.image(&spec, &self.images));
            let written = spec.sidecar.get_or_insert_default();
            if is_tail {
                written.tail.get_or_insert_default();
            }
            let PartialContainer(container) = written.container.get_or_insert_with(|| PartialContainer(serde_json::Map::new()));
            container.entry("image").or_insert_with(|| image.into());
        }
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(name(sidecar, revision)),
                labels: Some([(SIDECAR_LABEL.to_owned(), sidecar.key.name.to_string())].into()),
                owner_references: Some(vec![owner(sidecar)]),
                ..ObjectMeta::default()
            },
            revision: Some(sidecar.generation),
            data: RawExtension(json!({"spec": spec})),
        }
    }
}

/// Deletes all but the newest and those that are named; returns the revisions that are gone.
async fn prune(api: &Api<ControllerRevision>, sidecar: &ValidatedLogSidecar, named: &BTreeSet<String>) -> Vec<String> {
    let params = ListParams::default().labels(&format!("{SIDECAR_LABEL}={}", sidecar.key.name));
    let mut kept = match list(api, params).await {
        Ok(kept) => kept,
        Err(error) => {
            tracing::debug!(sidecar = %sidecar.key, "old revisions are not deleted: {error}");
            return Vec::new();
        }
    };
    kept.retain(|kept| kept.metadata.owner_references.iter().flatten().any(|owner| owner.uid == sidecar.uid));
    kept.sort_by_key(|kept| std::cmp::Reverse((kept.revision, kept.metadata.creation_timestamp.clone())));
    let mut deleted = Vec::new();
    for old in kept.iter().skip(KEPT).filter_map(|old| old.metadata.name.as_deref()) {
        let revision = old.rsplit('-').next().unwrap_or_default().to_owned();
        if named.contains(&revision) {
            continue;
        }
        match bounded(api.delete(old, &DeleteParams::default())).await {
            Ok(_) => deleted.push(revision),
            Err(error) if error.is_not_found() => deleted.push(revision),
            Err(error) => tracing::debug!(sidecar = %sidecar.key, "revision {revision} is not deleted: {error}"),
        }
    }
    deleted
}
