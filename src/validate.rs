//! What an API server would say about an object, without one.
//!
//! A `LogSidecar` is held against the very schema and CEL rules of the CRD, with unknown fields refused as
//! `kubectl apply` refuses them. Of a workload, the parts that planning reads are held against Kubernetes' own types; its
//! unknown fields are nobody's business here. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::cel;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    api,
    kind::Kind,
    plan::key::{containers, list},
};

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, as a JSON pointer from the root of the object.
    pub pointer: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// The field as people write it: `spec.logs[0].directory`.
    #[must_use]
    pub fn field(&self) -> String {
        let mut field = String::new();
        for step in self.pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")) {
            if step.bytes().all(|byte| byte.is_ascii_digit()) || step.contains(['.', '/']) {
                field.push_str(&format!("[{step}]"));
            } else {
                field.push_str(if field.is_empty() { "" } else { "." });
                field.push_str(&step);
            }
        }
        field
    }
}

/// Everything wrong with a `LogSidecar`. Empty: an API server would take it.
#[must_use]
pub fn log_sidecar(object: &Value) -> Vec<Problem> {
    let object = without_nulls(object);
    let mut problems = check(&LOG_SIDECAR.0, &object, "");
    problems.extend(metadata_name(&object));
    problems.extend(duplicates(list(object.get("spec").unwrap_or(&Value::Null), "logs"), "name", "/spec/logs"));
    if problems.is_empty()
        && let Err(errors) = cel::Validator::new().validate(&LOG_SIDECAR.1, &object, None)
    {
        problems.extend(errors.into_vec().into_iter().map(|error| Problem::new(pointer(&error.field_path), error.message)));
    }
    problems.sort();
    problems.dedup();
    problems
}

