//! From what the planner makes of every case to one expression that makes all of it.

use serde_json::{Map, Value};

use super::{
    cel::{Cel, Field},
    template_stub::{Placeholders, QUESTIONS, TemplateCase},
};

/// An expression that gives each value in its case.
///
/// What is the same in all cases is a literal; what is not is a decision, as deep inside as it can be.
pub(super) fn merge_cases(values: &[(TemplateCase, &Value)], placeholders: &Placeholders) -> Cel {
    let Some(((_, first), rest)) = values.split_first() else { return Cel::Code("null".to_owned()) };
    if rest.iter().all(|(_, value)| value == first) {
        return Cel::of(first, placeholders);
    }
    let maps: Option<Vec<(TemplateCase, &Map<String, Value>)>> =
        values.iter().map(|(case, value)| Some((*case, value.as_object()?))).collect();
    match maps {
        Some(maps) => Cel::Map(names(&maps).into_iter().map(|name| field(name, &maps, placeholders)).collect()),
        None => Cel::Code(decide(values, &|value| format!("dyn({})", Cel::of(value, placeholders).write(0))).1),
    }
}

/// The names of all fields, in the order in which they come first.
fn names<'a>(maps: &[(TemplateCase, &'a Map<String, Value>)]) -> Vec<&'a String> {
    let mut names = Vec::new();
    for name in maps.iter().flat_map(|(_, map)| map.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn field(name: &str, maps: &[(TemplateCase, &Map<String, Value>)], placeholders: &Placeholders) -> Field {
    let values: Vec<(TemplateCase, Option<&Value>)> = maps.iter().map(|(case, map)| (*case, map.get(name))).collect();
    let in_all: Option<Vec<(TemplateCase, &Value)>> = values.iter().map(|(case, value)| Some((*case, (*value)?))).collect();
    let name = name.to_owned();
    if let Some(values) = in_all {
        return Field { name, value: merge_cases(&values, placeholders), optional: false };
    }
    let leaf = |value: Option<&Value>| match value {
        Some(value) => format!("optional.of(dyn({}))", Cel::of(value, placeholders).write(0)),
        None => "optional.none()".to_owned(),
    };
    Field { name, value: Cel::Code(decide(&values, &leaf).1), optional: true }
}

/// The smallest tree of questions that gives every answer, and how many leaves it has.
fn decide<T: PartialEq + Copy>(answers: &[(TemplateCase, T)], leaf: &dyn Fn(T) -> String) -> (usize, String) {
    let Some(((_, first), rest)) = answers.split_first() else { return (0, String::new()) };
    if rest.iter().all(|(_, answer)| answer == first) {
        return (1, leaf(*first));
    }
    let trees = QUESTIONS.iter().filter_map(|(question, holds)| {
        let (yes, no): (Vec<_>, Vec<_>) = answers.iter().copied().partition(|(case, _)| holds(*case));
        if yes.is_empty() || no.is_empty() {
            return None;
        }
        let ((left, yes), (right, no)) = (decide(&yes, leaf), decide(&no, leaf));
        Some((left + right, format!("({question} ? {yes} : {no})")))
    });
    // The questions tell all cases apart, so there is one.
    trees.min_by_key(|(size, _)| *size).unwrap_or_else(|| (1, leaf(*first)))
}
