//! The CustomResourceDefinition: what the derive makes, made strict.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{LogSidecar, rules};

/// The `CustomResourceDefinition` as `logsidecar crd` prints it.
///
/// Three things differ from what `kube` derives. The rules about shippers come from the table of shippers. No field is nullable: a stored `null` in a one-of would count as present
/// for CEL, while a non-nullable `null` is pruned by the API server. And descriptions below `sidecar.container` are left
/// out: they are Kubernetes' own and would make the object too large for `kubectl apply`'s annotation.
///
/// # Panics
/// Never: the derived definition is a constant of the program, and a test converts it.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(LogSidecar::crd()).expect("a derived CRD is JSON");
    forbid_null(&mut crd);
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    if let Some(Value::Object(container)) =
        crd.pointer_mut(&format!("{schema}/spec/properties/sidecar/properties/container/properties"))
    {
        container.values_mut().for_each(drop_descriptions);
    }
    if let Some(Value::Object(spec)) = crd.pointer_mut(&format!("{schema}/spec")) {
        spec.insert("x-kubernetes-validations".into(), rules::of_spec().into());
    }
    if let Some(Value::Object(status)) = crd.pointer_mut(&format!("{schema}/status")) {
        // kstatus takes an object without status for current: `helm --wait` and Flux would not wait for us.
        status.insert("default".into(), json!({"observedGeneration": -1}));
    }
    serde_json::from_value(crd).expect("a CRD without nulls is a CRD")
}

fn forbid_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.shift_remove("nullable");
            map.values_mut().for_each(forbid_null);
        }
        Value::Array(list) => list.iter_mut().for_each(forbid_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Drops descriptions of a schema, not properties that are called `description`.
fn drop_descriptions(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.shift_remove("description");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(drop_descriptions);
    }
    for inner in ["items", "additionalProperties"] {
        schema.get_mut(inner).into_iter().for_each(drop_descriptions);
    }
}

/// The schema of a whole `LogSidecar` object, for checks without a cluster.
///
/// # Panics
/// Never, as [`definition`].
pub(crate) fn schema() -> Map<String, Value> {
    let crd = definition();
    let schema = crd.spec.versions.into_iter().next().and_then(|version| version.schema?.open_api_v3_schema);
    match serde_json::to_value(schema) {
        Ok(Value::Object(schema)) => schema,
        _ => Map::new(),
    }
}
