//! What Fluent Bit, Fluentd and the collector have in common: a config in a ConfigMap, state on a volume, secrets and metadata by
//! environment variables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Error, Images, Pipeline, Shipper, Source, literal, outputs, own};
use crate::api::{Auth, Engine, LogSidecarSpec, Output, SecretKey};

/// Where the config is.
pub const CONFIG: &str = "/logsidecar/config";

/// Where positions and unsent lines are.
pub const STATE: &str = "/logsidecar/state";

/// Where the certificates of a Secret are: below it, a folder for each Secret.
pub const TLS: &str = "/logsidecar/tls";

/// What every line is labelled with, and the variable that holds it.
pub const METADATA: [(&str, &str); 3] = [("namespace", "POD_NAMESPACE"), ("pod", "POD_NAME"), ("node", "NODE_NAME")];

/// The variable with the name of the container that writes the files of an entry of `logs`.
#[must_use]
pub fn container_variable(log: &str) -> String {
    format!("LOGSIDECAR_CONTAINER_{}", upper(log))
}

/// The variable with a secret of an output: `PASSWORD`, `TOKEN`, `API_KEY`, `HEADER_0`, `ACCESS_KEY_ID`, `SECRET_ACCESS_KEY`,
/// `SHARED_KEY`.
#[must_use]
pub fn secret_variable(output: &str, what: &str) -> String {
    format!("LOGSIDECAR_{}_{what}", upper(output))
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// The file with a certificate or key.
#[must_use]
pub fn tls_file(secret: &SecretKey) -> String {
    format!("{TLS}/{}/{}", secret.name, secret.key)
}

/// The native config of a shipper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the file is called.
    pub file: &'static str,
    /// What is in it.
    pub text: String,
}

/// Everything that a shipper needs in a pod, but for the mounts of the log directories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// The container without its name, mounts, environment and security context.
    pub container: Map<String, Value>,
    /// Its environment, but for [`container_variable`].
    pub env: Vec<Value>,
    /// The config that we have made, or that the user has written into the `LogSidecar`.
    pub config: Option<Config>,
    /// The key of the user's own ConfigMap, and the file that it becomes.
    pub own: Option<(String, String, &'static str)>,
    /// The Secrets with certificates, and which of their keys.
    pub certificates: BTreeMap<String, BTreeSet<String>>,
}

/// Returns what the shipper of a spec needs in every pod.
pub fn parts(shipper: Shipper<'_>, spec: &LogSidecarSpec, images: &Images) -> Result<Parts, Error> {
    let pipeline = pipeline(shipper, spec);
    let mut container = (shipper.kind.container)(&pipeline);
    container.shift_insert(0, "image".to_owned(), shipper.image(spec, images).into());
    let (Some(engine), Some(native)) = (shipper.engine(), &shipper.kind.config) else {
        return Ok(Parts { container, ..Parts::default() });
    };
    let file = native.file;
    let config = match (&engine.config, &engine.config_map_ref) {
        (Some(text), _) => Some(Config { file, text: text.clone() }),
        (None, Some(_)) => None,
        (None, None) => Some(Config { file, text: (native.render)(&pipeline)? }),
    };
    if let Some(text) = &engine.config {
        judge(shipper, spec, text)?;
    }
    if engine.has_own_config() && engine.port.is_none() {
        // Nobody knows whether it answers there.
        container.shift_remove("livenessProbe");
        container.shift_remove("ports");
    }
    Ok(Parts {
        container,
        env: environment(&pipeline.outputs),
        config,
        own: engine.config_map_ref.as_ref().map(|own| (own.name.clone(), own.key.clone(), file)),
        certificates: certificates(&pipeline.outputs),
    })
}

fn pipeline<'a>(shipper: Shipper<'a>, spec: &'a LogSidecarSpec) -> Pipeline<'a> {
    let engine = shipper.engine();
    let size = |field: fn(&Engine) -> Option<&String>| engine.and_then(field).map(|text| bytes(text));
    let port = shipper.kind.config.as_ref().map(|config| config.port);
    Pipeline {
        sources: spec.logs.iter().map(Source::of).collect(),
        outputs: if engine.is_some_and(Engine::has_own_config) { Vec::new() } else { outputs(spec) },
        buffer: size(|engine| engine.buffer_size.as_ref()).unwrap_or(64 << 20),
        max_line: size(|engine| engine.max_line_size.as_ref()).unwrap_or(1 << 20),
        port: engine.and_then(|engine| engine.port).or(port).unwrap_or_default(),
        own_image: own_image(spec),
    }
}

