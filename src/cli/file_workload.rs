//! A workload in a file, as the planner sees it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::input::{Input, Location};
use crate::{
    api::LEDGER_ANNOTATION,
    plan::{
        self, Claim, Plan, PlanInput,
        object::{embed, ledger_text},
        target::WorkloadLabels,
    },
    workload::{
        kind::Kind,
        ledger::{Before, Ledger, ParseLedgerError},
        owned::Owned,
    },
};

/// A workload of the input.
pub(super) struct FileWorkload<'a> {
    input: &'a Input,
    pub location: &'a Location,
    pub kind: Kind,
    pub object: &'a Value,
    labels: BTreeMap<String, String>,
}

impl<'a> FileWorkload<'a> {
    /// Returns the workload at a location.
    pub fn new(input: &'a Input, location: &'a Location, kind: Kind) -> Self {
        let object = input.object(location);
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Self { input, location, kind, object, labels: labels.collect() }
    }

    /// Returns what the selector of a `LogSidecar` is compared with.
    pub fn labels(&self) -> WorkloadLabels<'_> {
        let metadata = &self.object["metadata"];
        let name = metadata.get("name").or_else(|| metadata.get("generateName")).and_then(Value::as_str);
        WorkloadLabels { kind: self.kind, name: name.unwrap_or_default(), labels: &self.labels }
    }

    /// Parses its ledger; the error is a message for the user.
    pub fn ledger(&self) -> Result<Option<Ledger>, String> {
        let Some(text) = ledger_text(self.object) else { return Ok(None) };
        Ledger::parse(text).map(Some).map_err(|error| {
            let at = format!("/metadata/annotations/{}", LEDGER_ANNOTATION.replace('/', "~1"));
            let remedy = match error {
                ParseLedgerError::Shape(_) | ParseLedgerError::Name(_) => "correct it, or take out by hand what was put in",
                ParseLedgerError::Version(_) => "use a newer logsidecar",
            };
            format!("{}: {error}: {remedy}", self.title(&at))
        })
    }

    /// Plans its template.
    pub fn plan(&self, ledger: Option<&Ledger>, claims: &[Claim<'_>]) -> Plan {
        let template = self.object.pointer(self.kind.template()).unwrap_or(&Value::Null);
        let owned = &Owned::default();
        plan::plan(&PlanInput { uid: None, template, ledger, owned, before: Before::Well, kind: self.kind }, claims)
    }

    /// Returns the workload with a plan carried out.
    pub fn with(&self, plan: Plan) -> Value {
        let mut object = self.object.clone();
        embed(&mut object, self.kind, plan);
        object
    }

    /// Returns `file:line: Kind namespace/name` for messages about a field, given as a JSON pointer.
    pub fn title(&self, field: &str) -> String {
        self.input.title(self.location, field)
    }
}
