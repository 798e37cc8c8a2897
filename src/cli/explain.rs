//! `logsidecar explain`: why a workload is as it is.

use std::process::ExitCode;

use clap::Args;

use super::{
    Failure,
    cluster::{Common, block_on},
    print, warn,
};
use crate::{inspect, report};

/// What `--help` says below the options.
pub(super) const HELP: &str = "\
Example:
  logsidecar explain deployment/web
  logsidecar explain sts db -n shop
  logsidecar explain pod/web-5d4f8c7b9-x2x7k";

/// The arguments of `logsidecar explain`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The workload: KIND/NAME, or KIND and NAME. Kinds are called as kubectl calls them: deployment, deploy, deployments; a kind
    /// of --workload-kind by its singular or plural.
    #[arg(value_name = "KIND/NAME", required = true, num_args = 1..=2)]
    workload: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Prints the explanation.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { workload, common } = arguments;
    let (kind, name) = match workload.as_slice() {
        [both] => {
            both.split_once('/').ok_or_else(|| Failure::Usage(format!("`{both}` is not KIND/NAME, such as deployment/web")))?
        }
        [kind, name] => (kind.as_str(), name.as_str()),
        _ => return Err(Failure::Usage("KIND/NAME is missing, such as deployment/web".to_owned())),
    };
    if name.is_empty() || name.contains('/') {
        return Err(Failure::Usage(format!("`{name}` is not the name of a workload")));
    }
    let kinds = common.kinds();
    let Some(kind) = kinds.called(kind) else {
        let known: Vec<String> = kinds.all().map(|kind| kind.name().to_lowercase()).collect();
        let known = known.join(", ");
        return Err(Failure::Usage(format!(
            "`{kind}` is no kind with a pod template: write one of {known}, or name it by --workload-kind"
        )));
    };
    let (explained, notes) = block_on(async {
        let cluster = common.connect().await?;
        Ok(inspect::explain(cluster.connection, cluster.images, &kinds, (kind, name)).await?)
    })?;
    notes.iter().for_each(|note| warn(note));
    print(&report::write(common.output, &explained, |explained| explained.text(common.paint())))?;
    Ok(ExitCode::SUCCESS)
}
