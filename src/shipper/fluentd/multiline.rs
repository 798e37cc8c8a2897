//! Which line begins an entry.
//!
//! Fluentd appends every line to the one before it that does not match an expression: it sees each line alone, and knows nothing
//! of what has come before.

use super::{
    Error, expression,
    text::{quote, quoted, refused},
};
use crate::api::{Language, Multiline};

/// Frames, causes and what was left out. The name of the exception is where an entry begins.
const JAVA: &str = r"/^(?!\s+(?:eval )?at |\s*(?:Caused by|Suppressed): |\s*\.{3} \d+ (?:more|common frames omitted)|\s*nested exception is:|\s+--- End of )/";

/// What is indented, and the name of the exception at the end.
const PYTHON: &str = r"/^(?![ \t]+\S|(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|ExceptionGroup|Warning|Exit|Interrupt|Iteration|Iter)(?:: |\s*$))/";

/// Empty lines, the heads of goroutines, calls with their places, and what the runtime adds.
const GO: &str = r"/^(?!\s*$|goroutine \d+ .*:\s*$|\S+\([0-9a-fx{}.,?_ ]*\)\s*$|\s+\S+:\d+(?: \+0x[0-9a-f]+)?|created by |\[signal |exit status )/";

/// `format_firstline`.
pub(super) fn first_line(log: &str, multiline: &Multiline) -> Result<String, Error> {
    let field = format!("logs[{log}].multiline.firstLine");
    match (multiline.language, &multiline.first_line) {
        (_, Some(expression)) => {
            let (native, _) = expression::checked(&field, expression)?;
            // Lines are bytes here. Ruby would not compare them with an expression that is Unicode, and reads no line again.
            if !expression.is_ascii() || expression.contains("\\u") {
                return Err(refused(&field, "Fluentd finds ASCII only in first lines: write . in place of other characters"));
            }
            quoted(&field, &native)
        }
        (Some(Language::Java), None) => Ok(quote(JAVA)),
        (Some(Language::Python), None) => Ok(quote(PYTHON)),
        (Some(Language::Go), None) => Ok(quote(GO)),
        // The schema refuses it; every line on its own is what it means.
        (None, None) => Ok(quote("//")),
    }
}
