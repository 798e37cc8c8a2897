//! The settings of each destination.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Auth, Header, SecretKey, Tls};

/// A URL of an API, of which the shipper knows the rest.
const URL: &str = "self.matches('^https?://(\\\\[[0-9A-Fa-f:.]+\\\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9/._~%-]*)?$')";

/// What is said of any other.
const URL_SAYS: &str = "write a URL such as https://host:port/path, without user, query and fragment; credentials go into auth";

/// Settings of the `stdout` output: none so far.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stdout {}

/// Grafana Loki.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Loki {
    /// Where it listens, such as `http://loki.logging:3100`, without the path of the API.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(URL).message(URL_SAYS))]
    pub url: String,
    /// The tenant (`X-Scope-OrgID`).
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "tenantID")]
    #[schemars(length(min = 1, max = 150), regex(pattern = r"^[A-Za-z0-9!_.*'()|-]+$"))]
    pub tenant_id: Option<String>,
    /// Labels of the stream beside `namespace`, `pod`, `container` and `node`. Few, and with few values: each combination is a
    /// stream of its own. By the collector they are resource attributes, which Loki turns into labels only where it is configured to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-zA-Z_][a-zA-Z0-9_]{0,62}$') && !(k in ['namespace', 'pod', 'container', 'node', 'file']))")
        .message("a label is made of letters, digits and '_', and is not one of namespace, pod, container, node and file, which every line has"))]
    pub labels: BTreeMap<String, String>,
    /// Additional headers of every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
    /// How to authenticate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Which certificates to trust. Only for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// By a pattern, as the API server allows a CEL rule too little time for the values.
fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 12,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[A-Za-z0-9 _./:@+-]+$"},
    })
}

/// OTLP over HTTP.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Otlp {
    /// Where it listens, such as `http://collector.logging:4318`; `/v1/logs` is added to it, as OpenTelemetry wants.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(URL).message(URL_SAYS))]
    pub url: String,
    /// Additional headers of every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
    /// How to authenticate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Which certificates to trust. Only for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// An HTTP endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// The whole URL, such as `https://logs.example.com/ingest`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://(\\\\[[0-9A-Fa-f:.]+\\\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9/._~%-]*)?([?][A-Za-z0-9/._~%&=+-]*)?$')")
        .message("write a URL such as https://host:port/path?query, without user and fragment; credentials go into auth"))]
    pub url: String,
    /// Additional headers of every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
    /// How to authenticate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Which certificates to trust. Only for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Elasticsearch or OpenSearch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Search {
    /// Where it listens, such as `https://elasticsearch.logging:9200`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(URL).message(URL_SAYS))]
    pub url: String,
    /// The index or alias that lines are written to; a data stream, too, but not by `fluentd`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9.][a-z0-9._-]*$') && !self.matches('^[.]+$')")
        .message("an index is made of lower-case letters, digits and . _ -, and starts with a letter or digit"))]
    pub index: String,
    /// Whether each day gets an index of its own: `-` and the date (`2026.01.31`) are added to `index`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub daily: bool,
    /// How to authenticate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Which certificates to trust. Only for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Amazon S3 and what speaks like it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3 {
    /// The bucket.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    pub bucket: String,
    /// Its region.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// The folder that objects are put into. Below it there are the namespace, the date and the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*$"))]
    pub prefix: Option<String>,
    /// Another server than Amazon's, such as `http://minio.storage:9000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://(\\\\[[0-9A-Fa-f:.]+\\\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?$')")
        .message("write a URL such as https://host:port"))]
    pub endpoint: Option<String>,
    /// The key to use. Default: what the pod's service account, or the node, may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Which certificates to trust. Only for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// An access key of S3.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// Where its identifier is.
    #[serde(rename = "accessKeyID")]
    pub access_key_id: SecretKey,
    /// Where its secret is.
    pub secret_access_key: SecretKey,
}

/// Fluentd's own protocol.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// The host.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9:._-]+$"))]
    pub host: String,
    /// The port. Default: 24224.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The key that both sides know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_key: Option<SecretKey>,
    /// Use TLS, and which certificates to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Apache Kafka.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kafka {
    /// Some of the brokers, each as `host:port`.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 3, max = 260), regex(pattern = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"))
    )]
    pub brokers: Vec<String>,
    /// The topic.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub topic: String,
    /// How records are compressed. Default: `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How to authenticate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Use TLS, and which certificates to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How records of Kafka are compressed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As by `gzip`.
    Gzip,
    /// As by Snappy.
    Snappy,
    /// As by LZ4.
    Lz4,
}

impl Compression {
    /// Its name, in all shippers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }
}

/// Who we are, to Kafka.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sasl {
    /// How the password is shown.
    pub mechanism: Mechanism,
    /// The user.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("a user name cannot contain control characters"))]
    pub username: String,
    /// Where the password is.
    pub password: SecretKey,
}

/// How Kafka is shown a password.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is, for whoever listens: write `tls`, too.
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM by SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM by SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    /// Its name in SASL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// What the renderers need to know of a destination beside its own fields.
pub trait DestinationSettings {
    /// Credentials over HTTP.
    fn auth(&self) -> Option<&Auth> {
        None
    }

    /// Certificate authority and client certificate for TLS.
    fn tls(&self) -> Option<&Tls> {
        None
    }

    /// Additional headers of every request.
    fn headers(&self) -> &[Header] {
        &[]
    }

    /// Secrets beside those of `auth` and `headers`, each with the end of the name of its environment variable.
    fn secrets(&self) -> Vec<(&'static str, &SecretKey)> {
        Vec::new()
    }

    /// Returns whether the connection is encrypted.
    fn is_encrypted(&self) -> bool;
}

/// A destination that is spoken to over HTTP.
macro_rules! over_http {
    ($($settings:ident $(with $headers:ident)?),*) => {$(
        impl DestinationSettings for $settings {
            fn auth(&self) -> Option<&Auth> {
                self.auth.as_ref()
            }

            fn tls(&self) -> Option<&Tls> {
                self.tls.as_ref()
            }

            $(fn headers(&self) -> &[Header] {
                &self.$headers
            })?

            fn is_encrypted(&self) -> bool {
                self.url.starts_with("https:")
            }
        }
    )*};
}

over_http!(Loki with headers, Otlp with headers, Http with headers, Search);

impl DestinationSettings for Stdout {
    fn is_encrypted(&self) -> bool {
        false
    }
}

impl DestinationSettings for S3 {
    fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretKey)> {
        let Some(Credentials { access_key_id, secret_access_key }) = &self.credentials else { return Vec::new() };
        vec![("ACCESS_KEY_ID", access_key_id), ("SECRET_ACCESS_KEY", secret_access_key)]
    }

    fn is_encrypted(&self) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("https:"))
    }
}

impl DestinationSettings for Forward {
    fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretKey)> {
        self.shared_key.iter().map(|key| ("SHARED_KEY", key)).collect()
    }

    fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }
}

impl DestinationSettings for Kafka {
    fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretKey)> {
        self.sasl.iter().map(|sasl| ("PASSWORD", &sasl.password)).collect()
    }

    fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }
}
