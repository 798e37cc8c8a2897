//! Options that several commands share.

use clap::Args;

use crate::{
    kind::{Custom, Kinds},
    shipper::Images,
};

/// The images of shippers.
#[derive(Args, Clone, Debug)]
pub struct ImageOptions {
    /// The image of the `tail` shipper.
    #[arg(long, env = "LOGSIDECAR_TAIL_IMAGE", default_value_t = Images::default().tail, value_name = "IMAGE")]
    tail_image: String,
}

impl From<ImageOptions> for Images {
    fn from(ImageOptions { tail_image }: ImageOptions) -> Self {
        Self { tail: tail_image }
    }
}

/// Kinds of workload that are not Kubernetes' own.
#[derive(Args, Clone, Debug, Default)]
pub struct KindOptions {
    /// A kind with a pod template that is not Kubernetes' own, and where the template is. May be given several times.
    #[arg(
        long = "workload-kind",
        env = "LOGSIDECAR_WORKLOAD_KINDS",
        value_delimiter = ',',
        value_name = "GROUP/VERSION/KIND=POINTER"
    )]
    workload_kinds: Vec<Custom>,
}

impl From<KindOptions> for Kinds {
    fn from(KindOptions { workload_kinds }: KindOptions) -> Self {
        Self::with(workload_kinds)
    }
}
