//! The ledger: what was put into a workload, by which `LogSidecar`, written on the workload itself.
//!
//! It survives restarts and backups, and is what `uninject`, status and clean-up read. Any editor of the workload can edit it, so it
//! proves nothing by itself: `plan/owned_items.rs` decides which items are ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    key::Key,
    name::{ObjectName, ObjectNameError},
};
use crate::api::LEDGER_ANNOTATION;

/// The size that a ledger may not outgrow, in bytes; all annotations of an object together may have 256 KiB.
pub const LIMIT: usize = 16 * 1024;

/// The key of [`Ledger::blank`] for the annotations of the workload. All other keys name lists of the template.
pub const BLANK_ANNOTATIONS: &str = "metadata.annotations";

/// The version of the format.
const VERSION: u32 = 1;

/// What was put into one workload.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ledger {
    version: u32,
    /// The uid of the workload; absent in a file. A ledger with another uid came along with a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// One entry for each `LogSidecar`.
    pub sidecars: Vec<Entry>,
    /// Lists that existed, but were `null` or empty, before the injection: the path of the list, and that value. A removal restores
    /// them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blank: BTreeMap<String, Value>,
}

/// What one `LogSidecar` put in.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its uid; absent in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Who put it in.
    pub origin: Origin,
    /// The version of the renderer that made the items; an upgrade of the program alone changes no template.
    pub renderer: u32,
    /// The revision of the `LogSidecar` that made them; absent in a file. See [`crate::plan::ResolvedSpec::revision`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The revision before this one, which a rollback restores. `None` if there was none, empty if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The health of the workload before this revision was injected: an unhealthy one says little about the sidecar.
    #[serde(default, skip_serializing_if = "Before::is_well")]
    pub before: Before,
    /// The items, each with the digest of its normal form.
    pub items: BTreeMap<Key, String>,
}

/// The health of a workload before a change.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Before {
    /// All of its pods were available.
    #[default]
    Well,
    /// Its pods were starting, or being replaced by its owner.
    Moving,
    /// Some of its pods were not available, and nothing was happening about it.
    Broken,
}

impl Before {
    /// Whether all pods were available before the change. Takes a reference because serde's `skip_serializing_if` requires it.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
    pub fn is_well(&self) -> bool {
        *self == Self::Well
    }
}

/// Who put items into a template.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The controller, which takes them out again.
    Controller,
    /// The owner's own manifest, made by `logsidecar inject`: the controller never takes them out, the manifest would only
    /// bring them back.
    File,
    /// A policy of the API server, made by `logsidecar policy`, which cannot compute digests: such an entry names no items and
    /// proves nothing. It says that items equal to what the `LogSidecar` would inject are not the owner's. The first plan that finds
    /// exactly those adopts the entry.
    Policy,
}

/// The annotation is not a ledger.
#[derive(Debug, thiserror::Error)]
pub enum ParseLedgerError {
    /// It is not JSON of this shape.
    #[error("the annotation {LEDGER_ANNOTATION} is not readable")]
    Shape(#[source] serde_json::Error),
    /// It was written by a newer version of this program.
    #[error("the annotation {LEDGER_ANNOTATION} has version {0}, this program knows {VERSION}")]
    Version(u32),
    /// It names something that cannot be a `LogSidecar`, and would lead a request elsewhere.
    #[error("the annotation {LEDGER_ANNOTATION} is not readable")]
    Name(#[source] ObjectNameError),
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(workload: Option<&str>) -> Self {
        Self { version: VERSION, workload: workload.map(str::to_owned), sidecars: Vec::new(), blank: BTreeMap::new() }
    }

    /// The ledger that a policy writes.
    #[must_use]
    pub fn of_policy(sidecar: &str, renderer: u32) -> Self {
        let entry = Entry {
            name: sidecar.to_owned(),
            uid: None,
            origin: Origin::Policy,
            renderer,
            revision: None,
            previous: None,
            before: Before::Well,
            items: BTreeMap::new(),
        };
        Self { sidecars: vec![entry], ..Self::new(None) }
    }

    /// Reads the annotation.
    pub fn parse(text: &str) -> Result<Self, ParseLedgerError> {
        let mut ledger: Self = serde_json::from_str(text).map_err(ParseLedgerError::Shape)?;
        if ledger.version != VERSION {
            return Err(ParseLedgerError::Version(ledger.version));
        }
        for entry in &ledger.sidecars {
            entry.name.parse::<ObjectName>().map_err(ParseLedgerError::Name)?;
        }
        for entry in ledger.sidecars.iter_mut().filter(|entry| entry.origin == Origin::Policy) {
            // A policy writes neither uid nor items: ignore forged ones.
            (entry.uid, entry.items) = (None, BTreeMap::new());
        }
        ledger.drop_twins();
        // These values are written back into the workload: a forged ledger must not inject anything by them.
        ledger.blank.retain(|path, value| match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty() && path != BLANK_ANNOTATIONS,
            Value::Object(map) => map.is_empty() && path == BLANK_ANNOTATIONS,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        });
        Ok(ledger)
    }

    /// The annotation, or nothing where nothing is in the workload.
    ///
    /// # Panics
    /// Never: a ledger is made of strings.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        (!self.sidecars.is_empty()).then(|| serde_json::to_string(self).expect("strings are JSON"))
    }

