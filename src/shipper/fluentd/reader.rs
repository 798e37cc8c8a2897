//! Reads a config as Fluentd's `v1_parser.rb` and `literal_parser.rb` do, but with no patience for what is not clearly meant.

use serde_json::Value;

/// A section.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Element {
    pub name: String,
    pub argument: String,
    pub parameters: Vec<(String, Read)>,
    pub elements: Vec<Element>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Read {
    Text(String),
    /// JSON; programs in it stand there as `ruby:…`.
    Json(Value),
    /// A program.
    Ruby(String),
}

impl Element {
    /// The value of `section/section/key`, where a section is written as its name, or as `name argument`.
    pub fn at(&self, path: &str) -> Option<&Read> {
        let mut element = self;
        let mut path: Vec<&str> = path.split('/').collect();
        let key = path.pop()?;
        for step in path {
            element = element
                .elements
                .iter()
                .find(|found| found.name == step || format!("{} {}", found.name, found.argument) == step)?;
        }
        element.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// All parameters below it, with where they are.
    pub fn all(&self) -> Vec<(String, Read)> {
        let own = self.parameters.iter().cloned();
        let path = |element: &Self, key: &str| format!("{} {}/{key}", element.name, element.argument);
        let below = self
            .elements
            .iter()
            .flat_map(|element| element.all().into_iter().map(move |(key, value)| (path(element, &key), value)));
        own.chain(below).collect()
    }
}

pub(super) fn read(text: &str) -> Element {
    let mut open = vec![Element::default()];
    for line in text.split('\n').map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("</") {
            let closed = open.pop().expect("an open section");
            assert_eq!(format!("{}>", closed.name), name);
            open.last_mut().expect("a parent").elements.push(closed);
        } else if let Some(head) = line.strip_prefix('<') {
            let head = head.strip_suffix('>').expect("a head in one line");
            assert!(!head.contains(['\'', '"', '#']), "{head}");
            let (name, argument) = head.split_once(' ').unwrap_or((head, ""));
            open.push(Element { name: name.to_owned(), argument: argument.to_owned(), ..Element::default() });
        } else {
            let (key, rest) = if line.starts_with('\'') { single(line) } else { bare(line) };
            assert_ne!(key, "@include");
            let rest = rest.strip_prefix(' ').expect("a space before the value");
            open.last_mut().expect("a section").parameters.push((key, value(rest)));
        }
    }
    assert_eq!(open.len(), 1, "all sections are closed");
    open.pop().expect("the root")
}

fn bare(line: &str) -> (String, &str) {
    let end = line.find(' ').expect("a value");
    (line[..end].to_owned(), &line[end..])
}

fn single(line: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = &line[1..];
    loop {
        if let Some(after) = rest.strip_prefix('\'') {
            return (text, after);
        }
        for (written, meant) in [("\\'", '\''), ("\\\\", '\\')] {
            if let Some(after) = rest.strip_prefix(written) {
                text.push(meant);
                rest = after;
                break;
            }
        }
        if rest.starts_with('\'') || rest.starts_with("\\\\") || rest.starts_with("\\'") {
            continue;
        }
        let c = rest.chars().next().expect("the end of a quoted text");
        text.push(c);
        rest = &rest[c.len_utf8()..];
    }
}

fn value(rest: &str) -> Read {
    if rest.starts_with('\'') {
        let (text, after) = single(rest);
        assert_eq!(after, "", "nothing after a quoted text");
        return Read::Text(text);
    }
    if let Some(inner) = rest.strip_prefix('"') {
        return Read::Ruby(inner.strip_suffix('"').expect("a closing quote").to_owned());
    }
    if rest.starts_with(['{', '[']) {
        let mut json = String::new();
        let mut rest = rest;
        while let Some((before, program)) = rest.split_once('#') {
            let (program, after) = program.strip_prefix('{').and_then(|program| program.split_once('}')).expect("a program");
            json.push_str(before);
            json.push_str(&Value::from(format!("ruby:{program}")).to_string());
            rest = after;
        }
        json.push_str(rest);
        return Read::Json(serde_json::from_str(&json).expect(&json));
    }
    assert!(!rest.contains(['#', '\'', '"', '\\']), "{rest}");
    Read::Text(rest.to_owned())
}
