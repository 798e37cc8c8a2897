//! The literals; what a policy does with them is shown in `tests/it/policy.rs`.

use kube_cel::{
    KubeCelExt,
    cel::{Context, Program, Value},
};
use proptest::prelude::*;

use super::cel::{pattern, string};

fn evaluate(expression: &str, context: &Context<'_>) -> Value {
    let program = Program::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    program.execute(context).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

proptest! {
    #[test]
    fn nothing_breaks_out_of_a_string(text in any::<String>()) {
        let read = evaluate(&string(&text), &Context::default());
        prop_assert_eq!(read, Value::from(text.as_str()));
        prop_assert!(string(&text).lines().count() == 1);
    }

    #[test]
    fn a_pattern_matches_its_text_and_no_other(text in "[ -~äß€😀]{0,12}", other in "[ -~äß€😀]{0,12}") {
        let mut context = Context::default().with_all();
        context.add_variable_from_value("text", text.as_str());
        context.add_variable_from_value("other", other.as_str());
        let pattern = string(&format!("^{}$", pattern(&text)));
        prop_assert_eq!(evaluate(&format!("text.matches({pattern})"), &context), Value::Bool(true));
        prop_assert_eq!(evaluate(&format!("other.matches({pattern})"), &context), Value::Bool(text == other));
    }
}
