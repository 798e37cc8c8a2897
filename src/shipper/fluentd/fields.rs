//! How lines become fields: the filters between a source and the outputs.
//!
//! No line may get lost on the way. Fluentd's `parser` filter drops what it cannot date, emits nothing for `[]` and two records for
//! `[1, 2]`; all of it drops what is not UTF-8, sooner or later. So a little Ruby goes before it, and after it.

use super::{
    Error, Pipeline, Source, engine, expression,
    source::FILE,
    text::{Section, env, quote, quoted, refused},
};
use crate::api::{Format, Parser};

/// The field with a JSON object that is yet to be parsed.
const OBJECT: &str = "logsidecar_object";

/// The field with the time of the line in seconds.
const TIME: &str = "logsidecar_time";

/// nginx' format `combined`.
const NGINX: &str = r#"/^(?<remote>\S+) (?<host>\S+) (?<user>.*?) \[(?<time>[^\]]*)\] "(?:(?<method>\S+)(?: +(?<path>[^"]*?)(?: +\S*)?)?)?" (?<code>\d+) (?:(?<size>\d+)|-)(?: "(?<referer>[^"]*)" "(?<agent>[^"]*)".*)?$/"#;

/// Apache's formats `common` and `combined`.
const APACHE: &str = r#"/^(?<host>\S+) \S+ (?<user>.*?) \[(?<time>[^\]]*)\] "(?:(?<method>\S+)(?: +(?<path>(?:[^"\\]|\\.)*?)(?: +\S*)?)?)?" (?<code>\d+) (?:(?<size>\d+)|-)(?: "(?<referer>(?:[^"\\]|\\.)*)" "(?<agent>(?:[^"\\]|\\.)*)".*)?$/"#;

/// Whether `text` is `key=value key="two words" key`.
const IS_LOGFMT: &str = r#"text.match?(/\A(?=\s*[^\s="]+=)\s*(?:[^\s="]+(?:=(?:"(?:[^"\\]|\\.)*"|[^\s"]*))?(?:\s+|\z))+\z/)"#;

/// `text` as an object.
const FROM_LOGFMT: &str = r#"text.scan(/([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?/).to_h { |key, value| [key, value.nil? || (value.start_with?("\"") ? (JSON.parse(value) rescue value[1..-2]) : value)] }"#;

