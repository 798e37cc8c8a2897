//! Options that several commands share.

use clap::Args;

use crate::{
    shipper::Images,
    workload::kind::{Custom, Kinds},
};

/// The images of shippers.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_field_names, reason = "they are named as the options are")]
pub struct ImageOptions {
    /// The image of the `tail` shipper.
    #[arg(long, env = "LOGSIDECAR_TAIL_IMAGE", default_value_t = Images::default().tail, value_name = "IMAGE")]
    tail_image: String,
    /// The image of Fluent Bit (5.1 or later).
    #[arg(long, env = "LOGSIDECAR_FLUENT_BIT_IMAGE", default_value_t = Images::default().fluent_bit, value_name = "IMAGE")]
    fluent_bit_image: String,
    /// The image of Fluentd (1.18 or later) with its core plugins.
    #[arg(long, env = "LOGSIDECAR_FLUENTD_IMAGE", default_value_t = Images::default().fluentd, value_name = "IMAGE")]
    fluentd_image: String,
    /// The image of Fluentd with one more plugin, whose name comes in place of {plugin}.
    #[arg(long, env = "LOGSIDECAR_FLUENTD_PLUGIN_IMAGE", default_value_t = Images::default().fluentd_plugin, value_name = "IMAGE")]
    fluentd_plugin_image: String,
    /// The image of the OpenTelemetry Collector, in its distribution contrib.
    #[arg(long, env = "LOGSIDECAR_OTEL_COLLECTOR_IMAGE", default_value_t = Images::default().otel_collector, value_name = "IMAGE")]
    otel_collector_image: String,
}

impl From<ImageOptions> for Images {
    fn from(options: ImageOptions) -> Self {
        let ImageOptions { tail_image, fluent_bit_image, fluentd_image, fluentd_plugin_image, otel_collector_image } = options;
        Self {
            tail: tail_image,
            fluent_bit: fluent_bit_image,
            fluentd: fluentd_image,
            fluentd_plugin: fluentd_plugin_image,
            otel_collector: otel_collector_image,
        }
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
