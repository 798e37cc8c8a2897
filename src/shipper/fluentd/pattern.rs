//! Shell patterns as Fluentd's `tail` understands them.
//!
//! It makes a date of `%Y`, lets Ruby expand `{a,b}` and `**/`, and takes a path without wildcards as it is, backslashes and all.

use super::{
    Error, excluded,
    text::{list, quoted, refused},
};

/// `path`, `path_delimiter` and `exclude_path` of the same files.
pub(super) struct Paths {
    pub path: String,
    pub delimiter: String,
    pub exclude: Option<String>,
}

pub(super) fn paths(field: &str, files: &[String]) -> Result<Paths, Error> {
    let files = files.iter().map(|file| pattern(field, file)).collect::<Result<Vec<_>, _>>()?;
    let free = |delimiter: &char| !files.iter().any(|file| file.contains(*delimiter));
    // With ',' Fluentd would refuse braces.
    let delimiter = ['|', ';', ':', '&', '=', '@', '!', '~', '+', '"'].into_iter().find(free);
    let delimiter =
        delimiter.ok_or_else(|| refused(field, "Fluentd needs a character between patterns: leave out '|' or ';'"))?;
    let delimiter = delimiter.to_string();
    let exclude: Vec<String> = files.iter().filter_map(|file| rotated(file, &files)).collect();
    Ok(Paths {
        path: quoted(field, &files.join(&delimiter))?,
        delimiter: quoted(field, &delimiter)?,
        exclude: (!exclude.is_empty()).then(|| list(exclude.iter().map(String::as_str))),
    })
}

/// What a pattern must not find: only one that ends with `*` could, and where another one names an ending, it is wanted.
fn rotated(pattern: &str, all: &[String]) -> Option<String> {
    if !pattern.ends_with('*') {
        return None;
    }
    let endings: Vec<&str> = excluded(all).collect();
    (!endings.is_empty()).then(|| format!("{pattern}.{{{}}}", endings.join(",")))
}

/// One pattern.
fn pattern(field: &str, shell: &str) -> Result<String, Error> {
    if shell.ends_with(|c: char| c.is_ascii_whitespace() || c == '\0' || c == '\x0b') || shell.starts_with(char::is_whitespace)
    {
        return Err(refused(field, "Fluentd leaves out spaces at the ends of a path: write ? in place of the last one"));
    }
    let native = if expands(shell) { expanded(field, shell)? } else { shell.to_owned() };
    Ok(native.replace('%', "%%"))
}

/// Whether Fluentd takes a path for a pattern (`use_glob?` with `glob_policy always`).
fn expands(path: &str) -> bool {
    let between = |open: char, inner: &str, close: char| {
        let end = path.rfind(close).unwrap_or(0);
        path.find(open).is_some_and(|start| start < end && path[start..end].contains(inner))
    };
    path.contains(['*', '?']) || between('[', "[", ']') || between('{', ",", '}')
}

/// For Ruby: without recursion, and without a meaning of braces and backslashes.
fn expanded(field: &str, shell: &str) -> Result<String, Error> {
    let mut native = String::new();
    let mut rest = shell;
    while let Some(c) = rest.chars().next() {
        match c {
            '*' if native.ends_with('*') => {}
            '[' => match class(rest) {
                Some(class) if unlike(class) => {
                    return Err(refused(
                        field,
                        "Fluentd reads [] otherwise than a shell where a class, '\\' or ']' is in it: write ? or *",
                    ));
                }
                Some(class) => {
                    native.push_str(&class.replace('{', "\\{").replace('}', "\\}"));
                    rest = &rest[class.len()..];
                    continue;
                }
                None => native.push_str("\\["),
            },
            '{' | '}' | '\\' => native.extend(['\\', c]),
            _ => native.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(native)
}

/// The `[…]` that a text begins with.
fn class(text: &str) -> Option<&str> {
    let negation = usize::from(text[1..].starts_with(['!', '^']));
    let first = 1 + negation + usize::from(text[1 + negation..].starts_with(']'));
    let end = first + text[first..].find(']')?;
    (!text[..end].contains('/')).then(|| &text[..=end])
}

fn unlike(class: &str) -> bool {
    let inner = class[1..class.len() - 1].trim_start_matches(['!', '^']);
    inner.is_empty()
        || inner.starts_with(']')
        || inner.contains('\\')
        || ["[:", "[.", "[="].iter().any(|kind| inner.contains(kind))
}