/// Everything wrong with the parts of a workload that planning reads.
#[must_use]
pub fn workload(kind: Kind, object: &Value) -> Vec<Problem> {
    let at = kind.template();
    let object = without_nulls(object);
    let mut problems: Vec<Problem> = metadata_name(&object).into_iter().collect();
    let Some(template) = object.pointer(at) else {
        problems.push(Problem::new(at, format!("required: a {kind} has its pod template here")));
        return problems;
    };
    let mut pod = template.clone();
    if let Some(pod) = pod.as_object_mut() {
        // A Pod is its own template, and more.
        pod.retain(|field, _| field == "metadata" || field == "spec");
    }
    problems.extend(check(&METADATA, object.get("metadata").unwrap_or(&json!({})), "/metadata"));
    problems.extend(check(&POD_TEMPLATE, &pod, at));
    if pod.get("spec").is_none() {
        problems.push(Problem::new(format!("{at}/spec"), "required: the spec of the pods"));
    }
    if problems.is_empty() {
        let spec = &pod["spec"];
        problems.extend(duplicates(list(spec, "volumes"), "name", &format!("{at}/spec/volumes")));
        problems.extend(duplicates(containers(&pod), "name", &format!("{at}/spec/containers")));
        for field in ["containers", "initContainers"] {
            for (index, container) in list(spec, field).enumerate() {
                let at = format!("{at}/spec/{field}/{index}/volumeMounts");
                problems.extend(duplicates(list(container, "volumeMounts"), "mountPath", &at));
            }
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

static LOG_SIDECAR: LazyLock<(Validator, Value)> = LazyLock::new(|| {
    let mut schema = Value::Object(api::schema());
    let lenient = schema.clone();
    schema["properties"]["metadata"] = schema_of::<ObjectMeta>();
    schema["properties"]["apiVersion"] = json!({"enum": ["logsidecar.dev/v1alpha1"]});
    schema["properties"]["kind"] = json!({"enum": ["LogSidecar"]});
    refuse_unknown_fields(&mut schema);
    (validator(schema), lenient)
});
static POD_TEMPLATE: LazyLock<Validator> = LazyLock::new(|| validator(schema_of::<PodTemplateSpec>()));
static METADATA: LazyLock<Validator> = LazyLock::new(|| validator(schema_of::<ObjectMeta>()));

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn validator(mut schema: Value) -> Validator {
    understand_extensions(&mut schema);
    jsonschema::draft7::new(&schema).expect("the schemas are constants of the program, and a test compiles them")
}

/// JSON schema knows no `x-kubernetes-int-or-string`, which is how quantities are typed.
fn understand_extensions(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("x-kubernetes-int-or-string") {
                map.insert("type".to_owned(), json!(["integer", "number", "string"]));
            }
            map.values_mut().for_each(understand_extensions);
        }
        Value::Array(list) => list.iter_mut().for_each(understand_extensions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn refuse_unknown_fields(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(refuse_unknown_fields);
        map.entry("additionalProperties").or_insert(Value::Bool(false));
    }
    for inner in ["items", "additionalProperties"] {
        map.get_mut(inner).into_iter().for_each(refuse_unknown_fields);
    }
}

/// To an API server a field that is `null` is absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect::<Map<_, _>>())
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn check(validator: &Validator, object: &Value, at: &str) -> Vec<Problem> {
    validator.iter_errors(object).flat_map(|error| explain(&error, at)).collect()
}

fn explain(error: &ValidationError<'_>, at: &str) -> Vec<Problem> {
    let at = format!("{at}{}", error.instance_path().as_str());
    let instance = error.instance();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|field| Problem::new(format!("{at}/{}", field.replace('~', "~0").replace('/', "~1")), "unknown field"))
            .collect(),
        ValidationErrorKind::Required { property } => {
            vec![Problem::new(format!("{at}/{}", property.as_str().unwrap_or_default()), "required, but missing")]
        }
        ValidationErrorKind::Type { kind } => vec![Problem::new(at, wrong_type(kind, instance))],
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(shown).collect();
            vec![Problem::new(at, format!("must be {}, not {}", options.join(" or "), shown(instance)))]
        }
        ValidationErrorKind::Pattern { pattern } => {
            let name = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
            let rule =
                if pattern == name { "be lower-case letters, digits and '-'".to_owned() } else { format!("match {pattern}") };
            vec![Problem::new(at, format!("{} must {rule}", shown(instance)))]
        }
        ValidationErrorKind::MinItems { limit } => vec![Problem::new(at, format!("must have at least {limit} entry"))],
        ValidationErrorKind::MaxItems { limit } => vec![Problem::new(at, format!("must have at most {limit} entries"))],
        ValidationErrorKind::MinLength { .. } => vec![Problem::new(at, "must not be empty")],
        ValidationErrorKind::MaxLength { limit } => vec![Problem::new(at, format!("must have at most {limit} characters"))],
        _ => vec![Problem::new(at, error.to_string())],
    }
}

fn wrong_type(kind: &impl std::fmt::Debug, instance: &Value) -> String {
    let wanted = format!("{kind:?}").to_lowercase();
    let (wanted, quoted) =
        [("integer", ""), ("number", ""), ("boolean", ""), ("array", ""), ("object", ""), ("string", "quote")]
            .into_iter()
            .find(|(word, _)| wanted.contains(word))
            .unwrap_or(("value of another type", ""));
    let article = if wanted.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    let scalar = matches!(instance, Value::Bool(_) | Value::Number(_));
    let hint = if !quoted.is_empty() && scalar { ": put it in quotes" } else { "" };
    format!("must be {article} {wanted}, not {}{hint}", shown(instance))
}

/// A value in a message: short, and never a whole object.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 60 => format!("\"{}…\"", text.chars().take(60).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn metadata_name(object: &Value) -> Option<Problem> {
    match object.get("metadata").and_then(|metadata| metadata.get("name").or_else(|| metadata.get("generateName"))) {
        Some(Value::String(name)) if !name.is_empty() => None,
        Some(Value::String(_)) | None => Some(Problem::new("/metadata/name", "required, but missing")),
        Some(other) => Some(Problem::new("/metadata/name", wrong_type(&"string", other))),
    }
}

