//! The CEL rules about which shipper goes with what, made of the table of shippers.

use serde_json::{Value, json};

use super::{ShipperName, features::join};

/// The rule that a sidecar is a shipper or a container with an image.
pub(super) fn is_something() -> String {
    let own = "(has(self.container) && has(self.container.image) && size(self.container.image) > 0)".to_owned();
    let shippers = ShipperName::ALL.iter().map(|name| format!("has(self.{})", name.field()));
    shippers.chain([own]).collect::<Vec<_>>().join(" || ")
}

/// The rule that a sidecar is no more than one shipper.
pub(super) fn is_one_shipper() -> String {
    let all: Vec<String> = ShipperName::ALL.iter().map(|name| format!("has(self.{})", name.field())).collect();
    format!("[{}].filter(x, x).size() <= 1", all.join(", "))
}

/// What it says.
pub(super) fn is_one_shipper_message() -> String {
    let fields: Vec<&str> = ShipperName::ALL.iter().map(|name| name.field()).collect();
    format!("write at most one of {}", join(&fields, "and"))
}

/// The rules of a spec about shippers, in `x-kubernetes-validations`.
pub(super) fn of_spec() -> Vec<Value> {
    let mut all = vec![outputs_need_a_shipper(), parsing_needs_a_shipper()];
    all.extend(ShipperName::with_config().filter_map(|shipper| {
        let sidecar = format!("self.sidecar.{}", shipper.field);
        let rule = format!(
            "!has(self.sidecar) || !has({sidecar}) || has({sidecar}.config) || has({sidecar}.configMapRef) || has(self.outputs)"
        );
        Some(entry("outputs", shipper.needs_outputs?, &rule))
    }));
    all.extend(ShipperName::with_config().filter(|shipper| !shipper.lacks.is_empty()).map(|shipper| {
        let lacks: Vec<String> = shipper.lacks.iter().map(|output| format!("!has(o.{})", output.field())).collect();
        let rule = format!(
            "!has(self.sidecar) || !has(self.sidecar.{}) || !has(self.outputs) || self.outputs.all(o, {})",
            shipper.field,
            lacks.join(" && ")
        );
        entry("outputs", shipper.lacks_because, &rule)
    }));
    all.push(own_config_is_alone());
    all
}

fn entry(field: &str, message: &str, rule: &str) -> Value {
    json!({"fieldPath": format!(".{field}"), "message": message, "rule": rule})
}

/// `(has(self.sidecar) && (has(self.sidecar.a) || …))`
fn has_config() -> String {
    let all: Vec<String> = ShipperName::with_config().map(|shipper| format!("has(self.sidecar.{})", shipper.field)).collect();
    format!("(has(self.sidecar) && ({}))", all.join(" || "))
}

/// `sidecar.a, sidecar.b or sidecar.c`
fn alternatives() -> String {
    let fields: Vec<String> = ShipperName::with_config().map(|shipper| format!("sidecar.{}", shipper.field)).collect();
    join(&fields.iter().map(String::as_str).collect::<Vec<_>>(), "or")
}

fn outputs_need_a_shipper() -> Value {
    let rule = format!(
        "!has(self.outputs) || {} || (!(has(self.sidecar) && !has(self.sidecar.tail)) && self.outputs.all(o, has(o.stdout)))",
        has_config()
    );
    let message = format!(
        "tail prints on standard output and a container of your own goes its own ways: for outputs write {}",
        alternatives()
    );
    entry("outputs", &message, &rule)
}

fn parsing_needs_a_shipper() -> Value {
    let rule = format!("{} || self.logs.all(l, !has(l.parser) && !has(l.multiline))", has_config());
    let message = format!("tail passes lines on as they are: for parser and multiline write {}", alternatives());
    entry("logs", &message, &rule)
}

fn own_config_is_alone() -> Value {
    let own = |field: &str| {
        let shipper = format!("self.sidecar.{field}");
        format!("(has({shipper}) && (has({shipper}.config) || has({shipper}.configMapRef)))")
    };
    let any: Vec<String> = ShipperName::with_config().map(|shipper| own(shipper.field)).collect();
    let rule = format!(
        "!has(self.sidecar) || !({}) || (!has(self.outputs) && self.logs.all(l, !has(l.parser) && !has(l.multiline)))",
        any.join(" || ")
    );
    entry("outputs", "a config of your own takes the place of outputs, parser and multiline: leave them out", &rule)
}
