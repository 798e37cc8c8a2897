//! `logsidecar status`: how things stand.

use std::process::ExitCode;

use clap::Args;

use super::{
    Failure,
    cluster::{Common, block_on},
    print, warn,
};
use crate::{
    inspect::{InspectScope, Inspection},
    report,
};

/// What `--help` says below the options.
pub(super) const HELP: &str = "\
Example:
  logsidecar status
  logsidecar status web-logs -n shop
  logsidecar status -A";

/// The arguments of `logsidecar status`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// One `LogSidecar`. Default: all of the namespace.
    #[arg(value_name = "NAME", conflicts_with = "all_namespaces")]
    name: Option<String>,
    /// The LogSidecars of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    common: Common,
}

/// Prints the status.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { name, all_namespaces, common } = arguments;
    let status = block_on(async {
        let cluster = common.connect().await?;
        let here = cluster.connection.namespace.clone();
        let scope = if *all_namespaces { InspectScope::All } else { InspectScope::In([here.clone()].into()) };
        let inspection = Inspection::read(cluster.connection, cluster.images, &cluster.kinds, &scope).await?;
        let about = match name {
            Some(name) => Some(inspection.find(&here, name).ok_or_else(|| Failure::NoSuch(name.clone(), here.clone()))?),
            None => None,
        };
        let status = inspection.status(about.as_ref()).await;
        if status.sidecars.is_empty() {
            warn(&if *all_namespaces {
                "no LogSidecar in any namespace".to_owned()
            } else {
                format!("no LogSidecar in namespace {here}")
            });
        }
        Ok(status)
    })?;
    print(&report::write(common.output, &status, |status| status.text(*all_namespaces)))?;
    Ok(ExitCode::SUCCESS)
}
