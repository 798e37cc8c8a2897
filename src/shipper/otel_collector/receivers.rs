//! Where lines come from, and what becomes of them on the way.

use serde_json::{Map, Value, json};

use super::{STORAGE, text, variable};
use crate::{
    api::{Format, Language, Parser},
    shipper::{
        Error, Source,
        dialect::{Dialect, groups},
        engine::container_variable,
    },
};

/// nginx' format `combined`.
const NGINX: &str = r#"^(?P<remote>[^ ]*) (?P<host>[^ ]*) (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>\S+)(?: +(?P<path>[^"]*?)(?: +\S*)?)?" (?P<code>[^ ]*) (?P<size>[^ ]*)(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)")?"#;

/// Apache's formats `common` and `combined`.
const APACHE: &str = r#"^(?P<host>[^ ]*) [^ ]* (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>\S+)(?: +(?P<path>[^ ]*) +\S*)?" (?P<code>[^ ]*) (?P<size>[^ ]*)(?: "(?P<referer>[^"]*)" "(?P<agent>.*)")?$"#;

/// The lines of a stack trace that belong to the line before them.
const JAVA: &str = r"^(\s+at |\s+\.\.\. \d+ |\s*Caused by: |\s*Suppressed: |\s*at \S+\()";
const PYTHON: &str =
    r"^(\s|[A-Za-z_.]+(Error|Exception|Interrupt|Exit|Warning)\b|During handling of the above|The above exception was|$)";
const GO: &str = r"^(\s|goroutine \d+|\S+\(.*\)$|created by |exit status |\[signal |$)";

/// Reads the files of a source.
pub(super) fn receiver(source: &Source<'_>, max_line: u64, labels: &Map<String, Value>) -> Result<Value, Error> {
    let files: Vec<String> = source.files.iter().map(|file| text(file)).collect();
    let directories: std::collections::BTreeSet<&str> =
        source.files.iter().map(|file| file.rsplit_once('/').map_or("", |(directory, _)| directory)).collect();
    let excluded: Vec<String> = source
        .excluded()
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
    let mut operators = Vec::new();
    if let Some(multiline) = source.multiline {
        if let Some(first) = &multiline.first_line {
            groups(Dialect::Re2, &format!("logs[{}].multiline.firstLine", source.name), first)?;
            receiver["multiline"] = json!({"line_start_pattern": text(first)});
            receiver["force_flush_period"] = "1s".into();
        }
        let belongs = multiline.language.map(|language| match language {
            Language::Java => JAVA,
            Language::Python => PYTHON,
            Language::Go => GO,
        });
        operators.extend(belongs.map(recombine));
    }
    operators.extend(source.parser.map(|parser| operator(source, parser)).transpose()?.into_iter().flatten());
    if !operators.is_empty() {
        receiver["operators"] = operators.into();
    }
    Ok(receiver)
}

/// Puts lines together with the one before them.
fn recombine(belongs: &str) -> Value {
    // The expression stands in quotes of its own.
    let pattern = text(&belongs.replace('\\', "\\\\"));
    json!({
        "type": "recombine",
        "combine_field": "body",
        "is_first_entry": format!("not (body matches '{pattern}')"),
        "source_identifier": "attributes[\"log.file.path\"]",
        "force_flush_period": "1s",
        "max_log_size": 1_048_576,
    })
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
