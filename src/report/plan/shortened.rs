//! Long texts that come or go as a whole, such as the script of a shipper, are shown by their beginning: what is around them is what
//! people look for. What is in both templates stays as it is, so nothing that its owner wrote is ever shortened.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::workload::normal::fingerprint;

/// Texts of more lines are shortened,
const LONGEST: usize = 8;

/// to so many.
const SHOWN: usize = 2;

/// Both templates as they are shown.
pub(super) fn shortened(before: &Value, after: &Value) -> (Value, Value) {
    let (mut one, mut other) = (before.clone(), after.clone());
    let (in_before, in_after) = (texts(before), texts(after));
    shorten(&mut one, &in_after);
    shorten(&mut other, &in_before);
    (one, other)
}

fn texts(value: &Value) -> BTreeSet<&str> {
    match value {
        Value::String(text) => BTreeSet::from([text.as_str()]),
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => BTreeSet::new(),
    }
}

fn shorten(value: &mut Value, kept: &BTreeSet<&str>) {
    match value {
        Value::String(text) if text.lines().count() > LONGEST && !kept.contains(text.as_str()) => {
            let beginning: String = text.lines().take(SHOWN).map(|line| format!("{line}\n")).collect();
            let more = text.lines().count() - SHOWN;
            // Two that begin alike are still seen to differ.
            *text =
                format!("{beginning}… {more} more lines ({}), see --output=yaml\n", fingerprint(&Value::String(text.clone())));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, kept)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shorten(field, kept)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_long_texts_that_come_or_go_are_shortened() {
        let long = |name: &str| (0..20).map(|line| format!("{name} {line}\n")).collect::<String>();
        let before = json!([long("his"), long("old"), "short\n"]);
        let after = json!([long("his"), long("new"), "other\n"]);
        let (one, other) = shortened(&before, &after);
        assert_eq!((&one[0], &other[0]), (&before[0], &after[0]));
        assert_eq!((&one[2], &other[2]), (&before[2], &after[2]));
        let text = other[1].as_str().expect("a text");
        assert!(text.starts_with("new 0\nnew 1\n… 18 more lines ("), "{text}");
        assert_ne!(one[1], other[1]);
        assert_eq!(shortened(&before, &before).0, before);
    }
}
