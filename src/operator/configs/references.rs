//! Which ConfigMaps are still referred to: by a pod template, by a pod, or by what a rollout that is undone would bring back.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, ReplicaSet},
    batch::v1::Job,
    core::v1::Pod,
};
use kube::{
    Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;

use crate::{
    cluster::request::{RequestError, any, objects},
    workload::kind::{Kind, Kinds},
};

/// The ones among these names that anything in the namespace refers to.
///
/// # Errors
/// What a request fails with.
pub(super) async fn referred_to(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    names: &BTreeSet<String>,
) -> Result<BTreeSet<String>, RequestError> {
    let mut found = BTreeSet::new();
    if names.is_empty() {
        return Ok(found);
    }
    let built_in = [
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
        ApiResource::erase::<Job>(&()),
        ApiResource::erase::<Pod>(&()),
    ];
    let kinds = kinds.in_cluster().map(|kind| (kind.resource(), matches!(kind, Kind::Custom(_))));
    for (resource, may_be_missing) in kinds.chain(built_in.map(|resource| (resource, false))) {
        let all_found = |item: &DynamicObject| {
            collect(&item.data, names, &mut found);
            found.len() == names.len()
        };
        match any(&objects(client, Some(namespace), &resource), ListParams::default(), all_found).await {
            Ok(true) => break,
            Ok(false) => {}
            // Of a custom resource that is not served (any more) there is none.
            Err(error) if error.is_not_found() && may_be_missing => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The names that are the name of a ConfigMap somewhere in a value.
fn collect(value: &Value, names: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) =
                map.get("configMap").and_then(|source| source.get("name")?.as_str()).filter(|name| names.contains(*name))
            {
                found.insert(name.to_owned());
            }
            map.values().for_each(|value| collect(value, names, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, names, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn config_is_found_where_a_template_mounts_it() {
        let names: BTreeSet<String> = ["a-1", "a-2", "a-3"].map(str::to_owned).into();
        let template = json!({"template": {"spec": {"volumes": [{"name": "a-2"}, {"name": "c", "configMap": {"name": "a-1"}}, {"configMap": {"name": "b"}}]}}});
        let mut found = BTreeSet::new();
        collect(&json!({"data": template, "note": "a-3"}), &names, &mut found);
        assert_eq!(found, ["a-1".to_owned()].into());
    }
}
