//! What is written is read back: by a reader of YAML, and variables as Fluent Bit replaces them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::shipper::tests::{hostile, read_back};

fn read(log: &Value, outputs: &Value) -> Result<Value, Error> {
    read_back(config, log, outputs)
}

/// A value as Fluent Bit has it: a variable for the dollar sign; no others but those of ours.
fn told(value: &Value) -> String {
    let mut rest = value.as_str().expect("text");
    let mut told = String::new();
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').expect("a variable");
        assert!(name.starts_with("LOGSIDECAR_"), "{name}");
        told += before;
        told += if name == DOLLAR { "$" } else { "<variable>" };
        rest = after;
    }
    told + rest
}

fn log() -> Value {
    json!({"name": "app", "directory": "/l"})
}

fn output(output: &Value) -> Value {
    let mut output = output.clone();
    output["name"] = "o".into();
    read(&log(), &json!([output]))
        .map_or_else(|error| error.to_string().into(), |config| config["pipeline"]["outputs"][0].clone())
}

proptest! {
    #[test]
    fn a_users_text_reaches_the_native_reader_as_it_is(hostile in hostile()) {
        let secret = json!({"name": "s", "key": "k"});
        let is = || hostile.clone();
        let basic = json!({"basic": {"username": hostile, "password": secret}});
        let sasl = json!({"mechanism": "PLAIN", "username": hostile, "password": secret});
        for (output, property, expected) in [
            (json!({"loki": {"url": "http://h", "tenantID": hostile}}), "/tenant_id", is()),
            (json!({"http": {"url": "http://h", "headers": [{"name": "X", "value": hostile}]}}), "/header/0", format!("X {hostile}")),
            (json!({"http": {"url": "http://h", "auth": basic}}), "/http_user", is()),
            (json!({"kafka": {"brokers": ["b:1"], "topic": "t", "sasl": sasl}}), "/rdkafka.sasl.username", is()),
        ] {
            let mut output = output;
            output["name"] = "o".into();
            match read(&log(), &json!([output])) {
                Ok(config) => {
                    let value = config["pipeline"]["outputs"][0].pointer(property).expect("a value");
                    prop_assert_eq!(told(value), expected, "{}", output);
                }
                Err(error) => prop_assert!(property == "/http_user" && hostile.contains("${"), "{}", error),
            }
        }
        for (log, pointer, expected) in [
            (json!({"directory": format!("/l/{hostile}")}), "/pipeline/inputs/0/path", format!("/l/{hostile}/*.log")),
            (json!({"directory": "/l", "files": [format!("{hostile}x")]}), "/pipeline/inputs/0/path", format!("/l/{hostile}x")),
        ] {
            let mut log = log;
            log["name"] = "app".into();
            match read(&log, &json!([])) {
                Ok(config) => prop_assert_eq!(told(config.pointer(pointer).expect("a value")), expected, "{}", log),
                Err(error) => prop_assert!(hostile.contains(','), "{}", error),
            }
        }
        // An expression means the same, and is spelt so that nothing looks like a variable.
        let expression = format!("(?<a>){}", regex::escape(&hostile));
        for (field, log) in [
            ("/parsers/0/regex", json!({"parser": {"format": "regex", "regex": expression}})),
            ("/multiline_parsers/0/rules/0/regex", json!({"multiline": {"firstLine": expression}})),
        ] {
            let mut log = log;
            (log["name"], log["directory"]) = ("app".into(), "/l".into());
            let config = read(&log, &json!([])).expect("a config");
            let native = told(config.pointer(field).expect("an expression"));
            let native = native.strip_prefix('/').and_then(|native| native.strip_suffix('/')).unwrap_or(&native);
            prop_assert!(!native.contains("${"), "{}", native);
            prop_assert_eq!(native.replace(r"$\{", "${"), expression.replace(r"$\{", "${"));
        }
    }
}

