//! The schema of a partial `v1.Container`: Kubernetes' own, with nothing required.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Container;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A `v1.Container` in which every field, the name too, may be absent. It is kept as JSON and passed on as it is, so that
/// fields of a Kubernetes newer than this program survive.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(transparent)]
pub struct PartialContainer(pub Map<String, Value>);

impl PartialContainer {
    /// The container's name, if the user chose one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.get("name").and_then(Value::as_str)
    }
}

impl JsonSchema for PartialContainer {
    fn schema_name() -> Cow<'static, str> {
        "PartialContainer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<Container>();
        schema.remove("required");
        schema.insert("description".into(), json!("A partial v1.Container."));
        if let Some(name) = schema.pointer_mut("/properties/name").and_then(Value::as_object_mut) {
            name.insert("pattern".into(), json!("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"));
            name.insert("maxLength".into(), json!(63));
        }
        schema
    }
}
