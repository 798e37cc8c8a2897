//! Stubs of pod templates for all cases that a policy has to tell apart. The planner plans them, and the policy does the same, with
//! placeholders for what only the API server knows. So the two cannot drift apart.

use serde_json::{Number, Value, json};

use super::conditions::existing;
use crate::api::LogSidecarSpec;

/// Values in the stubs that stand for values which only the API server knows.
#[derive(Clone, Debug)]
pub(super) struct Placeholders {
    container: Option<String>,
    user: i64,
    group: i64,
}

impl Placeholders {
    /// Placeholders that cannot be mistaken for anything in `texts`.
    ///
    /// The name is as short as can be, as volumes are named after it; `number` makes others of the same kind.
    pub fn new(spec: &LogSidecarSpec, texts: &[&str], number: usize) -> Self {
        let is_new = |text: &String| texts.iter().all(|known| !known.contains(text.as_str()));
        let unnamed = spec.logs.iter().any(|log| log.container.is_none());
        let container = unnamed.then(|| (number..usize::MAX).map(|n| format!("q{n}q")).find(is_new)).flatten();
        let mut numbers = (4_242_424_242..i64::MAX).filter(|number| is_new(&number.to_string()));
        let (user, group) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        Self { container, user, group }
    }

    /// What stands for the name of the container that no entry of `logs` names.
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// Replaces placeholders in a text for people.
    pub fn readable(&self, text: &str) -> String {
        self.container.as_ref().map_or_else(|| text.to_owned(), |placeholder| text.replace(placeholder, "CONTAINER"))
    }

    /// The expression for a number that stands for another.
    pub fn number(&self, number: &Number) -> Option<String> {
        let variable = match number.as_i64()? {
            number if number == self.user => "user",
            number if number == self.group => "group",
            _ => return None,
        };
        Some(format!("variables.{variable}.value()"))
    }

    /// The containers that write files, the one that nobody names by its placeholder, each once; that of the first entry first.
    pub fn writers<'a>(&'a self, spec: &'a LogSidecarSpec) -> Vec<&'a str> {
        let mut writers = Vec::new();
        for log in &spec.logs {
            let writer = log.container.as_deref().or(self.container()).unwrap_or_default();
            if !writers.contains(&writer) {
                writers.push(writer);
            }
        }
        writers
    }

    /// The pod of one case, with nothing in it but what the planner needs to find.
    pub fn pod(&self, spec: &LogSidecarSpec, case: TemplateCase) -> Value {
        let writers = self.writers(spec);
        let container = |name: &str| {
            let mut container = json!({"name": name});
            if writers.first() == Some(&name) {
                container["securityContext"] = case.security_context(self);
            }
            container
        };
        // The one that nobody names is the pod's only application.
        let (apps, others): (Vec<&str>, Vec<&str>) =
            writers.iter().partition(|writer| self.container().is_none_or(|placeholder| placeholder == **writer));
        let volumes: Vec<Value> = existing(spec).map(|name| json!({"name": name, "emptyDir": {}})).collect();
        json!({"spec": {
            "securityContext": {"runAsNonRoot": case.root == Root::Excepted},
            "containers": apps.into_iter().map(container).collect::<Vec<_>>(),
            "initContainers": others.into_iter().map(container).collect::<Vec<_>>(),
            "volumes": volumes,
        }})
    }
}

/// What the security context of a shipper depends on, of the container that writes its first files.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TemplateCase {
    user: User,
    has_group: bool,
    root: Root,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum User {
    Unset,
    Root,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Root {
    Allowed,
    Forbidden,
    /// The pod forbids it, and its container is excepted.
    Excepted,
}

/// A question to the API server: the expression, and the answer in each case.
type CaseQuestion = (&'static str, fn(TemplateCase) -> bool);

/// By these all cases can be told apart.
pub(super) const QUESTIONS: [CaseQuestion; 5] = [
    ("variables.user.hasValue()", |case| case.user != User::Unset),
    ("variables.user.orValue(-1) == 0", |case| case.user == User::Root),
    ("variables.group.hasValue()", |case| case.has_group),
    ("variables.mustNotBeRoot", |case| case.root == Root::Forbidden),
    ("variables.isExcepted", |case| case.root == Root::Excepted),
];

impl TemplateCase {
    /// Every case.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for user in [User::Unset, User::Root, User::Other] {
            for has_group in [false, true] {
                for root in [Root::Allowed, Root::Forbidden, Root::Excepted] {
                    all.push(Self { user, has_group, root });
                }
            }
        }
        all
    }

    fn security_context(self, placeholders: &Placeholders) -> Value {
        let mut context = json!({});
        match self.user {
            User::Unset => {}
            User::Root => context["runAsUser"] = 0.into(),
            User::Other => context["runAsUser"] = placeholders.user.into(),
        }
        if self.has_group {
            context["runAsGroup"] = placeholders.group.into();
        }
        match self.root {
            Root::Allowed => {}
            Root::Forbidden => context["runAsNonRoot"] = true.into(),
            Root::Excepted => context["runAsNonRoot"] = false.into(),
        }
        context
    }
}
