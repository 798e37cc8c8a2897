//! `logsidecar plan`: what the controller would change.

use std::{collections::BTreeSet, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{
    cluster::{Cluster, ClusterArguments, block_on},
    exit::Failure,
    files,
    input::{Input, Location},
    stdio::{print, warn},
};
use crate::{
    decide::log_sidecar::LogSidecarKey,
    inspect::{InspectScope, Inspection},
    report::{self, plan::PlanReport},
    validate::without_nulls,
};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "\
Exit code: 0 nothing would change, 1 something would, 2 something is blocked, or a failure.

Example:
  logsidecar plan
  logsidecar plan web-logs -n shop
  logsidecar plan -f logsidecar.yaml";

/// The arguments of `logsidecar plan`.
#[derive(Args, Debug)]
pub(super) struct PlanArguments {
    /// One `LogSidecar`. Default: all of the namespace.
    #[arg(value_name = "NAME", conflicts_with_all = ["filenames", "all_namespaces"])]
    name: Option<String>,
    /// LogSidecars that are taken as applied: a file, a directory, or - for standard input. May be given several times.
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "all_namespaces")]
    filenames: Vec<String>,
    /// The LogSidecars of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Prints the plan.
pub(super) fn run(arguments: &PlanArguments) -> Result<ExitCode, Failure> {
    let cluster = &arguments.cluster;
    let assumed = arguments.assumed()?;
    let (plan, notes) = block_on(plan(arguments, &assumed))?;
    notes.iter().for_each(|note| warn(note));
    print(&report::write(cluster.output, &plan, |plan| plan.text(cluster.paint())))?;
    let summary = plan.summary();
    match (summary.blocked, summary.changed) {
        (0, 0) => Ok(ExitCode::SUCCESS),
        (0, _) => Ok(ExitCode::from(1)),
        (1, _) => Err(Failure::Blocked("1 workload cannot be what it is to be: see Blocked in the plan".to_owned())),
        (more, _) => Err(Failure::Blocked(format!("{more} workloads cannot be what they are to be: see Blocked in the plan"))),
    }
}

/// A `LogSidecar` of a file, assumed to be applied.
struct AssumedSidecar {
    namespace: Option<String>,
    object: Value,
}

impl PlanArguments {
    /// Reads and checks the LogSidecars in the files.
    fn assumed(&self) -> Result<Vec<AssumedSidecar>, Failure> {
        if self.filenames.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = self.cluster.cluster.namespace.as_deref();
        let documents = files::read(&self.filenames)?;
        let input = Input::from_documents(documents, wanted.unwrap_or("default"), self.cluster.kinds())?;
        for (location, _) in &input.workloads {
            warn(&format!("{}: not looked at: the workloads are those of the cluster", input.title(location, "")));
        }
        let (mut assumed, mut problems) = (Vec::new(), Vec::new());
        for (location, _) in &input.sidecars {
            match assume(&input, location, wanted) {
                Ok(sidecar) => assumed.push(sidecar),
                Err(problem) => problems.push(problem),
            }
        }
        if assumed.is_empty() && problems.is_empty() {
            problems.push("no LogSidecar in these files".to_owned());
        }
        Failure::unless_empty(problems)?;
        Ok(assumed)
    }
}

fn assume(input: &Input, location: &Location, wanted: Option<&str>) -> Result<AssumedSidecar, String> {
    let object = without_nulls(input.object(location));
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
    if let (Some(namespace), Some(wanted)) = (namespace, wanted)
        && namespace != wanted
    {
        let title = input.title(location, "/metadata");
        return Err(format!("{title}: it is in another namespace than --namespace {wanted}"));
    }
    Ok(AssumedSidecar { namespace: namespace.map(str::to_owned), object: object.clone() })
}

/// Returns the plan and what could not be considered.
async fn plan(arguments: &PlanArguments, assumed: &[AssumedSidecar]) -> Result<(PlanReport, Vec<String>), Failure> {
    let Cluster { connection, images, kinds } = arguments.cluster.connect().await?;
    let here = connection.namespace.clone();
    let namespace = |sidecar: &AssumedSidecar| sidecar.namespace.clone().unwrap_or_else(|| here.clone());
    let scope = match (arguments.all_namespaces, assumed) {
        (true, _) => InspectScope::All,
        (false, []) => InspectScope::In([here.clone()].into()),
        (false, assumed) => InspectScope::In(assumed.iter().map(namespace).collect()),
    };
    let mut inspection = Inspection::read(connection, images, &kinds, &scope).await?;
    let mut about: BTreeSet<LogSidecarKey> =
        assumed.iter().filter_map(|sidecar| inspection.assume(&namespace(sidecar), &sidecar.object)).collect();
    if let Some(name) = &arguments.name {
        about.insert(inspection.find(&here, name).ok_or_else(|| Failure::NoSuch(name.clone(), here.clone()))?);
    }
    Ok(inspection.plan((!about.is_empty()).then_some(&about)).await?)
}
