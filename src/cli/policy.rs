//! `logsidecar policy`: a policy for each `LogSidecar`, for the version of the API that the cluster serves.

use std::time::Duration;

use clap::{Args, ValueEnum};
use kube::{Client, Config};

use super::{
    Failure, Files,
    files::{Input, Place},
    warn,
};
use crate::{
    manifest,
    options::ImageOptions,
    plan::ResolvedSpec,
    policy::{self, Policy, PolicySource, Version},
    shipper::Images,
    workload::kind::Kind,
};

/// How long the cluster has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the API server calls the kind.
const RESOURCE: &str = "mutatingadmissionpolicies";

/// How to make policies.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    images: ImageOptions,
    /// The version of admissionregistration.k8s.io [default: what the cluster of the kubeconfig serves, else v1beta1].
    #[arg(long, value_enum, value_name = "VERSION")]
    api_version: Option<ApiVersion>,
    /// Do not ask any cluster.
    #[arg(long)]
    offline: bool,
}

/// A version as it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lower")]
enum ApiVersion {
    /// Kubernetes 1.36 and later
    V1,
    /// Kubernetes 1.34 and 1.35
    V1Beta1,
}

impl From<ApiVersion> for Version {
    fn from(version: ApiVersion) -> Self {
        match version {
            ApiVersion::V1 => Self::V1,
            ApiVersion::V1Beta1 => Self::V1Beta1,
        }
    }
}

/// The policies of all LogSidecars in the files. All or nothing: one that there can be no policy for, and nothing is printed.
pub(super) fn policy(options: Options) -> Result<String, Failure> {
    let Options { files, images, api_version, offline } = options;
    let (input, images) = (Input::read(&files)?, Images::from(images));
    if input.sidecars.is_empty() {
        warn("no LogSidecar in these files: no policy to print");
        return Ok(String::new());
    }
    let version = match api_version {
        Some(version) => version.into(),
        None if offline => Version::V1Beta1,
        None => served(),
    };
    let (mut out, mut problems) = (String::new(), Vec::new());
    for (place, spec) in &input.resolve(&images) {
        match made(&input, place, spec, &images, version) {
            Ok(Some(Policy { policy, binding, left: _, warnings: _ })) => {
                let config = spec.config_map().map(|config| config.manifest(Some(input.namespace(input.object(place)))));
                for object in config.into_iter().chain([policy, binding]) {
                    out.push_str(if out.is_empty() { "" } else { "---\n" });
                    out.push_str(&manifest::write(&object));
                }
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(out) } else { Err(Failure::Input(problems)) }
}

fn made(
    input: &Input,
    place: &Place,
    resolved: &ResolvedSpec,
    images: &Images,
    version: Version,
) -> Result<Option<Policy>, String> {
    let title = input.title(place, "");
    let spec = resolved.spec();
    if spec.suspend {
        warn(&format!("{title}: spec.suspend is true: it puts nothing in, so there is no policy for it"));
        return Ok(None);
    }
    let target = &spec.target;
    let Some(kind) = input.kinds.all().find(|kind| kind.is_meant_by(target.api_group.as_deref(), &target.kind)) else {
        let at = input.title(place, "/spec/target/kind");
        return Err(format!("{at}: spec.target.kind: say with --workload-kind where the pod template of a {} is", target.kind));
    };
    let source = PolicySource { namespace: input.namespace(input.object(place)), kind, spec: resolved, images };
    let policy = policy::policy(source, version).map_err(|error| format!("{}: {error}", input.title(place, "/spec")))?;
    for warning in &policy.warnings {
        warn(&format!("{title}: {warning}"));
    }
    tell_the_rest(&title, kind, &policy.left);
    Ok(Some(policy))
}

fn tell_the_rest(title: &str, kind: Kind, left: &[String]) {
    warn(&format!("{title}: {} {}", policy::rest(kind), left.join("; or ")));
}

/// The version that the cluster serves, as far as it can be found out.
fn served() -> Version {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.ok().and_then(|runtime| runtime.block_on(async { tokio::time::timeout(PATIENCE, ask()).await.ok()? }));
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

/// What the cluster of the kubeconfig serves; the outer `None` if there is no answer.
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