/// The filters of an entry of `logs`.
pub(super) fn filters(pipeline: &Pipeline<'_>, source: &Source<'_>) -> Result<Vec<Section>, Error> {
    // What was put together is cut here, as no setting limits it.
    let cut = source.multiline.map_or_else(String::new, |_| format!(".byteslice(0, {})", pipeline.max_line));
    let text = format!(r#"record["log"]{cut}.force_encoding("UTF-8").scrub"#);
    let Some(parser) = source.parser else {
        let record = Section::new("record", "").set("log", quote(&format!("${{{text}}}")));
        return Ok(vec![transformer(source).section(metadata(source, record, None))]);
    };
    let field = |name: &str| format!("logs[{}].parser.{name}", source.name);
    let line = Section::new("record", "");
    let (line, key, parse) = match parser.format {
        Format::Json => (
            renamed(line, r#"record["log"].lstrip.start_with?("{")"#, &text),
            OBJECT,
            Section::new("parse", "").set("@type", "json"),
        ),
        Format::Logfmt => {
            let object = format!(r#"${{text = {text}; ({IS_LOGFMT} ? {FROM_LOGFMT} : {{"log" => text}}).to_json}}"#);
            (line.set(OBJECT, quote(&object)), OBJECT, Section::new("parse", "").set("@type", "json"))
        }
        Format::Nginx => (line.set("log", quote(&format!("${{{text}}}"))), "log", access(NGINX)),
        Format::Apache => (line.set("log", quote(&format!("${{{text}}}"))), "log", access(APACHE)),
        Format::Regex => {
            let (native, names) = expression::checked(&field("regex"), parser.regex.as_deref().unwrap_or_default())?;
            if names.is_empty() {
                let problem = "it has no named group, so no field would come of it: write (?<name>…)".to_owned();
                return Err(Error::Expression { field: field("regex"), problem });
            }
            let parse = Section::new("parse", "").set("@type", "regexp").set("expression", quoted(&field("regex"), &native)?);
            (line.set("log", quote(&format!("${{{text}}}"))), "log", parse)
        }
    };
    let mut prepared = transformer(source);
    if key == OBJECT {
        prepared = prepared.set("renew_record", true).set("keep_keys", FILE);
    }
    let parsed = Section::new("filter", source.name)
        .set("@type", "parser")
        .set("key_name", key)
        .set("reserve_data", true)
        .set("reserve_time", true)
        .set("remove_key_name_field", true)
        .set("emit_invalid_record_to_error", false)
        .comment("A field `time` that is none would cost the line: see below.")
        .section(parse.set("time_key", TIME));
    let mut record = Section::new("record", "");
    if parser.format == Format::Json {
        record = record.comment("What was no JSON after all is a line again.").set(
            quote(&format!(r#"${{record.key?("{OBJECT}") ? "log" : "file"}}"#)),
            quote(&format!(r#"${{record["{OBJECT}"] || record["{FILE}"]}}"#)),
        );
    }
    let time = time(source.name, parser)?;
    let removed = [Some(FILE), (parser.format == Format::Json).then_some(OBJECT), time.as_ref().map(|_| TIME)];
    let removed: Vec<&str> = removed.into_iter().flatten().collect();
    let mut finished = transformer(source).set("remove_keys", removed.join(","));
    if let Some(time) = &time {
        finished = finished.set("renew_time_key", TIME);
        // Rounded up, as who writes a time cuts what is less than a microsecond.
        record = record.set(TIME, quote(&format!("${{({time} rescue time).to_f.next_float}}")));
    }
    let finished = finished.section(metadata(source, record, time.as_deref()));
    Ok(vec![prepared.section(line), parsed, finished])
}

fn transformer(source: &Source<'_>) -> Section {
    Section::new("filter", source.name).set("@type", "record_transformer").set("enable_ruby", true)
}

/// A line under the name that says what it is.
fn renamed(record: Section, is_object: &str, value: &str) -> Section {
    record.set(quote(&format!(r#"${{{is_object} ? "{OBJECT}" : "log"}}"#)), quote(&format!("${{{value}}}")))
}

fn access(expression: &str) -> Section {
    Section::new("parse", "")
        .set("@type", "regexp")
        .set("expression", quote(expression))
        .set("types", "code:integer,size:integer")
}

/// What every line is labelled with. The values of the environment are names of Kubernetes, in which there is nothing for Ruby.
fn metadata(source: &Source<'_>, record: Section, time: Option<&str>) -> Section {
    let time = time.map_or_else(|| "time".to_owned(), |time| format!("({time} rescue time)"));
    let record = record
        .comment("A name that begins with @ is written so, as Fluentd keeps those for itself.")
        .set(r#"'${"@timestamp"}'"#, quote(&format!(r#"${{record["@timestamp"] || {time}.utc.iso8601(6)}}"#)));
    let record = match source.parser {
        Some(_) => record.set("file", quote(&format!(r#"${{record["{FILE}"]}}"#))),
        None => record,
    };
    let record = engine::METADATA.iter().fold(record, |record, (key, variable)| record.set(*key, env(variable)));
    record.set("container", env(&engine::container_variable(source.name)))
}

/// Ruby for the time of a line, which fails where there is none.
fn time(log: &str, parser: &Parser) -> Result<Option<String>, Error> {
    let (key, format) = match (&parser.format, &parser.time_key, &parser.time_format) {
        (Format::Nginx | Format::Apache, _, _) => ("time", "%d/%b/%Y:%H:%M:%S %z"),
        (_, Some(key), Some(format)) => (key.as_str(), format.as_str()),
        (_, Some(_), None) => {
            return Err(refused(
                &format!("logs[{log}].parser.timeFormat"),
                "timeKey needs a timeFormat such as %Y-%m-%dT%H:%M:%S.%L%z",
            ));
        }
        (_, None, _) => return Ok(None),
    };
    // They become part of a program, so it is made sure here that they are no program, whatever the schema says.
    if !key.chars().all(|c| c.is_ascii_alphanumeric() || "_@.-".contains(c)) {
        return Err(refused(&format!("logs[{log}].parser.timeKey"), "write a name made of letters, digits and _ @ . -"));
    }
    if !format.chars().all(|c| c.is_ascii_alphanumeric() || " :.,/_+-%".contains(c)) {
        let problem = "write a format made of letters, digits, spaces, % and : . , / _ + -";
        return Err(refused(&format!("logs[{log}].parser.timeFormat"), problem));
    }
    Ok(Some(format!(r#"DateTime.strptime(record["{key}"], "{format}").to_time"#)))
}
