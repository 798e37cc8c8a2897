//! A config that the user has written, as far as it can be judged without its shipper: whether it is text that the shipper can read,
//! and whether what it names is there. What is found here would otherwise be found by the first pod that does not start.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;
use serde_json::{Map, Value};

use super::{Error, NativeConfig, Shipper};
use crate::manifest;

/// What containers have anyway, or images of shippers set.
const THERE: [&str; 3] = ["HOME", "HOSTNAME", "PATH"];

/// What the shipper finds in its environment.
pub(super) struct Environment<'a> {
    /// What we set.
    pub ours: &'a [Value],
    /// The container as the user writes it.
    pub container: &'a Map<String, Value>,
    /// The image is the user's own, and sets what it likes.
    pub own_image: bool,
}

/// How a config of the author's own is judged.
#[derive(Debug)]
pub struct OwnConfig {
    /// Whether it is one document of YAML, and not text of lines with `#` before comments.
    pub is_yaml: bool,
    /// Finds the variables of the environment in it, each as the group `name`.
    pub variables: &'static LazyLock<Regex>,
    /// Checks what the document says.
    pub check: fn(&Value) -> Result<(), String>,
}

impl OwnConfig {
    /// Reads a config: the lines to look for variables in, and the document.
    fn read<'a>(&self, text: &'a str) -> Result<(Vec<&'a str>, Value), String> {
        if !self.is_yaml {
            return Ok((text.lines().filter(|line| !line.trim_start().starts_with('#')).collect(), Value::Null));
        }
        let documents = manifest::read("config", text.as_bytes());
        let mut documents = documents.map_err(|error| format!("this is not the shipper's YAML: {error}"))?;
        let config = documents.pop().map(|document| document.value).unwrap_or_default();
        if !documents.is_empty() || !config.is_object() {
            return Err("write one document of YAML, with the sections of the shipper".to_owned());
        }
        (self.check)(&config)?;
        Ok((Vec::new(), config))
    }
}

