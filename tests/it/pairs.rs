//! Every output with every shipper: rendered as its golden file says, or refused with the reason that stands there, and every field
//! of it matters. `UPDATE=1` rewrites the files; read the difference.

use std::{collections::BTreeSet, fs, path::PathBuf};

use logsidecar::{
    api::{LogSidecarSpec, OutputKind, ShipperName},
    manifest,
    shipper::{
        Error, Images, Shipper,
        engine::{Parts, parts},
    },
};
use serde_json::{Value, json};

use crate::logsidecar::run;

/// The shippers that send to outputs.
fn shippers() -> Vec<&'static str> {
    ShipperName::ALL.iter().map(|name| name.features()).filter(|row| row.has_config).map(|row| row.field).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pairs")
}

fn outputs() -> Vec<Value> {
    let text = fs::read(folder().join("outputs.yaml")).expect("the outputs");
    let list = manifest::read("outputs.yaml", &text).expect("YAML").remove(0).value;
    list.as_array().expect("a list").clone()
}

fn spec(shipper: &str, output: &Value) -> Value {
    json!({
        "target": {"name": "app"},
        "logs": [{"name": "app", "directory": "/var/log/app"}],
        "outputs": [output],
        "sidecar": {shipper: {}},
    })
}

#[test]
fn every_output_is_rendered_by_every_shipper_or_refused() {
    let mut files = BTreeSet::new();
    for (shipper, output) in
        shippers().into_iter().flat_map(|shipper| outputs().into_iter().map(move |output| (shipper, output)))
    {
        let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": spec(shipper, &output)});
        let run = run(&["render", "-f", "-"], sidecar.to_string().as_bytes());
        let made = if run.code == Some(0) { run.stdout } else { format!("Refused.\n{}", run.stderr) };
        let file = folder().join(shipper).join(format!("{}.txt", output["name"].as_str().expect("a name")));
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(folder().join(shipper)).expect("a folder");
            fs::write(&file, &made).expect("written");
        }
        assert_eq!(made, fs::read_to_string(&file).unwrap_or_default(), "{}", file.display());
        files.insert(file);
    }
    let there = shippers().into_iter().flat_map(|shipper| fs::read_dir(folder().join(shipper)).expect("a folder"));
    assert_eq!(there.map(|entry| entry.expect("an entry").path()).collect::<BTreeSet<_>>(), files);
}

/// The places of all values below a value, as JSON pointers; a list has one place for all of its items.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(field, value)| leaves(value, &format!("{path}/{field}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, found)),
        _ => drop(found.insert(path.to_owned())),
    }
}

/// The same places by a schema.
fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) {
        properties.iter().for_each(|(field, schema)| fields(schema, &format!("{path}/{field}"), found));
    } else if schema["type"] == "array" {
        fields(&schema["items"], path, found);
    } else {
        found.insert(path.to_owned());
    }
}

#[test]
fn no_field_of_an_output_is_left_out_here() {
    let crd = fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crds/logsidecar.yaml")).expect("the CRD");
    let crd = manifest::read("crd", &crd).expect("YAML").remove(0).value;
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/outputs/items");
    let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
    fields(schema.expect("a schema"), "", &mut expected);
    outputs().iter().for_each(|output| leaves(output, "", &mut found));
    let free = |path: &String| path.starts_with("/loki/labels/").then(|| "/loki/labels".to_owned());
    found = found.into_iter().map(|path| free(&path).unwrap_or(path)).collect();
    // Each destination has the same three ways to prove who we are: some of them here, some there.
    let common = |path: &str| {
        ["/auth/", "/tls/insecureSkipVerify"].iter().find_map(|part| path.find(part)).map(|at| path[at..].to_owned())
    };
    let reduced =
        |paths: BTreeSet<String>| -> BTreeSet<String> { paths.into_iter().map(|path| common(&path).unwrap_or(path)).collect() };
    assert_eq!(reduced(found), reduced(expected));
}

fn rendered(shipper: &str, output: &Value) -> Result<Parts, Error> {
    let spec: LogSidecarSpec = serde_json::from_value(spec(shipper, output)).expect("a spec");
    parts(Shipper::of(&spec).expect("a shipper"), &spec, &Images::default())
}

fn made(shipper: &str, output: &Value) -> Option<Parts> {
    rendered(shipper, output).ok()
}

#[test]
fn what_the_table_says_a_shipper_lacks_is_what_it_does_not_render() {
    for name in ShipperName::ALL.iter().filter(|name| name.features().has_config) {
        for kind in OutputKind::ALL {
            let output = outputs().into_iter().find(|output| output.get(kind.field()).is_some());
            let output = output.unwrap_or_else(|| panic!("tests/pairs/outputs.yaml has no {}", kind.field()));
            let lacks = matches!(rendered(name.field(), &output), Err(Error::Output(_)));
            assert_eq!(lacks, !name.supports(*kind), "{} {}", name.field(), kind.field());
        }
    }
}

/// Another value for a field.
fn another(path: &str, value: &Value) -> Value {
    match value {
        Value::Bool(value) => (!value).into(),
        Value::Number(number) => (number.as_u64().expect("a number") + 1).into(),
        Value::String(_) if path.ends_with("/compression") => "Gzip".into(),
        Value::String(_) if path.ends_with("/mechanism") => "PLAIN".into(),
        Value::String(text) if path.contains("/brokers/") => format!("x{text}").into(),
        Value::String(text) => format!("{text}x").into(),
        other => other.clone(),
    }
}

/// Every single value, with its JSON pointer.
fn values(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| values(value, &format!("{path}/{field}"), found)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| values(item, &format!("{path}/{at}"), found)),
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn every_field_of_an_output_alone_changes_what_is_made_of_it() {
    for output in outputs() {
        let mut all = Vec::new();
        values(&output, "", &mut all);
        for shipper in shippers() {
            let Some(before) = made(shipper, &output) else { continue };
            for path in &all {
                let mut changed = output.clone();
                let value = changed.pointer_mut(path).expect("a value");
                *value = another(path, value);
                let after = made(shipper, &changed).unwrap_or_else(|| panic!("{shipper}: {changed} is refused"));
                assert_ne!(after, before, "{shipper} {}: {path} changes nothing", output["name"]);
            }
        }
    }
}
