//! Fluentd's config format: sections of parameters, one a line.
//!
//! A value in double quotes is a Ruby program, which even `--dry-run` runs; so is `#{…}` in JSON. What a user has written is
//! therefore in single quotes only, where `\'` and `\\` are the only escapes, or in JSON without `#`.

use std::fmt;

use serde_json::Value;

use super::Error;

/// `<name argument>`, its parameters and sections, `</name>`.
#[derive(Debug)]
pub(super) struct Section {
    name: &'static str,
    argument: String,
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Comment(&'static str),
    Parameter(String, String),
    Section(Section),
}

impl Section {
    pub fn new(name: &'static str, argument: impl Into<String>) -> Self {
        Self { name, argument: argument.into(), items: Vec::new() }
    }

    /// Says why.
    pub fn comment(mut self, text: &'static str) -> Self {
        self.items.push(Item::Comment(text));
        self
    }

    /// A parameter whose value is ours, or made by the functions below.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => text,
            other => other.to_string(),
        };
        self.items.push(Item::Parameter(key.into(), value));
        self
    }

    /// A parameter that is not always there.
    pub fn set_if(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    pub fn section(mut self, section: Self) -> Self {
        self.items.push(Item::Section(section));
        self
    }

    fn write(&self, to: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        let space = if self.argument.is_empty() { "" } else { " " };
        writeln!(to, "{:indent$}<{}{space}{}>", "", self.name, self.argument)?;
        for item in &self.items {
            match item {
                Item::Comment(text) => writeln!(to, "{:1$}# {text}", "", indent + 2)?,
                Item::Parameter(key, value) => writeln!(to, "{:1$}{key} {value}", "", indent + 2)?,
                Item::Section(section) => section.write(to, indent + 2)?,
            }
        }
        writeln!(to, "{:indent$}</{}>", "", self.name)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(to, 0)
    }
}

/// A text of the user's as a value.
pub(super) fn quoted(field: &str, text: &str) -> Result<String, Error> {
    if text.contains('\n') {
        return Err(refused(field, "Fluentd has no way to write a line break here: leave it out"));
    }
    Ok(quote(text))
}

/// A text without line breaks as a value. A backslash is written twice where the next character would make an escape of it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("'");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' || (c == '\\' && matches!(rest.peek(), None | Some('\\' | '\''))) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

/// A text of the user's where plugins replace `${…}`, and have no way to write it.
pub(super) fn plain(field: &str, text: &str) -> Result<String, Error> {
    if text.contains("${") {
        return Err(refused(field, "Fluentd replaces ${…} here: write it without"));
    }
    quoted(field, text)
}

/// A text as a string of JSON in a value that is not in quotes: there `#` could begin a comment or a program.
pub(super) fn json(text: &str) -> String {
    Value::from(text).to_string().replace('#', "\\u0023")
}

/// A list of strings as a value.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    quote(&Value::from_iter(texts).to_string())
}

/// The value that an environment variable has when Fluentd starts.
pub(super) fn env(variable: &str) -> String {
    format!("\"#{{ENV['{variable}']}}\"")
}

/// A size.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes % (1 << 20) == 0 => format!("{}m", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{}k", bytes >> 10),
        bytes => bytes.to_string(),
    }
}

pub(super) fn refused(field: &str, problem: &str) -> Error {
    Error::Field { field: field.to_owned(), problem: problem.to_owned() }
}
