//! What each shipper can do: the table that the rules of the CRD and the refusals of rendering are made of.

use super::OutputKind;

/// One shipper of `sidecar`, as far as the schema has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShipperFeatures {
    /// Its field in `sidecar`.
    pub field: &'static str,
    /// Whether it has a config: parses lines, sends them to outputs, and takes a config of the author's own.
    pub has_config: bool,
    /// Why it needs outputs; `None` if it prints on standard output without any.
    pub needs_outputs: Option<&'static str>,
    /// The outputs that it cannot send to.
    pub lacks: &'static [OutputKind],
    /// Why, and what to write instead.
    pub lacks_because: &'static str,
}

/// Makes [`ShipperName`] from one row for each shipper.
macro_rules! shippers {
    ($($(#[$doc:meta])* $name:ident => $features:expr,)*) => {
        /// The name of a shipper.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ShipperName {
            $($(#[$doc])* $name,)*
        }

        impl ShipperName {
            /// All shippers, in the order in which messages name them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns what it can do.
            #[must_use]
            pub const fn features(self) -> ShipperFeatures {
                match self {
                    $(Self::$name => $features,)*
                }
            }
        }
    };
}

shippers! {
    /// `tail`
    Tail => ShipperFeatures {
        field: "tail",
        has_config: false,
        needs_outputs: None,
        lacks: &[],
        lacks_because: "",
    },
    /// `fluentBit`
    FluentBit => ShipperFeatures {
        field: "fluentBit",
        has_config: true,
        needs_outputs: None,
        lacks: &[],
        lacks_because: "",
    },
    /// `fluentd`
    Fluentd => ShipperFeatures {
        field: "fluentd",
        has_config: true,
        needs_outputs: None,
        lacks: &[OutputKind::Loki, OutputKind::Otlp],
        lacks_because: "the official images of Fluentd have no plugin for loki and otlp: write sidecar.fluentBit or sidecar.otelCollector, which have both",
    },
    /// `otelCollector`
    OtelCollector => ShipperFeatures {
        field: "otelCollector",
        has_config: true,
        needs_outputs: Some("the collector has no output of its own: write outputs, such as otlp"),
        lacks: &[OutputKind::Stdout, OutputKind::Http, OutputKind::Forward],
        lacks_because: "the OpenTelemetry Collector has no exporter for stdout, http and forward: write an otlp output, or sidecar.fluentBit, which has all three",
    },
}

impl ShipperName {
    /// Its field in `sidecar`.
    #[must_use]
    pub const fn field(self) -> &'static str {
        self.features().field
    }

    /// Returns whether it can send to outputs of that kind.
    #[must_use]
    pub fn supports(self, output: OutputKind) -> bool {
        !self.features().lacks.contains(&output)
    }

    /// Those with a config.
    pub(super) fn with_config() -> impl Iterator<Item = ShipperFeatures> {
        Self::ALL.iter().map(|name| name.features()).filter(|features| features.has_config)
    }
}

/// Joins words as in a sentence: `a, b and c`.
pub(super) fn join(words: &[&str], last: &str) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [rest @ .., end] => format!("{} {last} {end}", rest.join(", ")),
    }
}
