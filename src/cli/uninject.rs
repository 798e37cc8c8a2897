//! `logsidecar uninject`: takes out of files what the ledgers name.

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
    plan::{Claim, Evidence, Intent},
    workload::ledger::{Entry, Ledger, Origin},
};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "Example:\n  kubectl get deployment web -o yaml | logsidecar uninject -f -";

/// The arguments of `logsidecar uninject`.
#[derive(Args, Debug)]
pub(super) struct UninjectArguments {
    #[command(flatten)]
    files: FileArguments,
}

/// Prints the workloads without their sidecars.
pub(super) fn run(arguments: &UninjectArguments) -> Result<ExitCode, Failure> {
    print(&uninject(Input::read(&arguments.files)?)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes out everything that the ledgers name.
pub(super) fn uninject(mut input: Input) -> Result<String, Failure> {
    let (mut problems, mut edits) = (Vec::new(), Edits::default());
    for (location, kind) in &input.workloads {
        let workload = FileWorkload::new(&input, location, *kind);
        match workload.ledger() {
            Ok(Some(ledger)) => edits.record(&input, location, uninject_workload(&workload, &ledger)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    Failure::unless_empty(problems)?;
    edits.apply(&mut input);
    let removed = unused_config_maps(&input);
    Ok(output::write(input, &edits, &NeededConfigMaps::default(), &removed))
}

fn uninject_workload(workload: &FileWorkload<'_>, ledger: &Ledger) -> Value {
    let (by_policy, entries): (Vec<&Entry>, Vec<&Entry>) =
        ledger.sidecars.iter().partition(|entry| entry.origin == Origin::Policy);
    for entry in by_policy {
        warn(&format!(
            "{}: LogSidecar {}: a policy put it in, and only the LogSidecar itself says what that is: put it in once more with `logsidecar inject`, which finds nothing to change but the annotation, and take that out",
            workload.title(""),
            entry.name
        ));
    }
    let intent = Intent::Remove(Evidence::Deleting);
    let entries = entries.into_iter();
    let claims: Vec<Claim<'_>> = entries.map(|entry| Claim { name: &entry.name, uid: None, revision: None, intent }).collect();
    let plan = workload.plan(Some(ledger), &claims);
    for key in &plan.handed_over {
        warn(&format!("{}: {key} has been changed since it was put in, or is used elsewhere, and is left", workload.title("")));
    }
    workload.with(plan)
}

/// Returns the ConfigMaps that `inject` made and no workload of these files names any more.
fn unused_config_maps(input: &Input) -> Vec<Location> {
    let workloads: Vec<String> = input.workloads.iter().map(|(location, _)| input.object(location).to_string()).collect();
    let is_unused = |location: &&Location| {
        let name = input.object(location)["metadata"]["name"].to_string();
        !workloads.iter().any(|workload| workload.contains(&name))
    };
    input.configs.iter().filter(is_unused).cloned().collect()
}