/// Entries of a list that is a map by `key` for the API server.
fn duplicates<'a>(items: impl Iterator<Item = &'a Value>, key: &str, at: &str) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = BTreeMap::new();
    for item in items.filter_map(|item| item.get(key)?.as_str()) {
        if !seen.insert(item) {
            problems.insert(item, Problem::new(at, format!("two entries have the {key} \"{item}\"")));
        }
    }
    problems.into_values().collect()
}

/// From CEL's `spec.logs[0].directory` to a JSON pointer.
fn pointer(path: &str) -> String {
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
    steps.map(|step| format!("/{step}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecar(spec: &Value) -> Value {
        json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "web"}, "spec": spec})
    }

    fn told(object: &Value) -> Vec<String> {
        log_sidecar(object).into_iter().map(|problem| format!("{}: {}", problem.field(), problem.message)).collect()
    }

    #[test]
    fn a_good_one_passes() {
        let spec = json!({
            "target": {"selector": {"matchLabels": {"app": "web"}}},
            "logs": [{"name": "a", "directory": "/var/log/app", "volume": {"emptyDir": {"sizeLimit": "1Gi"}}}],
            "sidecar": {"container": {"image": "x", "resources": {"requests": {"cpu": 1}}, "env": null}},
        });
        assert_eq!(told(&sidecar(&spec)), Vec::<String>::new());
    }

    #[test]
    fn each_mistake_is_named_with_its_field() {
        let logs = json!([{"name": "a", "directory": "/var/log/app"}]);
        let table = [
            (json!({"target": {"name": "web"}, "logs": logs, "sidecars": {}}), "spec.sidecars: unknown field"),
            (json!({"target": {"name": true}, "logs": logs}), "spec.target.name: must be a string, not true: put it in quotes"),
            (
                json!({"target": {"name": "a", "selector": {"matchLabels": {"a": "b"}}}, "logs": logs}),
                "spec.target: write exactly one of name and selector",
            ),
            (
                json!({"target": {"kind": "Rollout", "name": "a"}, "logs": logs}),
                "spec.target.kind: must be \"Deployment\" or \"StatefulSet\" or \"DaemonSet\" or \"ReplicaSet\" or \"ReplicationController\" or \"CronJob\" or \"Job\" or \"Pod\" or \"PodTemplate\", not \"Rollout\"",
            ),
            (json!({"target": {"name": "a"}, "logs": []}), "spec.logs: must have at least 1 entry"),
            (json!({"target": {"name": "a"}}), "spec.logs: required, but missing"),
            (
                json!({"target": {"name": "a"}, "logs": [{"name": "a", "directory": "var/log"}]}),
                "spec.logs[0].directory: write an absolute path without '..', '//' or a trailing '/', such as /var/log/app",
            ),
            (
                json!({"target": {"name": "a"}, "logs": logs, "sidecar": {"container": {"imag": "x"}, "tail": {}}}),
                "spec.sidecar.container.imag: unknown field",
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(told(&sidecar(&spec)), [expected], "{spec}");
        }
    }

    #[test]
    fn a_workload_is_checked_where_planning_reads_it() {
        let deployment = |containers: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"x": 1, "template": {"spec": {"containers": containers}}}});
        let told = |object: &Value| -> Vec<String> {
            workload(Kind::Deployment, object)
                .into_iter()
                .map(|problem| format!("{}: {}", problem.field(), problem.message))
                .collect()
        };
        assert_eq!(
            told(&deployment(json!([{"name": "a", "unknown": 1, "resources": {"limits": {"cpu": 0.5}}}]))),
            Vec::<String>::new()
        );
        assert_eq!(told(&deployment(json!({"name": "a"}))), ["spec.template.spec.containers: must be an array, not an object"]);
        assert_eq!(
            told(&deployment(json!([{"name": "a"}, {"name": "a"}]))),
            ["spec.template.spec.containers: two entries have the name \"a\""]
        );
        assert_eq!(
            told(&json!({"metadata": {"name": 5}})),
            [
                "metadata.name: must be a string, not 5: put it in quotes",
                "spec.template: required: a Deployment has its pod template here"
            ]
        );
    }
}
