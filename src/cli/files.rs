//! Manifests from files, directories and standard input, read and checked as a whole before anything is done.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;

use super::{Failure, Files};
use crate::{
    api::LogSidecar,
    manifest::{self, Document},
    plan::{ConfigMap, ResolvedSpec},
    shipper::Images,
    validate,
    workload::kind::{Kind, Kinds},
};

/// Where an object is: a document, or an item of a `List` in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The index of the document.
    pub document: usize,
    /// The object in the document, as a JSON pointer.
    pub pointer: String,
}

/// Everything that was read.
#[derive(Debug)]
pub(super) struct Input {
    pub documents: Vec<Document>,
    /// The LogSidecars.
    pub sidecars: Vec<(Place, LogSidecar)>,
    /// The objects with a pod template.
    pub workloads: Vec<(Place, Kind)>,
    /// The ConfigMaps that `inject` has made earlier.
    pub configs: Vec<Place>,
    pub kinds: Kinds,
    namespace: String,
}

impl Input {
    /// Reads and checks all files; the failure lists every problem in all of them.
    pub fn read(files: &Files) -> Result<Self, Failure> {
        Self::of(documents(&files.filenames)?, &files.namespace, files.kinds.clone().into())
    }

    /// Checks documents that have been read already.
    pub fn of(documents: Vec<Document>, namespace: &str, kinds: Kinds) -> Result<Self, Failure> {
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
            input.sort_in(&Place { document, pointer: String::new() }, &mut problems);
        }
        input.find_twins(&mut problems);
        if problems.is_empty() { Ok(input) } else { Err(Failure::Input(problems)) }
    }

    /// The LogSidecars with everything that follows from them, each with its place.
    pub fn resolve(&self, images: &Images) -> Vec<(&Place, ResolvedSpec)> {
        let name = |sidecar: &LogSidecar| sidecar.metadata.name.clone().unwrap_or_default();
        let resolve = |sidecar: &LogSidecar| ResolvedSpec::new(&name(sidecar), sidecar.spec.clone(), images);
        self.sidecars.iter().map(|(place, sidecar)| (place, resolve(sidecar))).collect()
    }

    pub fn object(&self, place: &Place) -> &Value {
        self.documents[place.document].value.pointer(&place.pointer).unwrap_or(&Value::Null)
    }

    /// The namespace of an object, as `kubectl apply` would see it.
    pub fn namespace<'a>(&'a self, object: &'a Value) -> &'a str {
        let named = object.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
        named.unwrap_or(&self.namespace)
    }

    /// `file:line: Kind namespace/name`, for messages.
    pub fn title(&self, place: &Place, field: &str) -> String {
        let document = &self.documents[place.document];
        let object = self.object(place);
        let line = document.line(&format!("{}{field}", place.pointer));
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or("object");
        let name = object.pointer("/metadata/name").and_then(Value::as_str).filter(|name| !name.is_empty());
        format!("{}:{line}: {kind} {}/{}", document.file, self.namespace(object), name.unwrap_or("(no name)"))
    }

    fn sort_in(&mut self, place: &Place, problems: &mut Vec<String>) {
        let object = self.object(place);
        if object.is_null() && place.pointer.is_empty() {
            return;
        }
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if kind.is_empty() || version.is_empty() {
            let document = &self.documents[place.document];
            let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
            let found = if object.is_object() { "an object" } else { "a document" };
            let line = document.line(&format!("{}/{missing}", place.pointer));
            problems.push(format!(
                "{}:{line}: {found} without {missing}: every Kubernetes object has apiVersion and kind, as text",
                document.file
            ));
            return;
        }
        if let (true, Some(items)) = (kind.ends_with("List"), object.get("items")) {
            let Some(items) = items.as_array() else {
                let kind = if items.is_object() { "an object" } else { "a scalar" };
                problems.push(format!("{}: items: must be an array, not {kind}", self.title(place, "/items")));
                return;
            };
            for index in 0..items.len() {
                let pointer = format!("{}/items/{index}", place.pointer);
                self.sort_in(&Place { document: place.document, pointer }, problems);
            }
            return;
        }
        let found = if kind == "LogSidecar" || version.starts_with("logsidecar.dev/") {
            let found = validate::log_sidecar(object);
            if found.is_empty() {
                match serde_json::from_value(validate::without_nulls(object)) {
                    Ok(sidecar) => self.sidecars.push((place.clone(), sidecar)),
                    Err(error) => problems.push(format!("{}: {error}", self.title(place, ""))),
                }
            }
            found
        } else if let Some(kind) = self.kinds.of(object) {
            let found = validate::workload(kind, object);
            self.workloads.push((place.clone(), kind));
            found
        } else {
            if ConfigMap::is_ours(object) {
                self.configs.push(place.clone());
            }
            Vec::new()
        };
        problems.extend(
            found
                .iter()
                .map(|problem| format!("{}: {}: {}", self.title(place, &problem.pointer), problem.field(), problem.message)),
        );
    }

    /// An object that is given twice, as a cluster would keep only one of them.
    fn find_twins(&self, problems: &mut Vec<String>) {
        let places: Vec<&Place> = self.sidecars.iter().map(|(place, _)| place).collect();
        for (index, place) in places.iter().enumerate() {
            let name = |place: &Place| {
                let object = self.object(place);
                (self.namespace(object).to_owned(), object.pointer("/metadata/name").cloned())
            };
            if let Some(twin) = places[..index].iter().find(|twin| name(twin) == name(place)) {
                problems.push(format!("{}: given twice: also at {}", self.title(place, ""), self.title(twin, "")));
            }
        }
    }
}

pub(super) fn documents(filenames: &[String]) -> Result<Vec<Document>, Failure> {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for filename in filenames {
        match paths(filename) {
            Ok(paths) => {
                for path in paths {
                    match contents(&path) {
                        Ok(bytes) => match manifest::read(&path, &bytes) {
                            Ok(read) => documents.extend(read),
                            Err(error) => problems.push(error.to_string()),
                        },
                        Err(error) => problems.push(format!("{path}: cannot read: {error}")),
                    }
                }
            }
            Err(error) => problems.push(format!("{filename}: cannot read: {error}")),
        }
    }
    if problems.is_empty() { Ok(documents) } else { Err(Failure::Input(problems)) }
}

/// The manifests that a name stands for: itself, or those in the directory of that name.
fn paths(filename: &str) -> io::Result<Vec<String>> {
    if filename == "-" || !Path::new(filename).is_dir() {
        return Ok(vec![filename.to_owned()]);
    }
    let mut files: Vec<_> = fs::read_dir(filename)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"));
    files.sort();
    if files.is_empty() {
        return Err(io::Error::other("the directory has no .yaml, .yml or .json file"));
    }
    Ok(files.into_iter().map(|path| path.display().to_string()).collect())
}

fn contents(path: &str) -> io::Result<Vec<u8>> {
    if path == "-" { limited(io::stdin().lock()) } else { limited(fs::File::open(path)?) }
}

/// One byte more than the limit is enough to see that it is exceeded.
fn limited(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(manifest::LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
