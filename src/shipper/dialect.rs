//! Whether a shipper understands a regular expression. A shipper that does not ends at its start, or passes every line on
//! unparsed without a word: both are found here, before any pod is restarted.

use super::Error;

/// Whose regular expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Fluent Bit and Fluentd: Ruby's, which looks ahead and behind.
    Onigmo,
    /// The collector: Go's, which does neither.
    Re2,
}

/// How long compiled expressions may be, in bytes: enough for the longest that the schema lets pass.
const LIMIT: usize = 64 << 20;

/// The names of an expression's groups, or what is wrong with it.
///
/// `fancy-regex` stands for Onigmo, `regex` for RE2: of what these do not understand, the shippers understand next to nothing.
pub fn groups(dialect: Dialect, field: &str, pattern: &str) -> Result<Vec<String>, Error> {
    let refused = |problem: String| Error::Expression { field: field.to_owned(), problem };
    match dialect {
        Dialect::Onigmo => {
            let compiled = fancy_regex::RegexBuilder::new(pattern).delegate_size_limit(LIMIT).build();
            let compiled =
                compiled.map_err(|error| refused(format!("Fluent Bit and Fluentd cannot read this expression: {error}")))?;
            Ok(compiled.capture_names().flatten().map(str::to_owned).collect())
        }
        Dialect::Re2 => {
            let compiled = regex::RegexBuilder::new(pattern).size_limit(LIMIT).build();
            let told = |error: regex::Error| {
                // It draws the place in several lines; the last one says it in words.
                let words = error.to_string();
                refused(format!("the collector cannot read this expression: {}", words.lines().last().unwrap_or_default()))
            };
            let compiled = compiled.map_err(told)?;
            Ok(compiled.capture_names().flatten().map(str::to_owned).collect())
        }
    }
}