/// Refuses a config that cannot work.
pub(super) fn check(shipper: Shipper<'_>, text: &str, environment: &Environment<'_>) -> Result<(), Error> {
    let Some(NativeConfig { own: judge, .. }) = &shipper.kind.config else { return Ok(()) };
    let refused = |problem: String| Error::Field { field: format!("sidecar.{}.config", shipper.field()), problem };
    let (mut words, config) = judge.read(text).map_err(refused)?;
    // Fluent Bit has a section for variables of its own.
    let own: BTreeSet<&str> = config["env"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    scalars(&config, &mut words);
    let found = words.iter().flat_map(|word| judge.variables.captures_iter(word));
    for variable in found.filter_map(|found| found.name("name")).map(|name| name.as_str()) {
        if own.contains(variable) {
            continue;
        }
        if let Some(problem) = environment.problem(variable) {
            return Err(refused(problem));
        }
    }
    Ok(())
}

/// All keys and values.
fn scalars<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            found.push(key);
            scalars(value, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Compiles a constant expression.
pub(super) fn compiled(expression: &str) -> Regex {
    // A test reads each of them.
    Regex::new(expression).unwrap_or_else(|_| unreachable!("a constant"))
}

impl Environment<'_> {
    /// What is wrong with a variable.
    fn problem(&self, name: &str) -> Option<String> {
        let env = self.container.get("env").and_then(Value::as_array).into_iter().flatten();
        if let Some(entry) = env.rev().find(|entry| entry["name"] == name) {
            let empty = entry["valueFrom"].is_null() && entry["value"].as_str().is_none_or(str::is_empty);
            return empty.then(|| format!("the variable {name} is empty: give it a value in sidecar.container.env"));
        }
        let from_elsewhere =
            self.own_image || self.container.get("envFrom").is_some_and(|from| from != &Value::Array(Vec::new()));
        let ours = self.ours.iter().any(|entry| entry["name"] == name) || name.starts_with("LOGSIDECAR_CONTAINER_");
        // Kubernetes sets these for every Service.
        let of_service = name.contains("_SERVICE_") || name.contains("_PORT");
        let known = ours || from_elsewhere || of_service || THERE.contains(&name) || name.starts_with("FLUENT");
        (!known).then(|| format!("nothing sets the variable {name}: add it to sidecar.container.env"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::LogSidecarSpec;

    fn judged(kind: &str, text: &str, container: &Value) -> Result<(), String> {
        let spec = json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}], "sidecar": {kind: {}}});
        let spec: LogSidecarSpec = serde_json::from_value(spec).expect("a spec");
        let shipper = Shipper::of(&spec).expect("a shipper");
        let container = container.as_object().cloned().unwrap_or_default();
        let ours = [json!({"name": "POD_NAME", "valueFrom": {}})];
        check(shipper, text, &Environment { ours: &ours, container: &container, own_image: false })
            .map_err(|error| error.to_string())
    }

    const COLLECTOR: &str =
        "receivers: {filelog: {include: ['${env:POD_NAME}', '$${X}', '${env:X:-y}']}}\nexporters: {debug: {}}\n";

    #[test]
    fn what_cannot_work_is_refused_with_what_to_write() {
        let collector = |service: &str| format!("{COLLECTOR}service: {service}\n");
        let set = |env: Value| json!({"env": [env]});
        let nothing = json!({});
        let good = "{pipelines: {logs: {receivers: [filelog], exporters: [debug]}}}";
        for (kind, text, container, expected) in [
            ("fluentBit", "pipeline: {inputs: [{name: tail, tag: '${POD_NAME}'}]}".to_owned(), nothing.clone(), None),
            ("fluentBit", "env: {X: y}\npipeline: {inputs: [{name: '${X}'}]}".to_owned(), nothing.clone(), None),
            ("fluentBit", "[SERVICE]\n  flush 1\n".to_owned(), nothing.clone(), Some("sidecar.fluentBit.config: ")),
            ("fluentBit", "a: '${X}'".to_owned(), nothing.clone(), Some("nothing sets the variable X")),
            ("fluentBit", "a: '${X}'".to_owned(), set(json!({"name": "X", "value": "y"})), None),
            ("fluentBit", "a: '${X}'".to_owned(), set(json!({"name": "X", "value": ""})), Some("the variable X is empty")),
            ("fluentBit", "a: '${X}'".to_owned(), json!({"envFrom": [{}]}), None),
            (
                "fluentd",
                "<match **>\n  a \"#{ENV['X']}\"\n</match>".to_owned(),
                nothing.clone(),
                Some("nothing sets the variable X"),
            ),
            ("fluentd", "  # #{ENV['X']}".to_owned(), nothing.clone(), None),
            ("fluentd", "<match **>\n  a \"#{ENV['X'] || 'y'}\"\n</match>".to_owned(), nothing.clone(), None),
            ("otelCollector", collector(good), nothing.clone(), None),
            ("otelCollector", COLLECTOR.to_owned(), nothing.clone(), Some("service.pipelines is missing")),
            (
                "otelCollector",
                collector("{pipelines: {logs: {receivers: [filelog], exporters: [otlp]}}}"),
                nothing.clone(),
                Some("service.pipelines.logs.exporters names otlp, which is not in exporters"),
            ),
            (
                "otelCollector",
                collector("{pipelines: {logs: {receivers: [], exporters: [debug]}}}"),
                nothing.clone(),
                Some("service.pipelines.logs.receivers is empty"),
            ),
            (
                "otelCollector",
                format!("{}extensions: {{a: '${{env:TOKEN}}'}} # ${{env:COMMENT}}\n", collector(good)),
                nothing.clone(),
                Some("nothing sets the variable TOKEN"),
            ),
            ("otelCollector", format!("{}# ${{env:TOKEN}}\n", collector(good)), nothing, None),
        ] {
            let told = judged(kind, &text, &container);
            let fits = expected.map_or(told.is_ok(), |expected| told.as_ref().is_err_and(|told| told.contains(expected)));
            assert!(fits, "{text}\n{told:?}");
        }
    }
}
