//! The specs of earlier revisions of a `LogSidecar`, each in a `ControllerRevision` that it owns: how one is named and read.

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client};

use super::request::{RequestError, bounded};
use crate::{api::LogSidecarSpec, decide::log_sidecar::ValidatedLogSidecar};

/// The name of the `ControllerRevision`, with a part of the uid: a `LogSidecar` that is deleted and created again has another.
#[must_use]
pub fn name(sidecar: &ValidatedLogSidecar, revision: &str) -> String {
    let uid: String = sidecar.uid.chars().take(8).collect();
    format!("{}-{uid}-{revision}", sidecar.key.name)
}

/// The reference by which a `LogSidecar` owns an object.
#[must_use]
pub fn owner(sidecar: &ValidatedLogSidecar) -> OwnerReference {
    OwnerReference {
        api_version: "logsidecar.dev/v1alpha1".to_owned(),
        kind: "LogSidecar".to_owned(),
        name: sidecar.key.name.to_string(),
        uid: sidecar.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Reads the spec that a `LogSidecar` had at a revision; `None` if it was not kept.
///
/// # Errors
/// What the request fails with.
pub async fn read(
    client: &Client,
    sidecar: &ValidatedLogSidecar,
    revision: &str,
) -> Result<Option<LogSidecarSpec>, RequestError> {
    // It comes from an annotation that users may edit.
    if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &sidecar.key.namespace);
    let Some(kept) = bounded(api.get_opt(&name(sidecar, revision))).await? else { return Ok(None) };
    let is_its = kept.metadata.owner_references.iter().flatten().any(|owner| owner.uid == sidecar.uid);
    Ok(kept.data.0.get("spec").and_then(|spec| serde_json::from_value(spec.clone()).ok()).filter(|_| is_its))
}