#[test]
fn what_it_cannot_be_told_is_refused() {
    let secret = json!({"name": "s", "key": "k"});
    let basic = json!({"basic": {"username": "${A}", "password": secret}});
    let refused = [
        (read(&json!({"name": "app", "directory": "/l", "files": ["a,b"]}), &json!([])), "logs[app].files: "),
        (
            read(&json!({"name": "app", "directory": "/l", "parser": {"format": "regex", "regex": "a"}}), &json!([])),
            "logs[app].parser.regex: no part",
        ),
        (
            read(&json!({"name": "app", "directory": "/l", "multiline": {"firstLine": "("}}), &json!([])),
            "logs[app].multiline.firstLine: ",
        ),
        (
            read(&log(), &json!([{"name": "o", "http": {"url": "http://h", "auth": basic}}])),
            "outputs[o].http.auth.basic.username: ",
        ),
        (
            read(&log(), &json!([{"name": "o", "loki": {"url": "http://h", "auth": {"apiKey": secret}}}])),
            "outputs[o].loki.auth.apiKey: ",
        ),
        (
            read(&log(), &json!([{"name": "o", "openSearch": {"url": "http://h", "index": "i", "auth": {"bearer": secret}}}])),
            "outputs[o].openSearch.auth.bearer: ",
        ),
    ];
    for (result, expected) in refused {
        let told = result.map_err(|error| error.to_string());
        assert!(told.as_ref().is_err_and(|told| told.starts_with(expected)), "{expected}: {told:?}");
    }
}

/// Each field alone changes what Fluent Bit reads, at the property that means it.
#[test]
fn every_field_of_every_output_is_there() {
    let secret = json!({"name": "s", "key": "k"});
    let with = |base: &Value, field: &str, value: &Value| {
        let mut output = base.clone();
        let inner = output.as_object_mut().and_then(|map| map.values_mut().next()).expect("a destination");
        inner[field] = value.clone();
        output
    };
    let url = json!({"url": "https://h:9/p"});
    let s3 = json!({"s3": {"bucket": "bbb", "region": "r"}});
    let kafka = json!({"kafka": {"brokers": ["a:1"], "topic": "t"}});
    let forward = json!({"forward": {"host": "h"}});
    let search = json!({"elasticsearch": {"url": "https://h:9/p", "index": "i"}});
    let table = [
        (json!({"loki": url}), "tenantID", json!("t"), "tenant_id", json!("t")),
        (
            json!({"loki": url}),
            "labels",
            json!({"a": "b"}),
            "labels",
            json!("a=b,namespace=$namespace,pod=$pod,container=$container,node=$node"),
        ),
        (json!({"loki": url}), "url", json!("http://x"), "host", json!("x")),
        (
            json!({"otlp": url}),
            "headers",
            json!([{"name": "A", "secretKeyRef": secret}]),
            "header",
            json!(["A ${LOGSIDECAR_O_HEADER_0}"]),
        ),
        (json!({"otlp": url}), "url", json!("http://x/y"), "logs_uri", json!("/y/v1/logs")),
        (
            json!({"http": url}),
            "auth",
            json!({"bearer": secret}),
            "header",
            json!(["Authorization Bearer ${LOGSIDECAR_O_TOKEN}"]),
        ),
        (json!({"http": url}), "tls", json!({"ca": secret}), "tls.ca_file", json!("/logsidecar/tls/s/k")),
        (
            json!({"http": url}),
            "tls",
            json!({"certificate": secret, "privateKey": secret}),
            "tls.key_file",
            json!("/logsidecar/tls/s/k"),
        ),
        (json!({"http": url}), "tls", json!({"insecureSkipVerify": true}), "tls.verify", json!("off")),
        (search.clone(), "index", json!("j"), "index", json!("j")),
        (search.clone(), "daily", json!(true), "logstash_prefix", json!("i")),
        (search, "auth", json!({"apiKey": secret}), "http_api_key", json!("${LOGSIDECAR_O_API_KEY}")),
        (
            s3.clone(),
            "prefix",
            json!("p/q"),
            "s3_key_format",
            json!("/p/q/${POD_NAMESPACE}/%Y/%m/%d/${POD_NAME}/%H%M%S-$UUID.gz"),
        ),
        (s3, "endpoint", json!("http://h:1"), "endpoint", json!("http://h:1")),
        (forward.clone(), "port", json!(7), "port", json!(7)),
        (forward.clone(), "sharedKey", secret.clone(), "shared_key", json!("${LOGSIDECAR_O_SHARED_KEY}")),
        (forward, "tls", json!({}), "tls", json!("on")),
        (kafka.clone(), "brokers", json!(["a:1", "b:2"]), "brokers", json!("a:1,b:2")),
        (kafka.clone(), "compression", json!("Lz4"), "rdkafka.compression.codec", json!("lz4")),
        (kafka, "tls", json!({"ca": secret}), "rdkafka.ssl.ca.location", json!("/logsidecar/tls/s/k")),
    ];
    for (base, field, value, property, expected) in table {
        let changed = output(&with(&base, field, &value));
        assert_eq!(changed[property], expected, "{base} {field}");
        assert_ne!(changed, output(&base), "{base} {field}");
    }
}
