//! Where lines go: destinations, and how we prove to them who we are. Secrets are only ever referenced.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A URL of an API, of which the shipper knows the rest.
const URL: &str = "self.matches('^https?://(\\\\[[0-9A-Fa-f:.]+\\\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9/._~%-]*)?$')";

/// What is said of any other.
const URL_SAYS: &str = "write a URL such as https://host:port/path, without user, query and fragment; credentials go into auth";

/// One destination. Every line of every `logs` entry goes to all outputs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.stdout), has(self.loki), has(self.otlp), has(self.http), has(self.elasticsearch), has(self.openSearch), has(self.s3), has(self.forward), has(self.kafka)].filter(x, x).size() == 1")
    .message("write exactly one of stdout, loki, otlp, http, elasticsearch, openSearch, s3, forward and kafka"))]
pub struct Output {
    /// What this destination is called in messages, configs and names of environment variables; unique within `outputs`.
    #[schemars(length(min = 1, max = 30), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The sidecar's own standard output, one JSON object a line, for `kubectl logs` and node agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Stdout>,
    /// Grafana Loki. (Fluent Bit by the push API, the collector by OTLP.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loki: Option<Loki>,
    /// Whatever understands OTLP over HTTP: an OpenTelemetry Collector, Grafana, Honeycomb, Datadog, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
    /// An HTTP endpoint that takes JSON objects, one a line, by POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Elasticsearch 8 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<Search>,
    /// OpenSearch 2 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_search: Option<Search>,
    /// Amazon S3 and what speaks like it: gzipped objects of JSON lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
    /// Fluentd's own protocol, to another Fluentd or Fluent Bit; every chunk is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Apache Kafka; written records are acknowledged by all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
}

/// What an [`Output`] holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Destination<'a> {
    /// `stdout`
    Stdout,
    /// `loki`
    Loki(&'a Loki),
    /// `otlp`
    Otlp(&'a Otlp),
    /// `http`
    Http(&'a Http),
    /// `elasticsearch`
    Elasticsearch(&'a Search),
    /// `openSearch`
    OpenSearch(&'a Search),
    /// `s3`
    S3(&'a S3),
    /// `forward`
    Forward(&'a Forward),
    /// `kafka`
    Kafka(&'a Kafka),
}

impl Output {
    /// Its one destination. An output without any is refused by the schema, and stands for `stdout` here.
    #[must_use]
    pub fn destination(&self) -> Destination<'_> {
        let Self { name: _, stdout: _, loki, otlp, http, elasticsearch, open_search, s3, forward, kafka } = self;
        let loki = loki.as_ref().map(Destination::Loki);
        let otlp = otlp.as_ref().map(Destination::Otlp);
        let http = http.as_ref().map(Destination::Http);
        let elasticsearch = elasticsearch.as_ref().map(Destination::Elasticsearch);
        let open_search = open_search.as_ref().map(Destination::OpenSearch);
        let s3 = s3.as_ref().map(Destination::S3);
        let forward = forward.as_ref().map(Destination::Forward);
        let kafka = kafka.as_ref().map(Destination::Kafka);
        loki.or(otlp).or(http).or(elasticsearch).or(open_search).or(s3).or(forward).or(kafka).unwrap_or(Destination::Stdout)
    }
}

impl<'a> Destination<'a> {
    /// The field of [`Output`] that holds it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Loki(_) => "loki",
            Self::Otlp(_) => "otlp",
            Self::Http(_) => "http",
            Self::Elasticsearch(_) => "elasticsearch",
            Self::OpenSearch(_) => "openSearch",
            Self::S3(_) => "s3",
            Self::Forward(_) => "forward",
            Self::Kafka(_) => "kafka",
        }
    }

    /// Its `auth`.
    #[must_use]
    pub const fn auth(self) -> Option<&'a Auth> {
        match self {
            Self::Loki(Loki { auth, .. })
            | Self::Otlp(Otlp { auth, .. })
            | Self::Http(Http { auth, .. })
            | Self::Elasticsearch(Search { auth, .. })
            | Self::OpenSearch(Search { auth, .. }) => auth.as_ref(),
            Self::Stdout | Self::S3(_) | Self::Forward(_) | Self::Kafka(_) => None,
        }
    }

    /// Its `tls`.
    #[must_use]
    pub const fn tls(self) -> Option<&'a Tls> {
        match self {
            Self::Loki(Loki { tls, .. })
            | Self::Otlp(Otlp { tls, .. })
            | Self::Http(Http { tls, .. })
            | Self::Elasticsearch(Search { tls, .. })
            | Self::OpenSearch(Search { tls, .. })
            | Self::S3(S3 { tls, .. })
            | Self::Forward(Forward { tls, .. })
            | Self::Kafka(Kafka { tls, .. }) => tls.as_ref(),
            Self::Stdout => None,
        }
    }

    /// Its `headers`.
    #[must_use]
    pub fn headers(self) -> &'a [Header] {
        match self {
            Self::Loki(Loki { headers, .. }) | Self::Otlp(Otlp { headers, .. }) | Self::Http(Http { headers, .. }) => headers,
            _ => &[],
        }
    }
}

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
    /// stream of its own. By the collector they are resource attributes, which Loki turns into labels only where it is told to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-zA-Z_][a-zA-Z0-9_]{0,62}$') && !(k in ['namespace', 'pod', 'container', 'node', 'file']))")
        .message("a label is made of letters, digits and '_', and is not one of namespace, pod, container, node and file, which every line has"))]
    pub labels: BTreeMap<String, String>,
    /// Additional headers of every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
    /// Who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whom to trust. Only for `https`.
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
    /// Who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whom to trust. Only for `https`.
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
    /// Who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whom to trust. Only for `https`.
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
    /// Who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whom to trust. Only for `https`.
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
    /// Whom to trust. Only for `https`.
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
    /// Talk TLS, and whom to trust.
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
    /// Who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Talk TLS, and whom to trust.
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

/// A header of HTTP: with a value, or with one that a Secret holds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretKeyRef)").message("write exactly one of value and secretKeyRef"))]
pub struct Header {
    /// Its name.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    #[x_kube(validation = Rule::new("!(self.lowerAscii() in ['authorization', 'content-type', 'content-length', 'content-encoding', 'host', 'x-scope-orgid'])")
        .message("this header has a field of its own (auth, tenantID), or is made by the shipper"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]') && self.trim() == self").message("the value of a header cannot contain control characters, nor begin or end with a space"))]
    pub value: Option<String>,
    /// Where its value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// Who we are, over HTTP.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.basic), has(self.bearer), has(self.apiKey)].filter(x, x).size() == 1")
    .message("write exactly one of basic, bearer and apiKey"))]
pub struct Auth {
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
    /// Where a bearer token is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<SecretKey>,
    /// Where an API key of Elasticsearch is, encoded as it gives it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretKey>,
}

/// User and password.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basic {
    /// The user.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]') && !self.contains(':')").message("a user name cannot contain ':' and control characters"))]
    pub username: String,
    /// Where the password is.
    pub password: SecretKey,
}

/// Whom to trust, and how to prove who we are by a certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.certificate) == has(self.privateKey)").message("certificate and privateKey go together: write both, or none"))]
pub struct Tls {
    /// Where the certificates are (PEM) that the destination's must be signed by. Default: what the shipper's image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "ca")]
    pub ca: Option<SecretKey>,
    /// Where our certificate is (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<SecretKey>,
    /// Where its private key is (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<SecretKey>,
    /// Trust whoever answers. For tests only: anybody in between can read along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

/// One key of a Secret in the namespace of the `LogSidecar`; `v1.SecretKeySelector` without `optional`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
