//! The schemas that objects are held against, made ready for a JSON schema validator.

use std::sync::LazyLock;

use jsonschema::Validator;
use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::api;

/// The CRD's schema with unknown fields refused, and as it is, for its rules.
pub(super) static LOG_SIDECAR: LazyLock<(Validator, Value)> = LazyLock::new(|| {
    let mut schema = Value::Object(api::schema());
    let lenient = schema.clone();
    schema["properties"]["metadata"] = schema_of::<ObjectMeta>();
    schema["properties"]["apiVersion"] = json!({"enum": ["logsidecar.dev/v1alpha1"]});
    schema["properties"]["kind"] = json!({"enum": ["LogSidecar"]});
    refuse_unknown_fields(&mut schema);
    // A custom resource takes whole numbers and text for a quantity, built-in kinds take any number.
    (validator(schema, &["integer", "string"]), lenient)
});
/// Kubernetes' own types of what planning reads.
pub(super) static POD_TEMPLATE: LazyLock<Validator> =
    LazyLock::new(|| validator(schema_of::<PodTemplateSpec>(), &["integer", "string", "number"]));
/// The type of `metadata`.
pub(super) static METADATA: LazyLock<Validator> = LazyLock::new(|| validator(schema_of::<ObjectMeta>(), &[]));

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn validator(mut schema: Value, quantity: &[&str]) -> Validator {
    understand_extensions(&mut schema, quantity);
    jsonschema::draft7::new(&schema).expect("the schemas are constants of the program, and a test compiles them")
}

/// JSON schema knows no `x-kubernetes-int-or-string`, which is how quantities and ports are typed.
fn understand_extensions(schema: &mut Value, quantity: &[&str]) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("x-kubernetes-int-or-string") {
                map.insert("type".to_owned(), json!(quantity));
            }
            map.values_mut().for_each(|schema| understand_extensions(schema, quantity));
        }
        Value::Array(list) => list.iter_mut().for_each(|schema| understand_extensions(schema, quantity)),
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
