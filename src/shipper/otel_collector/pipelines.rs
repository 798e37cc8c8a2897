//! The pipelines of a config of the author's own.

use serde_json::Value;

/// Refuses a pipeline without receivers or exporters, or with one that is not defined.
pub(super) fn pipelines(config: &Value) -> Result<(), String> {
    let pipelines = config["service"]["pipelines"].as_object().filter(|pipelines| !pipelines.is_empty());
    let Some(pipelines) = pipelines else { return Err("service.pipelines is missing: nothing would be read".to_owned()) };
    let extensions = ("extensions", &config["service"]["extensions"], "service.extensions".to_owned());
    let of_pipelines = pipelines.iter().flat_map(|(name, pipeline)| {
        ["receivers", "processors", "exporters"].map(|kind| (kind, &pipeline[kind], format!("service.pipelines.{name}.{kind}")))
    });
    for (kind, list, path) in of_pipelines.chain([extensions]) {
        let names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if names.is_empty() && matches!(kind, "receivers" | "exporters") {
            return Err(format!("{path} is empty: name one"));
        }
        // A connector is an exporter of one pipeline and a receiver of another.
        let connects = |name: &str| matches!(kind, "receivers" | "exporters") && config["connectors"].get(name).is_some();
        if let Some(missing) = names.iter().find(|name| config[kind].get(**name).is_none() && !connects(name)) {
            return Err(format!("{path} names {missing}, which is not in {kind}: add it there"));
        }
    }
    Ok(())
}
