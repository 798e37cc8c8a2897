//! What the commands that read a cluster have in common: which cluster, and the form of the answer.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};

use super::exit::Failure;
use crate::{
    inspect::connection::{ClusterOptions, Connection},
    options::{ImageOptions, KindOptions},
    report::{OutputFormat, Paint},
    shipper::Images,
    workload::kind::Kinds,
};

/// Returns the long description of such a command for `--help`.
pub(super) fn about(what: &str) -> String {
    format!(
        "{what}\n\nReads with your own credentials, and never writes. --tail-image and --workload-kind have to be as the controller has them, or the answer is that of another controller."
    )
}

/// The options of all commands that read a cluster.
#[derive(Args, Debug)]
pub(super) struct ClusterArguments {
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// The form of the answer.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
    /// Whether the answer has colours. auto: on a terminal, unless `NO_COLOR` is set.
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    #[command(flatten)]
    images: ImageOptions,
    #[command(flatten)]
    kinds: KindOptions,
}

/// When the answer has colours.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// A cluster, and the options that must be those of its controller.
pub(super) struct Cluster {
    pub connection: Connection,
    pub images: Images,
    pub kinds: Kinds,
}

impl ClusterArguments {
    /// Returns whether the answer has colours.
    pub fn paint(&self) -> Paint {
        let coloured = match self.color {
            Colour::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            Colour::Always => true,
            Colour::Never => false,
        };
        if coloured { Paint::Coloured } else { Paint::Plain }
    }

    /// Connects to the cluster.
    pub async fn connect(&self) -> Result<Cluster, Failure> {
        let connection = Connection::new(&self.cluster).await?;
        Ok(Cluster { connection, images: self.images.clone().into(), kinds: self.kinds.clone().into() })
    }

    /// Returns the kinds of workload that the program knows.
    pub fn kinds(&self) -> Kinds {
        self.kinds.clone().into()
    }
}

/// Runs a command that waits for answers. SIGINT ends it at once: it only reads.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
    runtime.block_on(work)
}
