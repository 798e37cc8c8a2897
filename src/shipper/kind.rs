//! The table of shippers: how each is set up. To add one, add its row to [`crate::api::ShipperName`] and a folder with its
//! [`ShipperKind`]; the compiler names the rest.

use serde_json::{Map, Value};

use super::{Error, Images, Pipeline, fluent_bit, fluentd, otel_collector, own::OwnConfig, tail};
use crate::api::{Engine, LogSidecarSpec, Output, ShipperName, Sidecar};

/// How a shipper is set up.
#[derive(Debug)]
pub struct ShipperKind {
    /// Its name.
    pub name: ShipperName,
    /// Returns the image that it runs by default, which may depend on the outputs.
    pub image: fn(&[Output], &Images) -> String,
    /// Returns its container without name, image, mounts and the environment that all shippers have.
    pub container: fn(&Pipeline<'_>) -> Map<String, Value>,
    /// Its config; `None` if it has none.
    pub config: Option<NativeConfig>,
}

/// How a shipper is configured.
#[derive(Debug)]
pub struct NativeConfig {
    /// The name of the config file.
    pub file: &'static str,
    /// The port that the kubelet probes, by default.
    pub port: u16,
    /// Renders a pipeline in the language of the shipper.
    pub render: fn(&Pipeline<'_>) -> Result<String, Error>,
    /// How a config of the author's own is judged.
    pub own: OwnConfig,
}

/// Returns the row of a shipper. No other code tells shippers apart by their name.
const fn kind(name: ShipperName) -> &'static ShipperKind {
    match name {
        ShipperName::Tail => &tail::KIND,
        ShipperName::FluentBit => &fluent_bit::KIND,
        ShipperName::Fluentd => &fluentd::KIND,
        ShipperName::OtelCollector => &otel_collector::KIND,
    }
}

/// The shipper that a spec asks for, with its settings.
#[derive(Clone, Copy, Debug)]
pub struct Shipper<'a> {
    /// How it is set up.
    pub kind: &'static ShipperKind,
    engine: Option<&'a Engine>,
}

impl<'a> Shipper<'a> {
    /// Returns the shipper that a spec asks for, if it is not a container of the author's own. No sidecar at all means `tail`.
    #[must_use]
    pub fn of(spec: &'a LogSidecarSpec) -> Option<Self> {
        let (name, engine) = spec.sidecar.as_ref().map_or(Some((ShipperName::Tail, None)), Sidecar::shipper)?;
        Some(Self { kind: kind(name), engine })
    }

    /// Returns the image that it runs by default.
    #[must_use]
    pub fn image(self, spec: &LogSidecarSpec, images: &Images) -> String {
        (self.kind.image)(&super::outputs(spec), images)
    }

    /// Its settings; `None` if it has no config.
    #[must_use]
    pub const fn engine(self) -> Option<&'a Engine> {
        self.engine
    }

    /// Its field in `sidecar`.
    #[must_use]
    pub const fn field(self) -> &'static str {
        self.kind.name.field()
    }
}
