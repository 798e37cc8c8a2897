//! Where lines go: the table of destinations. Each row becomes a field of [`Output`], a [`Destination`] and an [`OutputKind`].

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Auth, DestinationSettings, Forward, Header, Http, Kafka, Loki, Otlp, S3, Search, SecretKey, Stdout, Tls, join};

/// Makes everything that has one item for each destination from rows of field, name of the field and kind of settings.
macro_rules! destinations {
    ($($(#[$doc:meta])* $field:ident $name:literal => $kind:ident($settings:ident),)*) => {
        /// One destination. Every line of every `logs` entry goes to all outputs.
        #[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[x_kube(validation = Rule::new(OutputKind::rule()).message(OutputKind::message().as_str()))]
        pub struct Output {
            /// What this destination is called in messages, configs and names of environment variables; unique within `outputs`.
            #[schemars(length(min = 1, max = 30), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
            pub name: String,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$settings>,
            )*
        }

        /// The settings of the one destination of an [`Output`].
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Destination<'a> {
            $(#[doc = concat!("`", $name, "`")] $kind(&'a $settings),)*
        }

        /// The kind of a destination.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum OutputKind {
            $(#[doc = concat!("`", $name, "`")] $kind,)*
        }

        impl Output {
            /// Returns its one destination. The schema refuses an output without any; it stands for `stdout` here.
            #[must_use]
            pub fn destination(&self) -> Destination<'_> {
                $(if let Some(settings) = &self.$field {
                    return Destination::$kind(settings);
                })*
                Destination::Stdout(&Stdout {})
            }
        }

        impl<'a> Destination<'a> {
            /// Returns its kind.
            #[must_use]
            pub const fn kind(self) -> OutputKind {
                match self {
                    $(Self::$kind(_) => OutputKind::$kind,)*
                }
            }

            fn settings(self) -> &'a dyn DestinationSettings {
                match self {
                    $(Self::$kind(settings) => settings,)*
                }
            }
        }

        impl OutputKind {
            /// All kinds, in the order of the fields.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The field of [`Output`] that holds it.
            #[must_use]
            pub const fn field(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

destinations! {
    /// The sidecar's own standard output, one JSON object a line, for `kubectl logs` and node agents.
    stdout "stdout" => Stdout(Stdout),
    /// Grafana Loki. (Fluent Bit by the push API, the collector by OTLP.)
    loki "loki" => Loki(Loki),
    /// Whatever understands OTLP over HTTP: an OpenTelemetry Collector, Grafana, Honeycomb, Datadog, …
    otlp "otlp" => Otlp(Otlp),
    /// An HTTP endpoint that takes JSON objects, one a line, by POST.
    http "http" => Http(Http),
    /// Elasticsearch 8 and later.
    elasticsearch "elasticsearch" => Elasticsearch(Search),
    /// OpenSearch 2 and later.
    open_search "openSearch" => OpenSearch(Search),
    /// Amazon S3 and what speaks like it: gzipped objects of JSON lines.
    s3 "s3" => S3(S3),
    /// Fluentd's own protocol, to another Fluentd or Fluent Bit; every chunk is acknowledged.
    forward "forward" => Forward(Forward),
    /// Apache Kafka; written records are acknowledged by all replicas.
    kafka "kafka" => Kafka(Kafka),
}

impl<'a> Destination<'a> {
    /// The field of [`Output`] that holds it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        self.kind().field()
    }

    /// Its `auth`.
    #[must_use]
    pub fn auth(self) -> Option<&'a Auth> {
        self.settings().auth()
    }

    /// Its `tls`.
    #[must_use]
    pub fn tls(self) -> Option<&'a Tls> {
        self.settings().tls()
    }

    /// Its `headers`.
    #[must_use]
    pub fn headers(self) -> &'a [Header] {
        self.settings().headers()
    }

    /// Its secrets beside those of `auth` and `headers`, each with the end of the name of its environment variable.
    #[must_use]
    pub fn secrets(self) -> Vec<(&'static str, &'a SecretKey)> {
        self.settings().secrets()
    }

    /// Returns whether the connection to it is encrypted.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        self.settings().is_encrypted()
    }
}

impl OutputKind {
    /// The CEL rule that an output has one destination.
    fn rule() -> String {
        let has: Vec<String> = Self::ALL.iter().map(|kind| format!("has(self.{})", kind.field())).collect();
        format!("[{}].filter(x, x).size() == 1", has.join(", "))
    }

    fn message() -> String {
        let fields: Vec<&str> = Self::ALL.iter().map(|kind| kind.field()).collect();
        format!("write exactly one of {}", join(&fields, "and"))
    }
}
