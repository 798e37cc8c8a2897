//! Regular expressions as Ruby reads them: a little less than [`dialect`] lets pass.

use crate::shipper::{
    Error,
    dialect::{self, Dialect},
};

/// `/…/`, with the names of its groups.
pub(super) fn checked(field: &str, pattern: &str) -> Result<(String, Vec<String>), Error> {
    let names = dialect::groups(Dialect::Onigmo, field, pattern)?;
    if let Some(problem) = problem(pattern, !names.is_empty()) {
        return Err(Error::Expression {
            field: field.to_owned(),
            problem: format!("Ruby cannot read this expression: {problem}"),
        });
    }
    // Fluentd takes away the first and the last character, and nothing else.
    Ok((format!("/{pattern}/"), names))
}

/// What other engines have and Ruby has not, found with Ruby 3.1.
fn problem(pattern: &str, named: bool) -> Option<String> {
    let mut rest = pattern;
    let mut class = 0_usize;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let (found, length) = match c {
            '\\' => escape(after, named && class == 0),
            '[' => {
                class += 1;
                (None, usize::from(after.starts_with(']')))
            }
            ']' => {
                class = class.saturating_sub(1);
                (None, 0)
            }
            '(' if class == 0 && after.starts_with('?') => (group(after), 0),
            '-' if class > 0 && after.starts_with('-') => (Some("write \\- in place of - between []".to_owned()), 0),
            _ => (None, 0),
        };
        if found.is_some() {
            return found;
        }
        rest = &after[length..];
    }
    None
}

/// What is wrong with an escape, and how long it is without the backslash.
fn escape(after: &str, numbers: bool) -> (Option<String>, usize) {
    let length = after.chars().next().map_or(0, char::len_utf8);
    let hex = after.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let problem = match after.chars().next() {
        Some('x') if after[1..].starts_with('{') => Some("write \\u{…} in place of \\x{…}".to_owned()),
        Some('x') if hex.is_some_and(|byte| byte > 0x7f) => Some("write \\u00HH in place of \\xHH from \\x80 on".to_owned()),
        Some(digit @ '1'..='9') if numbers => Some(format!("write \\k<name> in place of \\{digit}, as there are named groups")),
        Some('p' | 'P') if after[1..].split('}').next().is_some_and(|name| name.starts_with('{') && name.contains('=')) => {
            Some("write \\p{Greek} in place of \\p{Script=Greek}".to_owned())
        }
        _ => None,
    };
    (problem, length)
}

/// What is wrong with the group that begins with this `?`.
fn group(after: &str) -> Option<String> {
    let inner = &after[1..];
    if inner.starts_with("<=") || inner.starts_with("<!") {
        return varies(&inner[2..]).then(|| "what it looks behind at must have a fixed length, and no named groups".to_owned());
    }
    if inner.starts_with('P') {
        return Some("write (?<name>…) in place of (?P<name>…)".to_owned());
    }
    if let Some(name) = inner.strip_prefix('<') {
        return name
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| "the name of a group cannot begin with a digit".to_owned());
    }
    let flags: String = inner.chars().take_while(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '^')).collect();
    let ended = inner[flags.len()..].starts_with([':', ')']);
    let foreign = flags.chars().find(|c| !matches!(c, 'i' | 'm' | 'x' | '-' | 'u'));
    foreign.filter(|_| ended).map(|flag| format!("it has the flags i, m and x, not {flag}; '.' matches line breaks with (?m)"))
}

/// Whether the rest of a group, up to its end, can have several lengths.
fn varies(text: &str) -> bool {
    let (mut depth, mut class) = (0, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '[' | ']' => class = c == '[',
            _ if class => {}
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            '*' | '+' | '{' => return true,
            '?' if !text[..text.len() - characters.as_str().len() - 1].ends_with('(') => return true,
            '<' if text[..text.len() - characters.as_str().len() - 1].ends_with("(?") => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ruby_cannot_read_is_said_with_what_it_can() {
        for (pattern, expected) in [
            ("(?P<a>x)", "(?<name>…)"),
            ("(?<a>x)(?P=a)", "(?<name>…)"),
            ("(?s).(?<a>x)", "not s"),
            ("(?<a>(?i-s:x))", "not s"),
            ("(?U)(?<a>x)", "not U"),
            (r"(?<a>\x{41})", r"\u{…}"),
            (r"(?<a>\xe9)", r"\u00HH"),
            (r"(?<a>x)\1", r"\k<name>"),
            ("(?<1a>x)", "digit"),
            ("(?<a>[a--b])", r"\-"),
            (r"(?<a>\p{Script=Greek})", r"\p{Greek}"),
            ("(?<!a+)(?<b>x)", "fixed length"),
            ("(?<=(?<a>x))y", "fixed length"),
            ("(?<=ab?)(?<c>x)", "fixed length"),
        ] {
            let error = checked("f", pattern).expect_err(pattern).to_string();
            assert!(error.starts_with("f: ") && error.contains(expected), "{pattern}: {error}");
        }
        for pattern in [
            r"(x)\1",
            r"(?<a>x)\k<a>",
            "(?m:.)(?<a>x)",
            "(?imx-imx:a)",
            "(?<=ab|c)d",
            "(?<![a+*?])b",
            r"(?<=\+)b",
            "(?<=(?:a|b))c",
            "(?>a)(?=b)(?!c)(?#d)",
            r"[\]-]?/i",
            r"\u00e9|é|\p{L}|\x41",
            "[[:alpha:]][^]]",
        ] {
            assert_eq!(checked("f", pattern).map(|(native, _)| native), Ok(format!("/{pattern}/")), "{pattern}");
        }
    }
}
