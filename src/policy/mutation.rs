//! What a policy puts in: variables, and one JSON patch that uses them.
//!
//! Lists are filled one item after the other: a JSON patch with a list of objects of the type `Object` makes the handler of
//! Kubernetes 1.35 panic, and one with a list of plain maps would replace what is there.

use serde_json::{Value, json};

use super::{cel::string, conditions::PolicyContext};
use crate::{api::LEDGER_ANNOTATION, workload::key::Key};

/// A variable: its name and its expression.
type Variable = (String, String);

impl PolicyContext<'_> {
    /// The variables that `expression` needs, each after what it needs itself.
    pub fn variables(&self, expression: &str) -> Vec<Value> {
        let mut needed: Vec<Variable> = Vec::new();
        for (name, value) in self.all_variables().into_iter().rev() {
            let used = format!("variables.{name}");
            let is_used =
                |text: &str| text.split(&used).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
            if is_used(expression) || needed.iter().any(|(_, value)| is_used(value)) {
                needed.push((name, value));
            }
        }
        needed.into_iter().rev().map(|(name, expression)| json!({"name": name, "expression": expression})).collect()
    }

    fn all_variables(&self) -> Vec<Variable> {
        let placeholders = &self.sketch.placeholders;
        let context =
            |field: &str| format!("variables.writer0.?securityContext.?{field}.or(variables.pod.?securityContext.?{field})");
        let mut all = vec![
            ("pod".to_owned(), format!("{}.spec", self.place.template)),
            ("initContainers".to_owned(), "variables.pod.?initContainers.orValue([])".to_owned()),
            ("container".to_owned(), self.place.unnamed()),
        ];
        for (index, writer) in placeholders.writers(self.spec).into_iter().enumerate() {
            let name = if placeholders.container() == Some(writer) { "variables.container".to_owned() } else { string(writer) };
            let of = |list: &str| format!("variables.{list}.map(c, c.name).indexOf({name})");
            all.push((
                format!("writer{index}"),
                format!("(variables.pod.containers + variables.initContainers).filter(c, c.name == {name})[0]"),
            ));
            if placeholders.container() == Some(writer) {
                // It is one of the pod's applications.
                let path = string(&format!("{}/containers/", self.place.pointer));
                all.push((format!("path{index}"), format!("{path} + string({})", of("pod.containers"))));
                continue;
            }
            all.push((
                format!("path{index}"),
                format!(
                    "variables.pod.containers.exists(c, c.name == {name})\n  ? {} + string({})\n  : {} + string({})",
                    string(&format!("{}/containers/", self.place.pointer)),
                    of("pod.containers"),
                    string(&format!("{}/initContainers/", self.place.pointer)),
                    of("initContainers"),
                ),
            ));
        }
        all.extend([
            ("user".to_owned(), context("runAsUser")),
            ("group".to_owned(), context("runAsGroup")),
            ("mustNotBeRoot".to_owned(), format!("{}.orValue(false)", context("runAsNonRoot"))),
            // The pod forbids it, and its container is excepted.
            (
                "isExcepted".to_owned(),
                "!variables.mustNotBeRoot && variables.pod.?securityContext.?runAsNonRoot.orValue(false)".to_owned(),
            ),
        ]);
        all
    }

    /// The patch, as an expression.
    pub fn patch(&self) -> String {
        let mut filled: Vec<String> = Vec::new();
        let mut steps: Vec<String> = Vec::new();
        for (key, item) in self.sketch.items() {
            let (holder, at) = self.holder(key);
            let list = format!("{holder}.{}", key.list_name());
            let path = |end: &str| at.join(&format!("/{}{end}", key.list_name()));
            if !filled.contains(&list) {
                steps.push(format!("(has({list}) ? [] : [{}])", step(&path(""), "[]")));
                filled.push(list);
            }
            steps.push(format!("[{}]", step(&path("/-"), &item.write(0))));
        }
        steps.extend(self.annotation());
        steps.join(" +\n")
    }

    /// The object that the list of an item is in, and its path.
    fn holder(&self, key: &Key) -> (String, Path) {
        match key {
            Key::Mount { container, .. } => {
                let writers = self.sketch.placeholders.writers(self.spec);
                let index = writers.iter().position(|writer| writer == container).unwrap_or_default();
                (format!("variables.writer{index}"), Path::Code(format!("variables.path{index}")))
            }
            Key::InitContainer(_) | Key::Container(_) | Key::Volume(_) => {
                ("variables.pod".to_owned(), Path::Text(self.place.pointer.clone()))
            }
        }
    }

    /// The entry in the ledger: the first policy writes it, those after it add to it.
    fn annotation(&self) -> [String; 2] {
        let annotation = string(LEDGER_ANNOTATION);
        let path = format!("/metadata/annotations/{}", LEDGER_ANNOTATION.replace('~', "~0").replace('/', "~1"));
        let (_, tail) = self.sketch.frame();
        let there = format!("object.metadata.annotations[{annotation}]");
        let value = format!(
            "{annotation} in object.metadata.?annotations.orValue({{}})\n  ? {there}.substring(0, {there}.size() - {}) + {}\n  : {}",
            tail.len(),
            string(&format!(",{}{tail}", self.sketch.entry)),
            string(self.sketch.ledger()),
        );
        [
            format!("(has(object.metadata.annotations) ? [] : [{}])", step("\"/metadata/annotations\"", "{}")),
            format!("[{}]", step(&string(&path), &value)),
        ]
    }
}

/// A path in an object: known, or an expression.
enum Path {
    Text(String),
    Code(String),
}

impl Path {
    fn join(&self, rest: &str) -> String {
        match self {
            Self::Text(text) => string(&format!("{text}{rest}")),
            Self::Code(code) => format!("{code} + {}", string(rest)),
        }
    }
}

fn step(path: &str, value: &str) -> String {
    format!("JSONPatch{{op: \"add\", path: {path}, value: {value}}}")
}
