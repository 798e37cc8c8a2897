//! How a shipper proves to a destination who it is, and which servers it trusts. Secrets are only ever referenced.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

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

/// Which certificates to trust, and the client certificate.
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
    /// Accept any certificate of the server. For tests only: the connection can be intercepted.
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
