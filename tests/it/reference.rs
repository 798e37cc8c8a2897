//! The reference in `docs/reference`: made of the CRD and of the command line, so that it cannot say anything else than they do.
//! `UPDATE=1` rewrites it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{contract::is_fresh, docs::anchor};

#[test]
fn the_reference_of_the_command_line_is_fresh() {
    let options =
        clap_markdown::MarkdownOptions::new().title("Command line".to_owned()).show_footer(false).show_table_of_contents(true);
    is_fresh(
        "docs/reference/command-line.md",
        &clap_markdown::help_markdown_command_custom(&logsidecar::cli::command(), &options),
    );
}

#[test]
fn the_reference_of_the_api_is_fresh() {
    let crd = serde_json::to_value(logsidecar::api::definition()).expect("JSON");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut reference = Reference::default();
    for part in ["spec", "status"] {
        reference.object(part, &schema["properties"][part]);
    }
    let Reference { text, .. } = reference;
    is_fresh(
        "docs/reference/api.md",
        &format!(
            "# API: `logsidecar.dev/v1alpha1`, kind `LogSidecar`\n\nEvery field, with what the API server checks. Made of the \
             [CRD](../../crds/logsidecar.yaml) by `make generate`; `kubectl explain logsidecar.spec` has the same.\n{text}"
        ),
    );
}

#[derive(Default)]
struct Reference {
    text: String,
    /// Where an object is described, by its schema: many places have the same.
    known: BTreeMap<String, String>,
}

impl Reference {
    /// A section for an object, and after it those for the objects in it.
    fn object(&mut self, path: &str, schema: &Value) {
        self.known.insert(identity(schema), path.to_owned());
        self.text.push_str(&format!("\n## `{path}`\n\n{}\n", description(schema)));
        self.text.push_str("\n| field | type | meaning |\n|---|---|---|\n");
        let required: BTreeSet<&str> = strings(&schema["required"]).collect();
        let mut inner = Vec::new();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let (shape, below) = shape(&format!("{path}.{name}"), field);
            let star = if required.contains(name.as_str()) { " (required)" } else { "" };
            let mut meaning = vec![description(field)];
            if let Some((at, object)) = below {
                let known = self.known.get(&identity(object)).cloned();
                let (words, place) = known.map_or_else(|| ("Fields:", at.clone()), |known| ("Fields as in", known));
                meaning.push(format!("{words} [`{place}`](#{}).", anchor(&place)));
                if place == at {
                    self.known.insert(identity(object), at.clone());
                    inner.push((at, object));
                }
            }
            let meaning = meaning.join(" ").trim().replace('|', "\\|");
            self.text.push_str(&format!("| `{name}`{star} | {shape} | {meaning} |\n"));
        }
        let mut rules = messages(schema).map(|message| format!("* {message}\n")).collect::<Vec<_>>();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            rules.extend(within(field).into_iter().map(|message| format!("* `{name}`: {message}\n")));
        }
        if !rules.is_empty() {
            self.text.push_str(&format!("\nRefused with these words:\n\n{}", rules.concat()));
        }
        for (path, schema) in inner {
            self.object(&path, schema);
        }
    }
}

/// By what an object is known again: all that is said of it here.
fn identity(schema: &Value) -> String {
    [&schema["properties"], &schema["required"], &schema["x-kubernetes-validations"]].map(Value::to_string).concat()
}

/// What the API server says where a rule is broken.
fn messages(schema: &Value) -> impl Iterator<Item = &str> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten().filter_map(|rule| rule["message"].as_str())
}

/// The same of a field that has no fields of its own, and of what is in it.
fn within(schema: &Value) -> Vec<&str> {
    if schema.get("properties").is_some() {
        return Vec::new();
    }
    let inner = ["items", "additionalProperties"].into_iter().filter_map(|of| schema.get(of)).flat_map(within);
    messages(schema).chain(inner).collect()
}

/// What a field is, and the object in it that has fields of its own.
fn shape<'a>(path: &str, schema: &'a Value) -> (String, Option<(String, &'a Value)>) {
    if let Some(items) = schema.get("items") {
        let (of, below) = shape(&format!("{path}[]"), items);
        return (format!("list of {of}{}", limits(schema)), below);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        let (of, below) = shape(&format!("{path}.*"), values);
        return (format!("map of {of}{}", limits(schema)), below);
    }
    if schema.get("properties").is_some() {
        return ("object".to_owned(), Some((path.to_owned(), schema)));
    }
    let name = match schema["type"].as_str() {
        _ if schema["x-kubernetes-int-or-string"] == true => "integer or string",
        Some(name) => name,
        None => "any",
    };
    (format!("{name}{}", limits(schema)), None)
}

/// What the API server checks of a value, and its default.
fn limits(schema: &Value) -> String {
    let mut limits = Vec::new();
    let values: Vec<String> =
        schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
    limits.extend((!values.is_empty()).then(|| values.join(", ")));
    for (least, most, what) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        match (schema[least].as_f64(), schema[most].as_f64()) {
            (Some(least), Some(most)) => limits.push(format!("{least} to {most}{what}")),
            (Some(least), None) => limits.push(format!("at least {least}{what}")),
            (None, Some(most)) => limits.push(format!("at most {most}{what}")),
            (None, None) => {}
        }
    }
    limits.extend(schema["pattern"].as_str().map(|pattern| format!("`{}`", pattern.replace('|', "\\|"))));
    limits.extend(schema.get("default").map(|default| format!("default `{default}`")));
    if limits.is_empty() { String::new() } else { format!("; {}", limits.join("; ")) }
}

fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
