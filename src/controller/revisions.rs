//! What LogSidecars asked for before: one `ControllerRevision` for each revision that was ever written to a workload, owned by its
//! `LogSidecar`, so that a failed rollout can give back what was there.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use serde_json::json;

use super::{apply::TIMEOUT, cache::Sidecar, configs::owner};
use crate::{
    api::{LogSidecarSpec, PartialContainer, SIDECAR_LABEL},
    shipper::{Images, Shipper},
};

/// How many revisions of a `LogSidecar` are kept.
const KEPT: usize = 10;

/// Which revisions are known to be kept.
#[derive(Debug, Default)]
pub(super) struct Revisions(Mutex<HashSet<String>>);

/// With a part of the uid, as a `LogSidecar` that is made anew has another.
fn name(sidecar: &Sidecar, revision: &str) -> String {
    let uid: String = sidecar.uid.chars().take(8).collect();
    format!("{}-{uid}-{revision}", sidecar.key.name)
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no answer from the API server within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("the API server did not give it: {0}")]
    Api(kube::Error),
}

impl Revisions {
    /// Keeps what a `LogSidecar` asks for now. Without it, all that is lost is the way back from the next revision.
    /// What `named` names is never thrown away.
    pub async fn keep(&self, client: &Client, sidecar: &Sidecar, images: &Images, named: impl FnOnce() -> BTreeSet<String>) {
        let known = format!("{} {}", sidecar.uid, sidecar.revision);
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&known) {
            return;
        }
        let Ok(spec) = &sidecar.spec else { return };
        let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &sidecar.key.namespace);
        let revision = snapshot(sidecar, spec, images);
        let kept = tokio::time::timeout(TIMEOUT, api.create(&PostParams::default(), &revision)).await;
        match kept {
            Ok(Ok(_)) => {
                let thrown = prune(&api, sidecar, &named()).await;
                let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                kept.retain(|known| !thrown.iter().any(|revision| *known == format!("{} {revision}", sidecar.uid)));
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
            Ok(Err(error)) => {
                tracing::warn!(sidecar = %sidecar.key, "this revision cannot be kept, and not be given back later: {error}");
                return;
            }
            Err(_) => return,
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(known);
    }
}

/// What a revision of a `LogSidecar` asked for; nothing if nobody knows any more.
pub(super) async fn get(client: &Client, sidecar: &Sidecar, revision: &str) -> Result<Option<LogSidecarSpec>, Error> {
    // It comes from an annotation that anybody may edit.
    if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &sidecar.key.namespace);
    let kept = tokio::time::timeout(TIMEOUT, api.get_opt(&name(sidecar, revision))).await;
    let Some(kept) = kept.map_err(|_| Error::Timeout)?.map_err(Error::Api)? else { return Ok(None) };
    let is_its = kept.metadata.owner_references.iter().flatten().any(|owner| owner.uid == sidecar.uid);
    Ok(kept.data.0.get("spec").and_then(|spec| serde_json::from_value(spec.clone()).ok()).filter(|_| is_its))
}

fn snapshot(sidecar: &Sidecar, spec: &LogSidecarSpec, images: &Images) -> ControllerRevision {
    let mut spec = spec.clone();
    // The default of today may be another tomorrow.
    if let Some(shipper) = Shipper::of(&spec) {
        let (is_tail, image) = (shipper == Shipper::Tail, shipper.image(&spec, images));
        let written = spec.sidecar.get_or_insert_default();
        if is_tail {
            written.tail.get_or_insert_default();
        }
        let PartialContainer(container) = written.container.get_or_insert_with(|| PartialContainer(serde_json::Map::new()));
        container.entry("image").or_insert_with(|| image.into());
    }
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name(sidecar, &sidecar.revision)),
            labels: Some([(SIDECAR_LABEL.to_owned(), sidecar.key.name.clone())].into()),
            owner_references: Some(vec![owner(sidecar)]),
            ..ObjectMeta::default()
        },
        revision: Some(sidecar.generation),
        data: RawExtension(json!({"spec": spec})),
    }
}

/// Deletes all but the newest and those that are named; returns the revisions that are gone.
async fn prune(api: &Api<ControllerRevision>, sidecar: &Sidecar, named: &BTreeSet<String>) -> Vec<String> {
    let params = ListParams::default().labels(&format!("{SIDECAR_LABEL}={}", sidecar.key.name));
    let Ok(Ok(kept)) = tokio::time::timeout(TIMEOUT, api.list(&params)).await else { return Vec::new() };
    let mut kept = kept.items;
    kept.retain(|kept| kept.metadata.owner_references.iter().flatten().any(|owner| owner.uid == sidecar.uid));
    kept.sort_by_key(|kept| std::cmp::Reverse((kept.revision, kept.metadata.creation_timestamp.clone())));
    let mut gone = Vec::new();
    for old in kept.iter().skip(KEPT).filter_map(|old| old.metadata.name.as_deref()) {
        let revision = old.rsplit('-').next().unwrap_or_default().to_owned();
        if !named.contains(&revision) {
            drop(tokio::time::timeout(TIMEOUT, api.delete(old, &DeleteParams::default())).await);
            gone.push(revision);
        }
    }
    gone
}
