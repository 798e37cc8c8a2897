//! `logsidecar status`: the state of every target.

use std::process::ExitCode;

use clap::Args;

use super::{
    cluster::{Cluster, ClusterArguments, block_on},
    exit::Failure,
    stdio::{print, warn},
};
use crate::{
    inspect::{InspectScope, Inspection},
    report,
};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "\
Example:
  logsidecar status
  logsidecar status web-logs -n shop
  logsidecar status -A";

/// The arguments of `logsidecar status`.
#[derive(Args, Debug)]
pub(super) struct StatusArguments {
    /// One `LogSidecar`. Default: all of the namespace.
    #[arg(value_name = "NAME", conflicts_with = "all_namespaces")]
    name: Option<String>,
    /// The LogSidecars of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Prints the status.
pub(super) fn run(arguments: &StatusArguments) -> Result<ExitCode, Failure> {
    let StatusArguments { name, all_namespaces, cluster } = arguments;
    let status = block_on(async {
        let Cluster { connection, images, kinds } = cluster.connect().await?;
        let here = connection.namespace.clone();
        let scope = if *all_namespaces { InspectScope::All } else { InspectScope::In([here.clone()].into()) };
        let inspection = Inspection::read(connection, images, &kinds, &scope).await?;
        let about = match name {
            Some(name) => Some(inspection.find(&here, name).ok_or_else(|| Failure::NoSuch(name.clone(), here.clone()))?),
            None => None,
        };
        let status = inspection.status(about.as_ref()).await;
        if status.sidecars.is_empty() {
            let place = if *all_namespaces { "any namespace".to_owned() } else { format!("namespace {here}") };
            warn(&format!("no LogSidecar in {place}"));
        }
        Ok(status)
    })?;
    print(&report::write(cluster.output, &status, |status| status.text(*all_namespaces)))?;
    Ok(ExitCode::SUCCESS)
}
