//! CEL as text: literals that nothing in them can break out of, and how expressions are laid out.

use serde_json::Value;

use super::template_stub::Placeholders;

/// How long a line may get.
const WIDTH: usize = 120;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cel {
    /// A string, not yet as a literal.
    Text(String),
    /// Any expression, as it is written.
    Code(String),
    /// A list literal.
    List(Vec<Cel>),
    /// A map literal.
    Map(Vec<Field>),
}

/// An entry of a map literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub name: String,
    pub value: Cel,
    /// Whether `value` is of type `optional(dyn)`, and the entry is left out where it has none.
    pub optional: bool,
}

/// A string literal.
///
/// Guarantees: a CEL parser reads just `text` from it. All that is neither printable ASCII nor a letter or digit of some script
/// is spelt out, so that whoever reads the policy sees what is in it.
pub(super) fn string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// The part of a regular expression that matches just `text`, in the syntax of RE2.
pub(super) fn pattern(text: &str) -> String {
    text.chars().flat_map(|c| r"\.+*?()|[]{}^$".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

impl Cel {
    /// A JSON value, with expressions where the template stub has placeholders.
    pub fn of(value: &Value, placeholders: &Placeholders) -> Self {
        match value {
            Value::Null => Self::Code("null".to_owned()),
            Value::Bool(yes) => Self::Code(yes.to_string()),
            Value::Number(number) => Self::Code(placeholders.number(number).unwrap_or_else(|| number.to_string())),
            Value::String(text) => Self::text(text, placeholders),
            Value::Array(list) => Self::List(list.iter().map(|value| Self::of(value, placeholders)).collect()),
            Value::Object(map) => {
                let field = |(name, value): (&String, &Value)| Field {
                    name: name.clone(),
                    value: Self::of(value, placeholders),
                    optional: false,
                };
                Self::Map(map.iter().map(field).collect())
            }
        }
    }

    /// A string, in which an expression stands where the stand-in had the name of the container.
    pub fn text(text: &str, placeholders: &Placeholders) -> Self {
        let Some(container) = placeholders.container() else { return Self::Text(text.to_owned()) };
        let parts: Vec<&str> = text.split(container).collect();
        if parts.len() == 1 {
            return Self::Text(text.to_owned());
        }
        let mut code: Vec<String> = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            code.extend((index > 0).then(|| "variables.container".to_owned()));
            code.extend((!part.is_empty()).then(|| string(part)));
        }
        Self::Code(code.join(" + "))
    }

    /// The expression as text; all but its first line are indented by that many spaces.
    pub fn write(&self, indent: usize) -> String {
        let line = self.lay_out(None);
        if indent + line.len() <= WIDTH { line } else { self.lay_out(Some(indent)) }
    }

    /// On one line, or with a line for each element.
    fn lay_out(&self, indent: Option<usize>) -> String {
        let element = |value: &Self| match indent {
            Some(indent) => value.write(indent + 2),
            None => value.lay_out(None),
        };
        let is_text = |value: &Self| matches!(value, Self::Text(_));
        match self {
            Self::Text(text) => string(text),
            Self::Code(code) => code.clone(),
            Self::List(items) => {
                let uniform = items.iter().all(is_text);
                let item = |item| if uniform { element(item) } else { dynamic(&element(item)) };
                enclose("[", items.iter().map(item), "]", indent)
            }
            Self::Map(fields) => {
                let uniform = fields.iter().all(|field| is_text(&field.value));
                let field = |Field { name, value, optional }: &Field| match (uniform, optional) {
                    (_, true) => format!("?{}: {}", string(name), element(value)),
                    (true, false) => format!("{}: {}", string(name), element(value)),
                    (false, false) => format!("{}: {}", string(name), dynamic(&element(value))),
                };
                enclose("{", fields.iter().map(field), "}", indent)
            }
        }
    }
}

/// The API server demands one type of all elements of a literal.
fn dynamic(text: &str) -> String {
    format!("dyn({text})")
}

fn enclose(open: &str, elements: impl Iterator<Item = String>, close: &str, indent: Option<usize>) -> String {
    let elements: Vec<String> = elements.collect();
    match indent {
        Some(indent) if !elements.is_empty() => {
            let (inner, outer) = (" ".repeat(indent + 2), " ".repeat(indent));
            format!("{open}\n{inner}{}\n{outer}{close}", elements.join(&format!(",\n{inner}")))
        }
        Some(_) | None => format!("{open}{}{close}", elements.join(", ")),
    }
}
