//! The version of `MutatingAdmissionPolicy` that the cluster of the kubeconfig serves.

use std::time::Duration;

use kube::{Client, Config};

use crate::{cli::stdio::warn, policy::Version};

/// How long the cluster has to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The name of the resource in the API server.
const RESOURCE: &str = "mutatingadmissionpolicies";

/// Returns the version that the cluster serves. Warns if no cluster answers, or if it serves none.
pub(super) fn served_version() -> Version {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.ok().and_then(|runtime| runtime.block_on(async { tokio::time::timeout(TIMEOUT, ask()).await.ok()? }));
    match answer {
        Some(Some(version)) => version,
        Some(None) => {
            warn(
                "this API server has no MutatingAdmissionPolicy: Kubernetes 1.36 has it; 1.34 and 1.35 need --feature-gates=MutatingAdmissionPolicy=true and --runtime-config=admissionregistration.k8s.io/v1beta1=true. Printed for v1",
            );
            Version::V1
        }
        None => {
            warn(
                "no cluster answers: printed for v1beta1 (Kubernetes 1.34 and 1.35); write --api-version=v1 for 1.36 and later",
            );
            Version::V1Beta1
        }
    }
}

/// Asks the cluster of the kubeconfig; the outer `None` if there is no answer.
async fn ask() -> Option<Option<Version>> {
    let client = Client::try_from(Config::infer().await.ok()?).ok()?;
    let group =
        client.list_api_groups().await.ok()?.groups.into_iter().find(|group| group.name == "admissionregistration.k8s.io");
    let served: Vec<String> = group?.versions.into_iter().map(|version| version.group_version).collect();
    for version in [Version::V1, Version::V1Beta1] {
        if served.iter().any(|served| served == version.api_version()) {
            let resources = client.list_api_group_resources(version.api_version()).await.ok()?.resources;
            if resources.iter().any(|resource| resource.name == RESOURCE) {
                return Some(Some(version));
            }
        }
    }
    Some(None)
}
