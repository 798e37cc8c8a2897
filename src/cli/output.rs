//! Manifests with the changes of a command, as they are printed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    config_maps::NeededConfigMaps,
    input::{Input, Location},
};
use crate::manifest::{self, Document};

/// The objects that a command changed, each with its new value.
#[derive(Default)]
pub(super) struct Edits(Vec<(Location, Value)>);

impl Edits {
    /// Records the new value of an object, if it differs.
    pub fn record(&mut self, input: &Input, location: &Location, object: Value) {
        if *input.object(location) != object {
            self.0.push((location.clone(), object));
        }
    }

    /// Carries the changes out.
    pub fn apply(&self, input: &mut Input) {
        for (location, object) in &self.0 {
            if let Some(at) = input.documents[location.document].value.pointer_mut(&location.pointer) {
                at.clone_from(object);
            }
        }
    }

    fn touch(&self, document: usize) -> bool {
        self.0.iter().any(|(location, _)| location.document == document)
    }
}

/// Writes all documents in their order. Documents without a change keep the text of their author, comments included.
pub(super) fn write(input: Input, edits: &Edits, config_maps: &NeededConfigMaps, removed: &[Location]) -> String {
    let mut out = String::new();
    for (index, mut document) in input.documents.into_iter().enumerate() {
        for config in config_maps.before(index) {
            separate(&mut out, "---\n");
            out.push_str(&manifest::write(config));
        }
        let removed = removed.iter().filter(|location| location.document == index);
        let removed: BTreeSet<&str> = removed.map(|location| location.pointer.as_str()).collect();
        if removed.contains("") {
            continue;
        }
        separate(&mut out, marker(&document));
        if removed.is_empty() && !edits.touch(index) {
            out.push_str(&document.text);
        } else {
            remove_items(&mut document.value, "", &removed);
            out.push_str(&manifest::write(&document.value));
        }
    }
    out
}

/// Returns what separates a document from the one before: directives belong before the marker of their document.
fn marker(document: &Document) -> &'static str {
    if document.text.starts_with('%') { "...\n" } else { "---\n" }
}

fn separate(out: &mut String, marker: &str) {
    if !out.is_empty() {
        out.push_str(if out.ends_with('\n') { "" } else { "\n" });
        out.push_str(marker);
    }
}

/// Removes items from a `List` and the lists in it, each named by its JSON pointer in the document as it was read. One pass, so
/// no removal shifts the items that later pointers name.
fn remove_items(list: &mut Value, at: &str, removed: &BTreeSet<&str>) {
    let Some(items) = list.get_mut("items").and_then(Value::as_array_mut).filter(|_| !removed.is_empty()) else { return };
    let mut index = 0;
    items.retain_mut(|item| {
        let pointer = format!("{at}/items/{index}");
        index += 1;
        if removed.contains(pointer.as_str()) {
            return false;
        }
        remove_items(item, &pointer, removed);
        true
    });
}
