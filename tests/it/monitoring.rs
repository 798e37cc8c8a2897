//! What the documentation, the alerts and the dashboard say of metrics is what the controller has.

use std::{collections::BTreeSet, fs, path::Path};

use logsidecar::controller::metrics::NAMES;

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
