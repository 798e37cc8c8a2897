//! `logsidecar plan`: what the controller would change.

use std::{collections::BTreeSet, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{
    Failure,
    cluster::{Common, block_on},
    files::{Input, documents},
    print, warn,
};
use crate::{
    decide::log_sidecar::LogSidecarKey,
    inspect::{InspectScope, Inspection},
    report::{self, plan::PlanReport},
    validate::without_nulls,
};

/// What `--help` says below the options.
pub(super) const HELP: &str = "\
Exit code: 0 nothing would change, 1 something would, 2 something is blocked, or a failure.

Example:
  logsidecar plan
  logsidecar plan web-logs -n shop
  logsidecar plan -f logsidecar.yaml";

/// The arguments of `logsidecar plan`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
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
    common: Common,
}

/// Prints the plan.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let common = &arguments.common;
    let applied = arguments.applied()?;
    let (plan, notes) = block_on(planned(arguments, &applied))?;
    notes.iter().for_each(|note| warn(note));
    print(&report::write(common.output, &plan, |plan| plan.text(common.paint())))?;
    let summary = plan.summary();
    match (summary.blocked, summary.changed) {
        (0, 0) => Ok(ExitCode::SUCCESS),
        (0, _) => Ok(ExitCode::from(1)),
        (1, _) => Err(Failure::Blocked("1 workload cannot be what it is to be: see Blocked in the plan".to_owned())),
        (more, _) => Err(Failure::Blocked(format!("{more} workloads cannot be what they are to be: see Blocked in the plan"))),
    }
}

/// A `LogSidecar` of a file.
struct Applied {
    namespace: Option<String>,
    object: Value,
}

impl Arguments {
    /// The LogSidecars in the files, checked.
    fn applied(&self) -> Result<Vec<Applied>, Failure> {
        if self.filenames.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = self.common.cluster.namespace.as_deref();
        let input = Input::of(documents(&self.filenames)?, wanted.unwrap_or("default"), self.common.kinds())?;
        for (place, _) in &input.workloads {
            warn(&format!("{}: not looked at: the workloads are those of the cluster", input.title(place, "")));
        }
        let (mut applied, mut problems) = (Vec::new(), Vec::new());
        for (place, _) in &input.sidecars {
            let object = without_nulls(input.object(place));
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
            match (namespace, wanted) {
                (Some(its), Some(wanted)) if its != wanted => {
                    problems.push(format!(
                        "{}: it is in another namespace than --namespace {wanted}",
                        input.title(place, "/metadata")
                    ));
                }
                _ => applied.push(Applied { namespace: namespace.map(str::to_owned), object: object.clone() }),
            }
        }
        if applied.is_empty() && problems.is_empty() {
            problems.push("no LogSidecar in these files".to_owned());
        }
        if problems.is_empty() { Ok(applied) } else { Err(Failure::Input(problems)) }
    }
}

async fn planned(arguments: &Arguments, applied: &[Applied]) -> Result<(PlanReport, Vec<String>), Failure> {
    let cluster = arguments.common.connect().await?;
    let here = cluster.connection.namespace.clone();
    let place = |applied: &Applied| applied.namespace.clone().unwrap_or_else(|| here.clone());
    let scope = match (arguments.all_namespaces, applied) {
        (true, _) => InspectScope::All,
        (false, []) => InspectScope::In([here.clone()].into()),
        (false, applied) => InspectScope::In(applied.iter().map(place).collect()),
    };
    let mut inspection = Inspection::read(cluster.connection, cluster.images, &cluster.kinds, &scope).await?;
    let mut about: BTreeSet<LogSidecarKey> =
        applied.iter().filter_map(|applied| inspection.assume(&place(applied), &applied.object)).collect();
    if let Some(name) = &arguments.name {
        about.insert(inspection.find(&here, name).ok_or_else(|| Failure::NoSuch(name.clone(), here.clone()))?);
    }
    Ok(inspection.plan((!about.is_empty()).then_some(&about)).await?)
}
