//! `logsidecar explain`: why a workload is, or is not, injected.

use std::process::ExitCode;

use clap::Args;

use super::{
    cluster::{Cluster, ClusterArguments, block_on},
    exit::Failure,
    stdio::{print, warn},
};
use crate::{
    inspect, report,
    workload::{
        kind::{Kind, Kinds},
        name::{ObjectName, ObjectNameError},
    },
};

/// What `--help` prints below the options.
pub(super) const HELP: &str = "\
Example:
  logsidecar explain deployment/web
  logsidecar explain sts db -n shop
  logsidecar explain pod/web-5d4f8c7b9-x2x7k";

/// The arguments of `logsidecar explain`.
#[derive(Args, Debug)]
pub(super) struct ExplainArguments {
    /// The workload: KIND/NAME, or KIND and NAME. Kinds are called as kubectl calls them: deployment, deploy, deployments; a kind
    /// of --workload-kind by its singular or plural.
    #[arg(value_name = "KIND/NAME", required = true, num_args = 1..=2)]
    workload: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Prints the explanation.
pub(super) fn run(arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    let ExplainArguments { workload, cluster } = arguments;
    let kinds = cluster.kinds();
    let (kind, name) = parse(workload, &kinds)?;
    let (explanation, notes) = block_on(async {
        let Cluster { connection, images, kinds: _ } = cluster.connect().await?;
        Ok(inspect::explain(connection, images, &kinds, (kind, &name)).await?)
    })?;
    notes.iter().for_each(|note| warn(note));
    print(&report::write(cluster.output, &explanation, |explanation| explanation.text(cluster.paint())))?;
    Ok(ExitCode::SUCCESS)
}

/// Parses `KIND/NAME`, or `KIND` and `NAME`.
fn parse(words: &[String], kinds: &Kinds) -> Result<(Kind, ObjectName), Failure> {
    let (kind, name) = match words {
        [both] => {
            both.split_once('/').ok_or_else(|| Failure::Usage(format!("`{both}` is not KIND/NAME, such as deployment/web")))?
        }
        [kind, name] => (kind.as_str(), name.as_str()),
        _ => return Err(Failure::Usage("KIND/NAME is missing, such as deployment/web".to_owned())),
    };
    let name: ObjectName = name.parse().map_err(|error: ObjectNameError| Failure::Usage(error.to_string()))?;
    let unknown = || {
        let known: Vec<String> = kinds.all().map(|kind| kind.name().to_lowercase()).collect();
        let known = known.join(", ");
        Failure::Usage(format!("`{kind}` is no kind with a pod template: write one of {known}, or name it by --workload-kind"))
    };
    Ok((kinds.parse(kind).ok_or_else(unknown)?, name))
}
