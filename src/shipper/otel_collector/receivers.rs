//! Where lines come from, and what becomes of them on the way.

use serde_json::{Map, Value, json};

use super::{STORAGE, multiline::line_start, text, variable};
use crate::{
    api::{Format, Parser},
    shipper::{
        Error, Source,
        dialect::{Dialect, groups},
        engine::container_variable,
        excluded,
    },
};

/// nginx' format `combined`.
const NGINX: &str = r#"^(?P<remote>[^ ]*) (?P<host>[^ ]*) (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>\S+)(?: +(?P<path>[^"]*?)(?: +\S*)?)?" (?P<code>[^ ]*) (?P<size>[^ ]*)(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)")?"#;

/// Apache's formats `common` and `combined`.
const APACHE: &str = r#"^(?P<host>[^ ]*) [^ ]* (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>\S+)(?: +(?P<path>[^ ]*) +\S*)?" (?P<code>[^ ]*) (?P<size>[^ ]*)(?: "(?P<referer>[^"]*)" "(?P<agent>.*)")?$"#;

/// Reads the files of a source.
pub(super) fn receiver(source: &Source<'_>, max_line: u64, labels: &Map<String, Value>) -> Result<Value, Error> {
    let files: Vec<String> = source.files.iter().map(|file| text(file)).collect();
    let directories: std::collections::BTreeSet<&str> =
        source.files.iter().map(|file| file.rsplit_once('/').map_or("", |(directory, _)| directory)).collect();
    let excluded: Vec<String> = excluded(&source.files)
        .flat_map(|end| directories.iter().map(move |directory| format!("{}/*.{end}", text(directory))))
        .collect();
    let mut resource = labels.clone();
    for (attribute, name) in [
        ("service.name", container_variable(source.name)),
        ("k8s.namespace.name", "POD_NAMESPACE".to_owned()),
        ("k8s.pod.name", "POD_NAME".to_owned()),
        ("k8s.node.name", "NODE_NAME".to_owned()),
        ("k8s.container.name", container_variable(source.name)),
    ] {
        resource.insert(attribute.to_owned(), variable(&name).into());
    }
    let mut receiver = json!({
        "include": files,
        "exclude": excluded,
        "start_at": "beginning",
        "poll_interval": "500ms",
        // A stack trace is known by how its lines begin.
        "preserve_leading_whitespaces": true,
        "preserve_trailing_whitespaces": true,
        "include_file_name": false,
        "include_file_path": true,
        "max_log_size": max_line,
        "max_concurrent_files": 128,
        "storage": STORAGE,
        "retry_on_failure": {"enabled": true, "initial_interval": "1s", "max_interval": "30s", "max_elapsed_time": 0},
        "resource": resource,
    });
    if let Some(multiline) = source.multiline {
        let start = match (multiline.language, &multiline.first_line) {
            (_, Some(first)) => {
                groups(Dialect::Re2, &format!("logs[{}].multiline.firstLine", source.name), first)?;
                text(first)
            }
            (Some(language), None) => text(line_start(language)),
            // The schema refuses it; every line on its own is what it means.
            (None, None) => "^".to_owned(),
        };
        receiver["multiline"] = json!({"line_start_pattern": start});
        // What is written last waits so long for more.
        receiver["force_flush_period"] = "1s".into();
        // Else an entry would end with its line feed, before which `$` does not match.
        receiver["preserve_trailing_whitespaces"] = false.into();
    }
    let mut operators = Vec::new();
    operators.extend(source.parser.map(|parser| operator(source, parser)).transpose()?.into_iter().flatten());
    if !operators.is_empty() {
        receiver["operators"] = operators.into();
    }
    Ok(receiver)
}

/// Takes the line apart; what does not fit passes as it is.
fn operator(source: &Source<'_>, parser: &Parser) -> Result<Vec<Value>, Error> {
    let mut operator = json!({"type": "json_parser", "parse_to": "attributes", "on_error": "send_quiet"});
    let mut more = Vec::new();
    match parser.format {
        Format::Json => {
            // Numbers and the like are as good as an object to it, and would be lost.
            operator["if"] = "body matches '^\\\\s*[{]'".into();
        }
        Format::Logfmt => {
            operator["type"] = "key_value_parser".into();
            operator["delimiter"] = "=".into();
        }
        Format::Nginx | Format::Apache => {
            operator["type"] = "regex_parser".into();
            operator["regex"] = text(if parser.format == Format::Nginx { NGINX } else { APACHE }).into();
            operator["timestamp"] = timestamp("time", "%d/%b/%Y:%H:%M:%S %z");
            for field in ["code", "size"] {
                more.push(json!({
                    "type": "add",
                    "if": format!("attributes.{field} != nil and attributes.{field} matches '^[0-9]+$$'"),
                    "field": format!("attributes.{field}"),
                    "value": format!("EXPR(int(attributes.{field}))"),
                }));
            }
        }
        Format::Regex => {
            let field = format!("logs[{}].parser.regex", source.name);
            let pattern = parser.regex.as_deref().unwrap_or_default();
            if groups(Dialect::Re2, &field, pattern)?.is_empty() {
                let problem = "no part of it has a name: write (?<name>…) around what is to become a field".to_owned();
                return Err(Error::Expression { field, problem });
            }
            operator["type"] = "regex_parser".into();
            operator["regex"] = text(pattern).into();
        }
    }
    if let (Some(key), Some(format)) = (&parser.time_key, &parser.time_format) {
        operator["timestamp"] = timestamp(key, format);
    }
    Ok([operator].into_iter().chain(more).collect())
}

fn timestamp(key: &str, format: &str) -> Value {
    let field = if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        format!("attributes.{key}")
    } else {
        format!("attributes[\"{key}\"]")
    };
    // Without a zone it is UTC, wherever the node is.
    json!({"parse_from": field, "layout_type": "strptime", "layout": format, "location": "UTC"})
}
