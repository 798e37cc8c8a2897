//! The objects of manifests, sorted by what a command does with them. All are checked before anything is done.

use serde_json::Value;

use super::{
    exit::Failure,
    files::{self, FileArguments},
};
use crate::{
    api::LogSidecar,
    manifest::Document,
    plan::{ConfigMap, ResolvedSpec},
    shipper::Images,
    validate::{self, Problem},
    workload::kind::{Kind, Kinds},
};

/// The location of an object: a document, or an item of a `List` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The index of the document.
    pub document: usize,
    /// The object in the document, as a JSON pointer.
    pub pointer: String,
}

/// All manifests of a command.
#[derive(Debug)]
pub(super) struct Input {
    pub documents: Vec<Document>,
    /// The LogSidecars.
    pub sidecars: Vec<(Location, LogSidecar)>,
    /// The objects with a pod template.
    pub workloads: Vec<(Location, Kind)>,
    /// The ConfigMaps that `inject` made earlier.
    pub configs: Vec<Location>,
    pub kinds: Kinds,
    namespace: String,
}

impl Input {
    /// Reads and checks all files. The failure lists every problem in all of them.
    pub fn read(arguments: &FileArguments) -> Result<Self, Failure> {
        Self::from_documents(files::read(&arguments.filenames)?, &arguments.namespace, arguments.kinds.clone().into())
    }

    /// Checks documents that have been read already.
    pub fn from_documents(documents: Vec<Document>, namespace: &str, kinds: Kinds) -> Result<Self, Failure> {
        let mut input = Self {
            documents,
            sidecars: Vec::new(),
            workloads: Vec::new(),
            configs: Vec::new(),
            kinds,
            namespace: namespace.to_owned(),
        };
        let mut problems = Vec::new();
        for document in 0..input.documents.len() {
            let root = Location { document, pointer: String::new() };
            // A document of comments.
            if !input.object(&root).is_null() {
                input.add(&root, &mut problems);
            }
        }
        problems.extend(input.duplicates());
        Failure::unless_empty(problems)?;
        Ok(input)
    }

    /// Resolves the spec of every `LogSidecar`, with these images.
    pub fn resolve(&self, images: &Images) -> Vec<(&Location, ResolvedSpec)> {
        let name = |sidecar: &LogSidecar| sidecar.metadata.name.clone().unwrap_or_default();
        let resolve = |sidecar: &LogSidecar| ResolvedSpec::new(&name(sidecar), sidecar.spec.clone(), images);
        self.sidecars.iter().map(|(location, sidecar)| (location, resolve(sidecar))).collect()
    }

    pub fn object(&self, location: &Location) -> &Value {
        self.documents[location.document].value.pointer(&location.pointer).unwrap_or(&Value::Null)
    }

    /// Returns the namespace of an object as `kubectl apply` would see it.
    pub fn namespace<'a>(&'a self, object: &'a Value) -> &'a str {
        let named = object.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
        named.unwrap_or(&self.namespace)
    }

    /// Returns `file:line: Kind namespace/name` for messages about a field, given as a JSON pointer below the object.
    pub fn title(&self, location: &Location, field: &str) -> String {
        let object = self.object(location);
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or("object");
        let name = object.pointer("/metadata/name").and_then(Value::as_str).filter(|name| !name.is_empty());
        format!("{}: {kind} {}/{}", self.line(location, field), self.namespace(object), name.unwrap_or("(no name)"))
    }

    /// Returns `file:line` of a field.
    fn line(&self, location: &Location, field: &str) -> String {
        let document = &self.documents[location.document];
        format!("{}:{}", document.file, document.line(&format!("{}{field}", location.pointer)))
    }

    /// Adds an object, or every item of a list.
    fn add(&mut self, location: &Location, problems: &mut Vec<String>) {
        let object = self.object(location);
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, version) = (text("kind"), text("apiVersion"));
        if kind.is_empty() || version.is_empty() {
            let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
            let found = if object.is_object() { "an object" } else { "a document" };
            problems.push(format!(
                "{}: {found} without {missing}: every Kubernetes object has apiVersion and kind, as text",
                self.line(location, &format!("/{missing}"))
            ));
        } else if kind.ends_with("List") && object.get("items").is_some() {
            self.add_items(location, problems);
        } else if kind == "LogSidecar" || version.starts_with("logsidecar.dev/") {
            self.add_sidecar(location, problems);
        } else if let Some(kind) = self.kinds.of(object) {
            let found = validate::workload(kind, object);
            problems.extend(self.messages(location, &found));
            self.workloads.push((location.clone(), kind));
        } else if ConfigMap::is_ours(object) {
            self.configs.push(location.clone());
        }
    }

    fn add_items(&mut self, location: &Location, problems: &mut Vec<String>) {
        let items = &self.object(location)["items"];
        let Some(items) = items.as_array() else {
            let kind = if items.is_object() { "an object" } else { "a scalar" };
            problems.push(format!("{}: items: must be an array, not {kind}", self.title(location, "/items")));
            return;
        };
        for index in 0..items.len() {
            let pointer = format!("{}/items/{index}", location.pointer);
            self.add(&Location { document: location.document, pointer }, problems);
        }
    }

    fn add_sidecar(&mut self, location: &Location, problems: &mut Vec<String>) {
        let object = self.object(location);
        let found = validate::log_sidecar(object);
        problems.extend(self.messages(location, &found));
        if !found.is_empty() {
            return;
        }
        match serde_json::from_value(validate::without_nulls(object)) {
            Ok(sidecar) => self.sidecars.push((location.clone(), sidecar)),
            Err(error) => problems.push(format!("{}: {error}", self.title(location, ""))),
        }
    }

    fn messages(&self, location: &Location, problems: &[Problem]) -> Vec<String> {
        let message =
            |problem: &Problem| format!("{}: {}: {}", self.title(location, &problem.pointer), problem.field(), problem.message);
        problems.iter().map(message).collect()
    }

    /// Returns a problem for each `LogSidecar` that is given twice: a cluster would keep only one of them.
    fn duplicates(&self) -> Vec<String> {
        let name = |location: &Location| {
            let object = self.object(location);
            (self.namespace(object).to_owned(), object.pointer("/metadata/name").cloned())
        };
        let locations: Vec<&Location> = self.sidecars.iter().map(|(location, _)| location).collect();
        let duplicates = locations.iter().enumerate().filter_map(|(index, location)| {
            let first = locations[..index].iter().find(|first| name(first) == name(location))?;
            Some(format!("{}: given twice: also at {}", self.title(location, ""), self.title(first, "")))
        });
        duplicates.collect()
    }
}
