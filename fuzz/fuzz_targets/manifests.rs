//! `logsidecar inject`, `uninject` and `validate` on whatever text there may be.
//!
//! Whatever the text is, they end, without a panic, and say what they refuse in lines that a terminal can show. What they
//! take, `inject` finds done when it is asked again, and `uninject` gives back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logsidecar::{
    api::LEDGER_ANNOTATION,
    cli::Verb,
    manifest,
    plan::{ConfigMap, object::ledger_text},
    workload::{kind::Kinds, ledger::Ledger},
};
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let valid = Verb::Validate.on_text(text);
    let injected = Verb::Inject.on_text(text);
    let taken_out = Verb::Uninject.on_text(text);
    for message in [&valid, &injected, &taken_out].into_iter().filter_map(|result| result.as_ref().err()) {
        assert!(!message.chars().any(|c| c.is_control() && c != '\n'), "{message:?}");
    }
    for value in values(text) {
        let written = manifest::write(&value);
        assert_eq!(values(written.as_bytes()), [value], "{written}");
    }
    if let Ok(once) = taken_out {
        assert!(valid.is_ok(), "{valid:?}");
        assert_eq!(on(Verb::Uninject, &once), once, "taken out twice");
    }
    if let Ok(once) = injected {
        assert!(valid.is_ok(), "{valid:?}");
        let (sidecars, before) = sorted(values(text));
        again(&sidecars, &once);
        back(&before, &once);
    }
});

/// Injecting twice equals injecting once.
fn again(sidecars: &[Value], once: &str) {
    let once = values(once.as_bytes());
    let text: Vec<String> = sidecars.iter().chain(&once).map(manifest::write).collect();
    let twice = on(Verb::Inject, &text.join("---\n"));
    assert_eq!(told(&values(twice.as_bytes())), told(&once), "injected twice");
}

/// Taking out gives back what there was before.
fn back(before: &[Value], injected: &str) {
    let after = values(on(Verb::Uninject, injected).as_bytes());
    let mut injected = values(injected.as_bytes());
    injected.retain(|document| !ConfigMap::is_ours(document));
    assert_eq!((before.len(), before.len()), (injected.len(), after.len()));
    for ((before, injected), after) in before.iter().zip(&injected).zip(&after) {
        if !is_known(before, injected) {
            assert_eq!(after.to_string(), before.to_string());
        }
    }
}

/// Whether a document holds a workload that was injected into before: by its ledger (`null` is none, but its place is ours), or
/// because it already held just what would be put in, which is taken for ours then.
fn is_known(before: &Value, injected: &Value) -> bool {
    if let Some(items) = items(before) {
        let injected = injected["items"].as_array().into_iter().flatten();
        return items.iter().zip(injected).any(|(before, injected)| is_known(before, injected));
    }
    let Some(template) = Kinds::default().of(before).and_then(|kind| before.pointer(kind.template())) else { return false };
    let ledger = ledger_text(injected).map(|text| Ledger::parse(text).expect("inject wrote or read it"));
    let entries = ledger.iter().flat_map(|ledger| &ledger.sidecars);
    let annotations = before.pointer("/metadata/annotations").and_then(Value::as_object);
    annotations.is_some_and(|annotations| annotations.contains_key(LEDGER_ANNOTATION))
        || entries.flat_map(|entry| entry.items.keys()).any(|key| key.get(template).is_some())
}

/// What a command makes of a text that it has to take, if there is anything in it.
fn on(verb: Verb, text: &str) -> String {
    if values(text.as_bytes()).is_empty() {
        return text.to_owned();
    }
    verb.on_text(text.as_bytes()).unwrap_or_else(|message| panic!("{verb:?}: {message}: {text}"))
}

/// The documents with their fields in order.
fn told(documents: &[Value]) -> Vec<String> {
    documents.iter().map(Value::to_string).collect()
}

/// The documents of a text, without those that say nothing.
fn values(text: &[u8]) -> Vec<Value> {
    let documents = manifest::read("-", text).unwrap_or_default();
    documents.into_iter().map(|document| document.value).filter(|value| !value.is_null()).collect()
}

/// The LogSidecars, and the documents without them.
fn sorted(documents: Vec<Value>) -> (Vec<Value>, Vec<Value>) {
    let (mut sidecars, mut others) = (Vec::new(), Vec::new());
    for mut document in documents {
        if let Some(items) = items(&document) {
            let (mut inner, rest) = sorted(items.clone());
            sidecars.append(&mut inner);
            document["items"] = rest.into();
            others.push(document);
            continue;
        }
        let version = document["apiVersion"].as_str().unwrap_or_default();
        let is_sidecar = document["kind"] == "LogSidecar" || version.starts_with("logsidecar.dev/");
        if is_sidecar { &mut sidecars } else { &mut others }.push(document);
    }
    (sidecars, others)
}

fn items(document: &Value) -> Option<&Vec<Value>> {
    document["kind"].as_str().filter(|kind| kind.ends_with("List")).and_then(|_| document["items"].as_array())
}
