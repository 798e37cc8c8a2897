//! What a JSON schema validator finds, in words that help.

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

use super::Problem;

/// Everything that the validator finds wrong with an object that is at `at` in a larger one.
pub(super) fn check(validator: &Validator, object: &Value, at: &str) -> Vec<Problem> {
    validator.iter_errors(object).flat_map(|error| explain(&error, object, at)).collect()
}

/// Patterns of the schema, in words.
const PATTERNS: [(&str, &str); 3] = [
    ("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "be lower-case letters, digits and '-'"),
    ("^[0-9]+([.]", "be a quantity such as 512Mi"),
    ("^[^/\\s", "be a pattern below directory without blanks or '\\', such as *.log or audit/*.json"),
];

fn explain(error: &ValidationError<'_>, object: &Value, at: &str) -> Vec<Problem> {
    let place = format!("{at}{}", error.instance_path().as_str());
    let instance = error.instance();
    let unknown =
        |field: &str| Problem::new(format!("{place}/{}", field.replace('~', "~0").replace('/', "~1")), "unknown field");
    let one = |message: String| vec![Problem::new(place.clone(), message)];
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected.iter().map(|field| unknown(field)).collect(),
        // What is said of each field of an object that may have none.
        ValidationErrorKind::FalseSchema => {
            let holder = object.pointer(error.instance_path().as_str()).and_then(Value::as_object);
            holder.into_iter().flat_map(Map::keys).map(|field| unknown(field)).collect()
        }
        ValidationErrorKind::Required { property } => {
            vec![Problem::new(format!("{place}/{}", property.as_str().unwrap_or_default()), "required, but missing")]
        }
        ValidationErrorKind::Type { kind } => one(wrong_type(&wanted(&format!("{kind:?}").to_lowercase(), &place), instance)),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(shown).collect();
            one(format!("must be {}, not {}", options.join(" or "), shown(instance)))
        }
        ValidationErrorKind::Pattern { pattern } => {
            let known = PATTERNS.iter().find(|(start, _)| pattern.starts_with(start));
            let rule = known.map_or_else(|| format!("match {pattern}"), |(_, rule)| (*rule).to_owned());
            one(format!("{} must {rule}", shown(instance)))
        }
        ValidationErrorKind::Minimum { .. } if is_quantity(&place) => one(wrong_type("quantity such as 512Mi", instance)),
        ValidationErrorKind::MinItems { limit } => one(format!("must have at least {limit} entry")),
        ValidationErrorKind::MaxItems { limit } => one(format!("must have at most {limit} entries")),
        ValidationErrorKind::MinLength { .. } => one("must not be empty".to_owned()),
        ValidationErrorKind::MaxLength { limit } => one(format!("must have at most {limit} characters")),
        _ => one(error.to_string()),
    }
}

fn is_quantity(place: &str) -> bool {
    place.ends_with("/sizeLimit") || place.contains("/limits/") || place.contains("/requests/")
}

/// The type that a field has, from what the schema's type looks like in words.
fn wanted(types: &str, place: &str) -> String {
    if types.contains("integer") && types.contains("string") {
        return if is_quantity(place) { "quantity such as 512Mi" } else { "integer or a string" }.to_owned();
    }
    let known = ["integer", "number", "boolean", "array", "object", "string"];
    known.into_iter().find(|word| types.contains(word)).unwrap_or("value of another type").to_owned()
}

/// What to say of a value that is not what is wanted.
pub(super) fn wrong_type(wanted: &str, instance: &Value) -> String {
    let article = if wanted.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    let scalar = matches!(instance, Value::Bool(_) | Value::Number(_));
    let hint = if wanted == "string" && scalar { ": put it in quotes" } else { "" };
    format!("must be {article} {wanted}, not {}{hint}", shown(instance))
}

/// A value in a message: short, and never a whole object.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 60 => format!("\"{}…\"", text.chars().take(60).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
