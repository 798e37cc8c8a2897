//! Options that several commands share.

use clap::Args;

use crate::shipper::Images;

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
