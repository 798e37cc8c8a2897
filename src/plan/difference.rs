//! The JSON patch (RFC 6902) that turns one value into another.

use json_patch::{
    AddOperation, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{PointerBuf, Token},
};
use serde_json::Value;

/// The operations that turn `before` into `after`, at `path` and below.
///
/// Guarantees: applying them to `before` gives `after`; empty exactly if both are equal; list items that both share at the
/// beginning and the end are not touched.
#[must_use]
pub fn difference(path: &PointerBuf, before: &Value, after: &Value) -> Vec<PatchOperation> {
    let mut operations = Vec::new();
    compare(path, before, after, &mut operations);
    operations
}

fn compare(path: &PointerBuf, before: &Value, after: &Value, out: &mut Vec<PatchOperation>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(before), Value::Object(after)) => {
            for (key, _) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
                out.push(remove(below(path, key.as_str())));
            }
            for (key, value) in after {
                match before.get(key) {
                    Some(old) => compare(&below(path, key.as_str()), old, value, out),
                    None => out.push(add(below(path, key.as_str()), value)),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => compare_lists(path, before, after, out),
        (_, after) => {
            out.push(PatchOperation::Replace(ReplaceOperation { path: path.clone(), value: after.clone() }));
        }
    }
}

fn compare_lists(path: &PointerBuf, before: &[Value], after: &[Value], out: &mut Vec<PatchOperation>) {
    let shorter = before.len().min(after.len());
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let tail = before.iter().rev().zip(after.iter().rev()).take(shorter - head).take_while(|(a, b)| a == b).count();
    let (before, after) = (&before[head..before.len() - tail], &after[head..after.len() - tail]);
    let shared = before.len().min(after.len());
    for at in 0..shared {
        compare(&below(path, head + at), &before[at], &after[at], out);
    }
    // From the back, so that the indices of what is still to be removed stay right.
    for at in (shared..before.len()).rev() {
        out.push(remove(below(path, head + at)));
    }
    for (at, value) in after.iter().enumerate().skip(shared) {
        out.push(add(below(path, head + at), value));
    }
}

fn below<'a>(path: &PointerBuf, step: impl Into<Token<'a>>) -> PointerBuf {
    let mut path = path.clone();
    path.push_back(step);
    path
}

fn add(path: PointerBuf, value: &Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path, value: value.clone() })
}

fn remove(path: PointerBuf) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..3i32).prop_map(Value::from)];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a~/]{1,2}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn applied_to_the_one_it_gives_the_other(before in values(), after in values()) {
            let patch = difference(&PointerBuf::new(), &before, &after);
            prop_assert_eq!(patch.is_empty(), before == after);
            let mut patched = before;
            json_patch::patch(&mut patched, &patch).expect("the operations fit");
            prop_assert_eq!(patched, after);
        }
    }

    #[test]
    fn a_neighbour_in_a_list_is_not_touched() {
        let path = PointerBuf::parse("/l").expect("a pointer");
        let operations =
            difference(&path, &json!([{"name": "a"}, {"name": "x"}, {"name": "b"}]), &json!([{"name": "a"}, {"name": "b"}]));
        assert_eq!(serde_json::to_value(operations).expect("JSON"), json!([{"op": "remove", "path": "/l/1"}]));
    }
}