    /// The entry of a `LogSidecar`: by uid where both have one, else by name.
    #[must_use]
    pub fn entry(&self, name: &str, uid: Option<&str>) -> Option<&Entry> {
        self.sidecars.iter().find(|entry| entry.is_of(name, uid))
    }

    /// Whether the ledger came from another workload.
    #[must_use]
    pub fn is_foreign(&self, workload: Option<&str>) -> bool {
        matches!((self.workload.as_deref(), workload), (Some(ours), Some(theirs)) if ours != theirs)
    }

    /// The ledger as it applies to a workload. If the workload is a copy of another, all entries count as parts of its manifest.
    #[must_use]
    pub fn seen_from(&self, workload: Option<&str>) -> Self {
        let mut seen = self.clone();
        if self.is_foreign(workload) {
            seen.workload = None;
            for entry in &mut seen.sidecars {
                (entry.uid, entry.origin) = (None, Origin::File);
            }
            seen.drop_twins();
        }
        seen
    }

    /// Keeps the first of several entries that match the same `LogSidecar`.
    fn drop_twins(&mut self) {
        for entry in std::mem::take(&mut self.sidecars) {
            if self.entry(&entry.name, entry.uid.as_deref()).is_none() {
                self.sidecars.push(entry);
            }
        }
    }
}

/// The ledger annotation of a stored workload: checked and summed up once, when the workload is observed, and parsed in full where a
/// plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLedger {
    text: Box<str>,
    /// The entries as they count for the workload; an error where the text is not a ledger.
    entries: Result<Box<[EntrySummary]>, Box<str>>,
}

/// One entry of a ledger, without its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// See [`Entry::name`].
    pub name: Box<str>,
    /// See [`Entry::uid`].
    pub uid: Option<Box<str>>,
    /// See [`Entry::origin`].
    pub origin: Origin,
    /// See [`Entry::revision`].
    pub revision: Option<Box<str>>,
    /// See [`Entry::previous`].
    pub previous: Option<Box<str>>,
    /// See [`Entry::before`].
    pub before: Before,
    /// The names of the containers among its items.
    pub containers: Box<[Box<str>]>,
}

impl StoredLedger {
    /// Reads the annotation of the workload with this uid.
    #[must_use]
    pub fn read(text: &str, workload: &str) -> Self {
        let summarise = |ledger: Ledger| ledger.seen_from(Some(workload)).sidecars.iter().map(EntrySummary::of).collect();
        let entries = Ledger::parse(text).map(summarise).map_err(|error| error.to_string().into());
        Self { text: text.into(), entries }
    }

    /// The text of the annotation.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole ledger as it is written; an error, for users, where it cannot be read.
    pub fn parse(&self) -> Result<Ledger, ParseLedgerError> {
        Ledger::parse(&self.text)
    }

    /// Whether the text is a ledger.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.entries.is_ok()
    }

    /// The entries as they count for the workload; none where the text cannot be read.
    #[must_use]
    pub fn entries(&self) -> &[EntrySummary] {
        self.entries.as_deref().unwrap_or_default()
    }

    /// The entry of a `LogSidecar`.
    #[must_use]
    pub fn entry(&self, name: &str, uid: &str) -> Option<&EntrySummary> {
        self.entries().iter().find(|entry| &*entry.name == name && entry.uid.as_deref().is_none_or(|ours| ours == uid))
    }

    /// Whether the text names this uid, whether or not it can be read.
    #[must_use]
    pub fn mentions(&self, uid: &str) -> bool {
        self.text.contains(uid)
    }
}

impl EntrySummary {
    fn of(entry: &Entry) -> Self {
        let boxed = |text: &Option<String>| text.as_deref().map(Into::into);
        let containers = entry.items.keys().filter_map(|key| key.container().map(Into::into));
        Self {
            name: entry.name.as_str().into(),
            uid: boxed(&entry.uid),
            origin: entry.origin,
            revision: boxed(&entry.revision),
            previous: boxed(&entry.previous),
            before: entry.before,
            containers: containers.collect(),
        }
    }
}

impl Entry {
    /// Whether this is the entry of that `LogSidecar`: one that was deleted and made anew has another uid.
    #[must_use]
    pub fn is_of(&self, name: &str, uid: Option<&str>) -> bool {
        self.name == name && !matches!((self.uid.as_deref(), uid), (Some(ours), Some(theirs)) if ours != theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name from a ledger becomes a part of the path of a request.
    #[test]
    fn ledger_that_names_no_object_is_not_read() {
        let ledger = |name: &str| {
            let entry = serde_json::json!({"name": name, "uid": "u", "origin": "controller", "renderer": 1, "items": {}});
            Ledger::parse(&serde_json::json!({"version": VERSION, "sidecars": [entry]}).to_string())
        };
        assert!(ledger("ship").is_ok());
        for bad in ["../../secrets/x", "ship/status", "ship?dryRun=All", ""] {
            assert!(matches!(ledger(bad), Err(ParseLedgerError::Name(_))), "{bad}");
        }
    }
}
