//! The items that the planner puts into every template stub, with placeholders.

use serde_json::Value;

use super::{
    Error,
    cel::{Cel, pattern},
    merge_cases::merge_cases,
    template_stub::{Placeholders, TemplateCase},
};
use crate::{
    api::{Log, LogSidecarSpec},
    plan::{Items, RENDERER, ResolvedSpec, Warning, contribution},
    shipper::Images,
    workload::{key::Key, kind::Kind, ledger::Ledger},
};

/// The items of all cases.
#[derive(Debug)]
pub(super) struct Sketch {
    pub placeholders: Placeholders,
    /// The items of the first case: the others have the same keys.
    items: Items,
    cases: Vec<(TemplateCase, Items)>,
    pub warnings: Vec<Warning>,
    /// The entry in the ledger.
    pub entry: String,
    ledger: String,
}

impl Sketch {
    /// Asks the planner.
    pub fn new(resolved: &ResolvedSpec, kind: Kind, images: &Images) -> Result<Self, Error> {
        let (name, spec) = (resolved.name(), resolved.spec());
        let text = serde_json::to_string(spec).unwrap_or_default();
        let plain = planned(resolved, kind, &Placeholders::new(spec, &[&text], 0))?;
        let plain = plain.iter().flat_map(|(_, items, _)| items).map(|(_, item)| item.to_string()).collect::<String>();
        let placeholders = Placeholders::new(spec, &[&text, name, &plain], 10);
        let cases = planned(resolved, kind, &placeholders)?;
        let other = Placeholders::new(spec, &[&text, name, &plain, placeholders.container().unwrap_or_default()], 50);
        let culprit = |log: &&Log| {
            let alone = LogSidecarSpec { logs: vec![(*log).clone()], ..spec.clone() };
            log.container.is_none() && !is_the_same(&ResolvedSpec::new(name, alone, images), kind, [&placeholders, &other])
        };
        if let Some(log) = spec.logs.iter().find(culprit) {
            return Err(Error::VolumeName { log: log.name.clone() });
        }
        let marker = Ledger::of_policy(name, RENDERER);
        let entry = marker.sidecars.first().and_then(|entry| serde_json::to_string(entry).ok()).unwrap_or_default();
        let (items, warnings) = cases.first().map(|(_, items, warnings)| (items.clone(), warnings.clone())).unwrap_or_default();
        let cases = cases.into_iter().map(|(case, items, _)| (case, items)).collect();
        Ok(Self { placeholders, items, cases, warnings, entry, ledger: marker.text().unwrap_or_default() })
    }

    /// Every item with the expression that makes it, in the order in which they are to be put.
    pub fn items(&self) -> impl Iterator<Item = (&Key, Cel)> {
        self.items.iter().map(|(key, _)| {
            let values: Vec<(TemplateCase, &Value)> =
                self.cases.iter().filter_map(|(case, items)| Some((*case, find(items, key)?))).collect();
            (key, merge_cases(&values, &self.placeholders))
        })
    }

    /// A regular expression for a ledger that policies alone have written.
    pub fn ledger_of_policies() -> String {
        let any = Ledger::of_policy("@", RENDERER);
        let entry = any.sidecars.first().and_then(|entry| serde_json::to_string(entry).ok()).unwrap_or_default();
        let ledger = any.text().unwrap_or_default();
        let (head, tail) = ledger.split_once(&entry).unwrap_or_default();
        let entry = pattern(&entry).replace('@', "[a-z0-9-]+");
        // That of another policy may be of another version of this program.
        let entry = match entry.split_once("\"renderer\":") {
            Some((before, after)) => {
                format!("{before}\"renderer\":[0-9]+{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => entry,
        };
        format!("^{}{entry}(,{entry})*{}$", pattern(head), pattern(tail))
    }

    /// What is before and after the entries of a ledger.
    pub fn frame(&self) -> (&str, &str) {
        self.ledger.split_once(&self.entry).unwrap_or_default()
    }

    /// The whole ledger.
    pub fn ledger(&self) -> &str {
        &self.ledger
    }

    /// The name of the sidecar container.
    pub fn container(&self) -> &str {
        self.items.iter().find_map(|(key, _)| key.container()).unwrap_or_default()
    }

    /// The names of new volumes, with a placeholder where they are named after the container.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|(key, _)| match key {
            Key::Volume(name) => Some(name.as_str()),
            Key::InitContainer(_) | Key::Container(_) | Key::Mount { .. } => None,
        })
    }

    /// The sidecar container.
    fn sidecar(&self) -> Option<&Value> {
        self.items.iter().find(|(key, _)| key.container().is_some()).map(|(_, item)| item)
    }

    /// The names of the volumes that the sidecar mounts.
    pub fn mounted(&self) -> impl Iterator<Item = &str> {
        let sidecar = self.sidecar();
        let lists = ["volumeMounts", "volumeDevices"].into_iter().filter_map(move |list| sidecar?.get(list)?.as_array());
        lists.flatten().filter_map(|mount| mount.get("name")?.as_str())
    }

    /// The ports of the sidecar.
    pub fn ports(&self) -> impl Iterator<Item = &Value> {
        self.sidecar().and_then(|sidecar| sidecar.get("ports")?.as_array()).into_iter().flatten()
    }

    /// For how many seconds the sidecar waits before it ends.
    pub fn pause_before_the_end(&self) -> Option<u64> {
        self.sidecar()?.pointer("/lifecycle/preStop/sleep/seconds")?.as_u64()
    }

    /// Whether the sidecar has a security context.
    pub fn has_security_context(&self) -> bool {
        self.sidecar().is_some_and(|sidecar| sidecar.get("securityContext").is_some())
    }
}

type PlannedCases = Vec<(TemplateCase, Items, Vec<Warning>)>;

fn planned(spec: &ResolvedSpec, kind: Kind, placeholders: &Placeholders) -> Result<PlannedCases, Error> {
    let case = |case: TemplateCase| {
        let (items, warnings) =
            contribution(&placeholders.pod(spec.spec(), case), spec, kind).map_err(|refusal| Error::Refused { refusal })?;
        Ok((case, items, warnings))
    };
    TemplateCase::all().into_iter().map(case).collect()
}

/// Whether nothing but the name itself depends on the name of the container: what is made from it by a digest cannot be made by
/// an expression.
fn is_the_same(spec: &ResolvedSpec, kind: Kind, placeholders: [&Placeholders; 2]) -> bool {
    let text = |placeholders: &Placeholders| {
        let planned = planned(spec, kind, placeholders).unwrap_or_default();
        let items = planned.into_iter().flat_map(|(_, items, _)| items);
        let text: String = items.map(|(key, item)| format!("{key} {item}\n")).collect();
        placeholders.readable(&text)
    };
    text(placeholders[0]) == text(placeholders[1])
}

fn find<'a>(items: &'a Items, key: &Key) -> Option<&'a Value> {
    items.iter().find(|(other, _)| other == key).map(|(_, item)| item)
}
