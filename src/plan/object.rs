//! A whole workload object: its template and its ledger, read and written.

use serde_json::{Map, Value};

use super::Plan;
use crate::workload::ledger::BLANK_ANNOTATIONS;
use crate::workload::ledger::Ledger;
use crate::{api::LEDGER_ANNOTATION, workload::kind::Kind};

/// The ledger annotation of an object.
#[must_use]
pub fn ledger_text(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LEDGER_ANNOTATION)?.as_str()
}

/// Carries a plan out on an object of that kind.
///
/// Guarantees: only the template and the ledger annotation change; annotations that were absent or blank before the first
/// plan are so again after the last.
pub fn embed(object: &mut Value, kind: Kind, plan: Plan) {
    let blank = blank_annotations(object);
    if let Some(template) = object.pointer_mut(kind.template()) {
        *template = plan.template;
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    match plan.ledger {
        Some(mut ledger) => {
            ledger.blank.extend(blank.map(|blank| (BLANK_ANNOTATIONS.to_owned(), blank)));
            write(metadata, &ledger);
        }
        None => erase(metadata, blank),
    }
}

/// The annotations as they were before the first plan, if they were there and blank.
fn blank_annotations(object: &Value) -> Option<Value> {
    let annotations = object.pointer("/metadata/annotations")?;
    if annotations.is_null() || annotations.as_object().is_some_and(Map::is_empty) {
        return Some(annotations.clone());
    }
    Ledger::parse(ledger_text(object)?).ok()?.blank.remove(BLANK_ANNOTATIONS)
}

fn write(metadata: &mut Map<String, Value>, ledger: &Ledger) {
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = Value::Object(Map::new());
    }
    if let (Some(annotations), Some(text)) = (annotations.as_object_mut(), ledger.text()) {
        annotations.insert(LEDGER_ANNOTATION.to_owned(), text.into());
    }
}

fn erase(metadata: &mut Map<String, Value>, blank: Option<Value>) {
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    if annotations.shift_remove(LEDGER_ANNOTATION).is_some() && annotations.is_empty() {
        match blank {
            Some(blank) => metadata.insert("annotations".to_owned(), blank),
            None => metadata.shift_remove("annotations"),
        };
    }
}
