//! `logsidecar inject`: the planner on files.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{
    config_maps::NeededConfigMaps,
    exit::Failure,
    file_workload::FileWorkload,
    files::FileArguments,
    input::{Input, Location},
    output::{self, Edits},
    stdio::{print, warn},
};
use crate::{
    api::Reason,
    options::ImageOptions,
    plan::{
        Claim, ConfigMap, Effect, Evidence, Intent, Plan, ResolvedSpec,
        claim::{Lifecycle, LogSidecarView, claims},
    },
    shipper::Images,
};

/// What `--help` prints below the options.
pub(super) const HELP: &str =
    "Example:\n  helm template my-chart | logsidecar inject -f logsidecar.yaml -f - | kubectl apply -f -";

/// The arguments of `logsidecar inject`.
#[derive(Args, Debug)]
pub(super) struct InjectArguments {
    #[command(flatten)]
    files: FileArguments,
    #[command(flatten)]
    images: ImageOptions,
}

/// Prints the workloads with their sidecars.
pub(super) fn run(arguments: &InjectArguments) -> Result<ExitCode, Failure> {
    let InjectArguments { files, images } = arguments;
    print(&inject(Input::read(files)?, &images.clone().into())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Puts every `LogSidecar` into the workloads that it matches. All or nothing: one refusal, and nothing is printed.
pub(super) fn inject(mut input: Input, images: &Images) -> Result<String, Failure> {
    let resolved = input.resolve(images);
    let mut problems = Vec::new();
    let (mut edits, mut config_maps) = (Edits::default(), NeededConfigMaps::default());
    for (location, kind) in &input.workloads {
        match inject_workload(&input, &FileWorkload::new(&input, location, *kind), &resolved) {
            Ok((object, needed)) => {
                config_maps.add(location, &object, &needed);
                edits.record(&input, location, object);
            }
            Err(found) => problems.extend(found),
        }
    }
    Failure::unless_empty(problems)?;
    warn_of_unmatched(&input, &resolved);
    drop(resolved);
    let sidecars = input.sidecars.iter().map(|(location, _)| location.clone());
    let removed: Vec<Location> = sidecars.chain(config_maps.outdated(&input)).collect();
    edits.apply(&mut input);
    config_maps.remove_present(&input);
    Ok(output::write(input, &edits, &config_maps, &removed))
}

fn warn_of_unmatched(input: &Input, resolved: &[(&Location, ResolvedSpec)]) {
    if input.sidecars.is_empty() {
        warn("no LogSidecar in these files: nothing to inject");
    }
    let workloads: Vec<_> = input.workloads.iter().map(|(location, kind)| FileWorkload::new(input, location, *kind)).collect();
    for (location, spec) in resolved {
        let is_near = |workload: &&FileWorkload<'_>| is_near(input, location, workload.object);
        if !workloads.iter().filter(is_near).any(|workload| spec.matches(workload.labels())) {
            warn(&format!("{} matches no workload in these files", input.title(location, "")));
        }
    }
}

/// Whether a `LogSidecar` is in the namespace of a workload.
fn is_near(input: &Input, sidecar: &Location, workload: &Value) -> bool {
    input.namespace(input.object(sidecar)) == input.namespace(workload)
}

/// Returns the injected workload and the ConfigMaps that it needs, or every refusal.
fn inject_workload(
    input: &Input,
    workload: &FileWorkload<'_>,
    resolved: &[(&Location, ResolvedSpec)],
) -> Result<(Value, Vec<ConfigMap>), Vec<String>> {
    let ledger = workload.ledger().map_err(|problem| vec![problem])?;
    let near = resolved.iter().filter(|(location, _)| is_near(input, location, workload.object));
    let views: Vec<LogSidecarView<'_>> = near.map(|(_, spec)| view(spec)).collect();
    let mut claims = claims(workload.labels(), &views, ledger.as_ref());
    for claim in &mut claims {
        // A LogSidecar that is not in these files may well be in others.
        if matches!(claim.intent, Intent::Remove(Evidence::Missing)) {
            claim.intent = Intent::Keep(Reason::Pending);
        }
    }
    let plan = workload.plan(ledger.as_ref(), &claims);
    let needed = needed_config_maps(workload, &claims, &plan)?;
    Ok((workload.with(plan), needed))
}

fn view(spec: &ResolvedSpec) -> LogSidecarView<'_> {
    LogSidecarView {
        name: spec.name(),
        uid: None,
        created: None,
        revision: None,
        spec: Some(spec),
        deletion: spec.spec().deletion_policy,
        lifecycle: Lifecycle::Live,
    }
}

/// Returns the ConfigMaps of the claims that a plan carries out, and prints its warnings; or every refusal.
fn needed_config_maps(workload: &FileWorkload<'_>, claims: &[Claim<'_>], plan: &Plan) -> Result<Vec<ConfigMap>, Vec<String>> {
    let (mut refusals, mut needed) = (Vec::new(), Vec::new());
    for (result, claim) in plan.results.iter().zip(claims) {
        let title = || format!("{}: LogSidecar {}", workload.title(workload.kind.template()), result.name);
        match &result.result {
            Ok(Effect::Applied(warnings)) => {
                if let Intent::Apply(spec) = claim.intent {
                    needed.extend(spec.config_map().cloned());
                }
                warnings.iter().for_each(|warning| warn(&format!("{}: {warning}", title())));
            }
            Ok(Effect::Kept(_) | Effect::Removed | Effect::Orphaned) => {}
            Err(refusal) => refusals.push(format!("{}: {}: {refusal}", title(), refusal.reason)),
        }
    }
    if refusals.is_empty() { Ok(needed) } else { Err(refusals) }
}
