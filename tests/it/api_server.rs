//! An API server, as far as policies go.

#![allow(clippy::panic, reason = "that is how a test fails")]

use std::collections::HashMap;

use kube_cel::{
    KubeCelExt,
    cel::{
        Context, ExecutionError, Value as Evaluated,
        common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, MapEntryExpr, MapExpr, operators},
        parser::Parser,
    },
};
use serde_json::Value;

fn parse(expression: &str) -> IdedExpr {
    let parsed = Parser::new().enable_optional_syntax(true).parse(expression);
    plain(parsed.unwrap_or_else(|error| panic!("{expression}: {error}")))
}

/// What the interpreter cannot do is said in other words: objects of the type `JSONPatch` become maps, and `a.?b`, which fails
/// there where `b` is missing, becomes `a[?"b"]`.
fn plain(mut expression: IdedExpr) -> IdedExpr {
    let each = |inner: &mut IdedExpr| *inner = plain(std::mem::take(inner));
    match &mut expression.expr {
        Expr::Call(call) => {
            if call.func_name == operators::OPT_SELECT {
                operators::OPT_INDEX.clone_into(&mut call.func_name);
            }
            call.target.iter_mut().for_each(|target| each(target));
            call.args.iter_mut().for_each(each);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(each),
        Expr::Select(select) => each(&mut select.operand),
        Expr::Comprehension(comprehension) => {
            each(&mut comprehension.iter_range);
            each(&mut comprehension.loop_step);
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                let EntryExpr::MapEntry(entry) = &mut entry.expr else { panic!("a field in a map") };
                each(&mut entry.value);
            }
        }
        Expr::Struct(object) => {
            let entries = std::mem::take(&mut object.entries).into_iter().map(|IdedEntryExpr { id, expr }| {
                let EntryExpr::StructField(field) = expr else { panic!("an entry of a map in an object") };
                let key = IdedExpr { id, expr: Expr::Literal(LiteralValue::String(field.field.as_str().into())) };
                let entry = MapEntryExpr { key, value: plain(field.value), optional: false };
                IdedEntryExpr { id, expr: EntryExpr::MapEntry(entry) }
            });
            expression.expr = Expr::Map(MapExpr { entries: entries.collect() });
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
    expression
}

fn evaluate(expression: &str, context: &Context<'_>) -> Evaluated {
    Evaluated::resolve(&parse(expression), context).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// To the interpreter, everything is dynamic.
#[allow(clippy::unnecessary_wraps, reason = "what a function of the interpreter looks like")]
fn dynamic(value: Evaluated) -> Result<Evaluated, ExecutionError> {
    Ok(value)
}

/// As on an API server, whole numbers have a sign.
fn value(json: &Value) -> Evaluated {
    match json {
        Value::Null => Evaluated::Null,
        Value::Bool(yes) => Evaluated::Bool(*yes),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Evaluated::Float(number.as_f64().unwrap_or_default()), Evaluated::Int)
        }
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().map(value).collect::<Vec<_>>().into(),
        Value::Object(map) => map.iter().map(|(key, json)| (key.clone(), value(json))).collect::<HashMap<_, _>>().into(),
    }
}

fn json(value: &Evaluated) -> Value {
    match value {
        Evaluated::List(list) => list.iter().map(json).collect(),
        Evaluated::Map(map) => Value::Object(map.map.iter().map(|(key, value)| (key.to_string(), json(value))).collect()),
        Evaluated::Int(number) => (*number).into(),
        Evaluated::Float(number) => (*number).into(),
        Evaluated::String(text) => text.as_str().into(),
        Evaluated::Bool(yes) => (*yes).into(),
        Evaluated::Null => Value::Null,
        other => panic!("{other:?} in a patch"),
    }
}

/// What the API server makes of an object; `None` if the policy keeps away from it.
pub fn admit(policy: &Value, object: &Value) -> Option<Value> {
    let mut context = Context::default().with_all();
    context.add_function("dyn", dynamic);
    context.add_variable_from_value("object", value(object));
    let list = |pointer: &str| policy.pointer(pointer).and_then(Value::as_array).expect("a list").clone();
    let text = |value: &Value| value["expression"].as_str().expect("an expression").to_owned();
    for condition in list("/spec/matchConditions") {
        match evaluate(&text(&condition), &context) {
            Evaluated::Bool(true) => {}
            Evaluated::Bool(false) => return None,
            other => panic!("{condition}: {other:?}"),
        }
    }
    // Its variables cannot hold optional values: those are written out.
    let mut patch = text(&policy["spec"]["mutations"][0]["jsonPatch"]);
    let (mut known, mut optional) = (HashMap::new(), Vec::<(String, String)>::new());
    for variable in list("/spec/variables") {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let mut expression = text(&variable);
        for (name, text) in &optional {
            expression = expression.replace(name, text);
        }
        if ["user", "group"].contains(&name.as_str()) {
            optional.push((format!("variables.{name}"), format!("({expression})")));
        } else {
            known.insert(name, evaluate(&expression, &context));
            context.add_variable_from_value("variables", known.clone());
        }
    }
    for (name, text) in &optional {
        patch = patch.replace(name, text);
    }
    let steps = evaluate(&patch, &context);
    let steps: json_patch::Patch = serde_json::from_value(json(&steps)).expect("a patch");
    let mut object = object.clone();
    json_patch::patch(&mut object, &steps).expect("the patch applies");
    Some(object)
}
