//! What the documentation, the alerts and the dashboard say of metrics is what the controller has.

use std::{collections::BTreeSet, fs, path::Path};

use logsidecar::operator::metrics::NAMES;
use serde_json::Value;

use crate::contract::documents;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file)
}

/// All metrics that a text names, without what their type adds.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("logsidecar_"));
    let ends = ["_total", "_bucket", "_sum", "_count"];
    words.map(|word| ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word)).collect()
}

#[test]
fn every_metric_is_documented_and_shown_and_no_other() {
    let all: BTreeSet<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    let docs = read("docs/metrics.md");
    for (name, help) in NAMES {
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap_or_default();
        assert!(row.ends_with(&format!("| {help} |")), "{name}: {row}");
    }
    assert_eq!(named(&docs), all);
    assert_eq!(named(&read("deploy/monitoring/dashboard.json")), all);
    let alerts = read("deploy/monitoring/alerts.yaml");
    assert!(named(&alerts).is_subset(&all), "{:?}", named(&alerts));
}

/// All texts under a key, at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|inner| texts(inner, key, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| texts(inner, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_query_is_one_that_prometheus_can_read() {
    let mut count = 0;
    for file in ["deploy/monitoring/alerts.yaml", "deploy/monitoring/dashboard.json"] {
        for document in documents(file) {
            let mut queries = Vec::new();
            texts(&document, "expr", &mut queries);
            for query in queries {
                count += 1;
                // Grafana puts a duration in here.
                let query = query.replace("$__rate_interval", "5m");
                assert!(
                    promql_parser::parser::parse(&query).is_ok(),
                    "{file}: {query}: {:?}",
                    promql_parser::parser::parse(&query)
                );
            }
        }
    }
    assert!(count > 10, "only {count} queries were found");
}
