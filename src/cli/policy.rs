//! `logsidecar policy`: a policy for each `LogSidecar`, for the version of the API that the cluster serves.

mod served_version;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use self::served_version::served_version;
use super::{
    exit::Failure,
    files::FileArguments,
    input::{Input, Location},
    stdio::{print, warn},
};
use crate::{
    manifest,
    options::ImageOptions,
    plan::ResolvedSpec,
    policy::{self, Policy, PolicySource, Version},
    shipper::Images,
};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "Example:\n  logsidecar policy -f logsidecar.yaml | kubectl apply -f -";

/// The arguments of `logsidecar policy`.
#[derive(Args, Debug)]
pub(super) struct PolicyArguments {
    #[command(flatten)]
    files: FileArguments,
    #[command(flatten)]
    images: ImageOptions,
    /// The version of admissionregistration.k8s.io [default: what the cluster of the kubeconfig serves, else v1beta1].
    #[arg(long, value_enum, value_name = "VERSION")]
    api_version: Option<ApiVersion>,
    /// Do not ask any cluster.
    #[arg(long)]
    offline: bool,
}

/// A version as it is written in an argument.
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

/// Prints the policies.
pub(super) fn run(arguments: &PolicyArguments) -> Result<ExitCode, Failure> {
    let PolicyArguments { files, images, api_version, offline } = arguments;
    let input = Input::read(files)?;
    if input.sidecars.is_empty() {
        warn("no LogSidecar in these files: no policy to print");
        return Ok(ExitCode::SUCCESS);
    }
    let version = match api_version {
        Some(version) => (*version).into(),
        None if *offline => Version::V1Beta1,
        None => served_version(),
    };
    print(&policies(&input, &images.clone().into(), version)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the policies of all LogSidecars in the files. All or nothing: one for which no policy is possible, and nothing is
/// printed.
fn policies(input: &Input, images: &Images, version: Version) -> Result<String, Failure> {
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    for (location, spec) in &input.resolve(images) {
        match policy_of(input, location, spec, images, version) {
            Ok(Some(Policy { policy, binding, left: _, warnings: _ })) => {
                objects.extend(spec.config_map().map(|config| config.manifest(Some(input.namespace(input.object(location))))));
                objects.extend([policy, binding]);
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    Failure::unless_empty(problems)?;
    Ok(objects.iter().map(manifest::write).collect::<Vec<_>>().join("---\n"))
}

/// Returns the policy of a `LogSidecar`; `None` if it is suspended.
fn policy_of(
    input: &Input,
    location: &Location,
    resolved: &ResolvedSpec,
    images: &Images,
    version: Version,
) -> Result<Option<Policy>, String> {
    let title = input.title(location, "");
    let spec = resolved.spec();
    if spec.suspend {
        warn(&format!("{title}: spec.suspend is true: it puts nothing in, so there is no policy for it"));
        return Ok(None);
    }
    let target = &spec.target;
    let Some(kind) = input.kinds.all().find(|kind| kind.is_meant_by(target.api_group.as_deref(), &target.kind)) else {
        let at = input.title(location, "/spec/target/kind");
        return Err(format!("{at}: spec.target.kind: say with --workload-kind where the pod template of a {} is", target.kind));
    };
    let source = PolicySource { namespace: input.namespace(input.object(location)), kind, spec: resolved, images };
    let policy = policy::policy(source, version).map_err(|error| format!("{}: {error}", input.title(location, "/spec")))?;
    policy.warnings.iter().for_each(|warning| warn(&format!("{title}: {warning}")));
    warn(&format!("{title}: {} {}", policy::rest(kind), policy.left.join("; or ")));
    Ok(Some(policy))
}
