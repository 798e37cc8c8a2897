//! How lines are read: what belongs together, and what it says.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a line (or what `multiline` has put together) becomes fields. What does not fit is passed on as it is, in the field `log`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.format == 'regex') == has(self.regex)").message("write regex for format: regex, and for no other"))]
#[x_kube(validation = Rule::new("!has(self.timeFormat) || has(self.timeKey)").message("timeFormat says how the field timeKey is to be read: write timeKey, too").field_path(".timeKey"))]
#[x_kube(validation = Rule::new("!has(self.timeKey) || self.format in ['json', 'logfmt', 'regex']").message("nginx and apache have a time of their own: leave timeKey out").field_path(".timeKey"))]
#[x_kube(validation = Rule::new("!has(self.timeKey) || has(self.timeFormat)").message("timeKey needs a timeFormat such as %Y-%m-%dT%H:%M:%S.%L%z").field_path(".timeFormat"))]
pub struct Parser {
    /// What the lines look like.
    pub format: Format,
    /// For `format: regex`: an expression with named groups such as `^(?<level>[A-Z]+) (?<message>.*)$`, in the dialect of the
    /// shipper (Onigmo for Fluent Bit and Fluentd, RE2 for the collector).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("write control characters as \\n, \\t or \\xHH"))]
    pub regex: Option<String>,
    /// The field that holds the time of the line. Default: the time at which the line was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z_@][A-Za-z0-9_@.-]*$"))]
    pub time_key: Option<String>,
    /// How it is written, as `strptime` has it; `%L` is the fraction of a second, `%z` the zone. Without a zone it is UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9 T:.,/_+-]|%[YmdeHMSLzbBypI])+$')")
        .message("a time format is made of %Y %m %d %e %H %I %M %S %L %z %b %B %y %p, letters, digits, spaces and : . , / _ + -"))]
    pub time_format: Option<String>,
}

/// What lines look like.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// `key=value key="two words"`
    Logfmt,
    /// nginx' access log in its format `combined`.
    Nginx,
    /// Apache's access log in its formats `common` and `combined`.
    Apache,
    /// What `regex` says.
    Regex,
}

/// Which lines belong together.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.language) != has(self.firstLine)").message("write exactly one of language and firstLine"))]
pub struct Multiline {
    /// Stack traces of this language belong to the line before them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// An expression that the first line of an entry matches, such as `^\d{4}-\d{2}-\d{2}`; all lines up to the next one that
    /// matches belong to it. In the dialect of the shipper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("write control characters as \\t or \\xHH"))]
    pub first_line: Option<String>,
}

/// Whose stack traces.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// `at …`, `Caused by: …`, `... 3 more`
    Java,
    /// `Traceback (most recent call last):`
    Python,
    /// `panic: …`, `goroutine …`
    Go,
}