/// Returns the Secrets with certificates, and which of their keys.
fn certificates(outputs: &[Output]) -> BTreeMap<String, BTreeSet<String>> {
    let mut certificates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let tls = outputs.iter().filter_map(|output| output.destination().tls());
    for secret in tls.flat_map(|tls| [&tls.ca, &tls.certificate, &tls.private_key]).flatten() {
        certificates.entry(secret.name.clone()).or_default().insert(secret.key.clone());
    }
    certificates
}

/// Refuses a config of the user's own that cannot work, as far as that can be known without the shipper.
pub fn judge(shipper: Shipper<'_>, spec: &LogSidecarSpec, text: &str) -> Result<(), Error> {
    // With a config of the user's own, outputs are none of our business.
    let ours = environment(&[]);
    let none = Map::new();
    let container = spec.own_container().map_or(&none, |user| &user.0);
    own::check(shipper, text, &own::Environment { ours: &ours, container, own_image: own_image(spec) })
}

fn own_image(spec: &LogSidecarSpec) -> bool {
    let image = spec.own_container().and_then(|container| container.0.get("image")?.as_str());
    image.is_some_and(|image| !image.is_empty())
}

fn environment(outputs: &[Output]) -> Vec<Value> {
    let metadata = [("POD_NAMESPACE", "metadata.namespace"), ("POD_NAME", "metadata.name"), ("NODE_NAME", "spec.nodeName")];
    let metadata = metadata.map(|(name, path)| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}));
    let secrets = outputs.iter().flat_map(secrets);
    let secrets = secrets.map(|(name, secret)| json!({"name": name, "valueFrom": {"secretKeyRef": secret}}));
    metadata.into_iter().chain(secrets).collect()
}

/// The secrets of an output, each with its variable.
fn secrets(output: &Output) -> Vec<(String, &SecretKey)> {
    let mut secrets = Vec::new();
    let mut add = |what: &str, secret| secrets.push((secret_variable(&output.name, what), secret));
    match output.destination().auth() {
        Some(Auth { basic: Some(basic), .. }) => add("PASSWORD", &basic.password),
        Some(Auth { bearer: Some(token), .. }) => add("TOKEN", token),
        Some(Auth { api_key: Some(key), .. }) => add("API_KEY", key),
        Some(Auth { basic: None, bearer: None, api_key: None }) | None => {}
    }
    for (index, header) in output.destination().headers().iter().enumerate() {
        if let Some(secret) = &header.secret_key_ref {
            add(&format!("HEADER_{index}"), secret);
        }
    }
    for (what, secret) in output.destination().secrets() {
        add(what, secret);
    }
    secrets
}

/// The access key of S3 under the names by which Amazon's own libraries look for one.
#[must_use]
pub fn aws_environment(outputs: &[Output]) -> Vec<Value> {
    let credentials = outputs.iter().find_map(|output| output.s3.as_ref()?.credentials.as_ref());
    let variable = |name: &str, secret: &SecretKey| json!({"name": name, "valueFrom": {"secretKeyRef": secret}});
    credentials.map_or_else(Vec::new, |credentials| {
        vec![
            variable("AWS_ACCESS_KEY_ID", &credentials.access_key_id),
            variable("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key),
        ]
    })
}

/// There is one such key in a process.
pub fn refuse_two_aws_keys(outputs: &[Output]) -> Result<(), Error> {
    let mut keys = outputs.iter().filter_map(|output| Some((output, output.s3.as_ref()?.credentials.as_ref())));
    let Some((_, first)) = keys.next() else { return Ok(()) };
    match keys.find(|(_, credentials)| *credentials != first) {
        Some((output, _)) => Err(Error::Field {
            field: format!("outputs[{}].s3.credentials", output.name),
            problem: "this shipper has one access key for all S3 outputs: write the same, or another LogSidecar".to_owned(),
        }),
        None => Ok(()),
    }
}

/// The variables with the names of the containers that write the files.
#[must_use]
pub fn writers<'a>(logs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    logs.map(|(log, container)| json!({"name": container_variable(log), "value": literal(container)})).collect()
}

/// A size as the schema lets it pass.
fn bytes(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        _ => 1 << 30,
    };
    digits.parse::<u64>().unwrap_or(1).saturating_mul(unit)
}

/// A liveness probe that asks for nothing but the shipper itself, and is patient: a restart reads no line sooner. No other probes:
/// a destination that is down must not take the application with it.
#[must_use]
pub fn liveness(path: &str, port: u16) -> Value {
    json!({
        "httpGet": {"path": path, "port": port},
        "initialDelaySeconds": 30,
        "periodSeconds": 30,
        "timeoutSeconds": 10,
        "failureThreshold": 5,
    })
}
