//! Where lines come from, and what becomes of them on the way.

use serde_json::{Value, json};

use super::text;
use crate::{
    api::{Format, Language, Parser},
    shipper::{
        Error, Source,
        dialect::{Dialect, groups},
        engine::{METADATA, STATE, container_variable},
        excluded,
    },
};

/// nginx' format `combined`.
const NGINX: &str = r#"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")?"#;

/// Apache's formats `common` and `combined`.
const APACHE: &str = r#"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^ ]*) +\S*)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>.*)")?$"#;

/// The name of what belongs to a source.
fn own(source: &Source<'_>) -> String {
    format!("logs_{}", source.name.replace('-', "_"))
}

/// Reads the files of a source.
pub(super) fn input(source: &Source<'_>, max_line: u64) -> Result<Value, Error> {
    for file in &source.files {
        // It separates patterns.
        if file.contains(',') {
            let problem = format!("Fluent Bit takes the comma in {file} for the end of a pattern: write ? in its place");
            return Err(Error::Field { field: format!("logs[{}].files", source.name), problem });
        }
    }
    let tag = format!("logs.{}", source.name);
    let mut input = json!({
        "name": "tail",
        "alias": tag,
        "tag": tag,
        "path": text(&source.files.join(",")),
        "path_key": "file",
        "read_from_head": true,
        "refresh_interval": 1,
        "rotate_wait": 30,
        "buffer_chunk_size": "64k",
        "buffer_max_size": format!("{}", max_line.max(64 << 10)),
        "skip_long_lines": "on",
        "db": format!("{STATE}/{}.db", source.name),
        "db.locking": true,
        "db.compare_filename": true,
        "storage.type": "filesystem",
        "storage.pause_on_chunks_overlimit": "on",
    });
    let excluded: Vec<String> = excluded(&source.files).map(|end| format!("*.{end}")).collect();
    input["exclude_path"] = excluded.join(",").into();
    if let Some(multiline) = source.multiline {
        input["multiline.parser"] = match multiline.language {
            Some(Language::Java) => "java".into(),
            Some(Language::Python) => "python".into(),
            Some(Language::Go) => "go".into(),
            None => own(source).into(),
        };
    }
    Ok(input)
}

/// Takes the line apart, and says where it comes from.
pub(super) fn filters(source: &Source<'_>) -> Vec<Value> {
    let tag = format!("logs.{}", source.name);
    let mut filters = Vec::new();
    if source.parser.is_some() {
        // What does not fit passes as it is.
        filters.push(json!({"name": "parser", "match": tag, "key_name": "log", "parser": own(source), "reserve_data": "on"}));
    }
    let container = ("container", container_variable(source.name));
    let metadata = METADATA.map(|(field, variable)| (field, variable.to_owned())).into_iter().chain([container]);
    let records: Vec<String> = metadata.map(|(field, variable)| format!("{field} ${{{variable}}}")).collect();
    filters.push(json!({"name": "record_modifier", "match": tag, "record": records}));
    filters
}

/// The parser of a source.
pub(super) fn parser(source: &Source<'_>) -> Result<Option<Value>, Error> {
    let Some(parser) = source.parser else { return Ok(None) };
    let name = own(source);
    let mut made = match parser.format {
        Format::Json => json!({"name": name, "format": "json"}),
        Format::Logfmt => json!({"name": name, "format": "logfmt"}),
        Format::Nginx => access(&name, NGINX),
        Format::Apache => access(&name, APACHE),
        Format::Regex => {
            let field = format!("logs[{}].parser.regex", source.name);
            let pattern = parser.regex.as_deref().unwrap_or_default();
            if groups(Dialect::Onigmo, &field, pattern)?.is_empty() {
                let problem = "no part of it has a name: write (?<name>…) around what is to become a field".to_owned();
                return Err(Error::Expression { field, problem });
            }
            json!({"name": name, "format": "regex", "regex": expression(pattern)})
        }
    };
    time(&mut made, parser);
    Ok(Some(made))
}

fn access(name: &str, pattern: &str) -> Value {
    json!({
        "name": name, "format": "regex", "regex": pattern,
        "time_key": "time", "time_format": "%d/%b/%Y:%H:%M:%S %z", "time_keep": "on", "types": "code:integer size:integer",
    })
}

fn time(made: &mut Value, parser: &Parser) {
    if let (Some(key), Some(format)) = (&parser.time_key, &parser.time_format) {
        made["time_key"] = key.as_str().into();
        made["time_format"] = format.as_str().into();
        made["time_keep"] = "on".into();
    }
}

/// The multiline parser of a source, if it is none of Fluent Bit's own.
pub(super) fn multiline(source: &Source<'_>) -> Result<Option<Value>, Error> {
    let Some(first) = source.multiline.and_then(|multiline| multiline.first_line.as_deref()) else { return Ok(None) };
    groups(Dialect::Onigmo, &format!("logs[{}].multiline.firstLine", source.name), first)?;
    let first = expression(first);
    Ok(Some(json!({
        "name": own(source),
        "type": "regex",
        "flush_timeout": 1000,
        "rules": [
            {"state": "start_state", "regex": format!("/{first}/"), "next_state": "cont"},
            // Whatever does not begin another one.
            {"state": "cont", "regex": format!("/^(?!(?:.*?)(?:{first}))/"), "next_state": "cont"},
        ],
    })))
}

/// An expression in which nothing looks like a variable: the brace after a dollar sign is a brace with a backslash, too.
fn expression(pattern: &str) -> String {
    pattern.replace("${", r"$\{")
}
