//! What is written is read back: by a reader of YAML, and one variable as Fluent Bit replaces it.

use serde_json::{Value, json};

use super::*;
use crate::shipper::tests::read_back;

/// A config as Fluent Bit has it after the variables are replaced.
fn read(log: &Value, outputs: &Value) -> Result<Value, Error> {
    read_back(|pipeline| Ok(config(pipeline)?.replace("${LOGSIDECAR_DOLLAR}", "$")), log, outputs)
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

const HOSTILE: &str = r#"a ${HOME} "q" 'r' #{x} %{y} {{ z }} $$ $(A) %Y \\ ü # : -"#;

#[test]
fn a_users_text_reaches_the_native_reader_as_it_is() {
    let config = read(&json!({"name": "app", "directory": HOSTILE.replace(' ', "/"), "files": ["*.log"]}), &json!([]))
        .expect("a config");
    assert_eq!(config["pipeline"]["inputs"][0]["path"], format!("{}/*.log", HOSTILE.replace(' ', "/")));
    let web = output(&json!({"http": {"url": "http://h", "headers": [{"name": "X", "value": HOSTILE}]}}));
    assert_eq!(web["header"], json!([format!("X {HOSTILE}")]));
    let kafka = json!({"kafka": {"brokers": ["b:1"], "topic": "t", "sasl": {"mechanism": "PLAIN", "username": HOSTILE, "password": {"name": "s", "key": "k"}}}});
    assert_eq!(output(&kafka)["rdkafka.sasl.username"], HOSTILE);
    let parsed = json!({"name": "app", "directory": "/l", "parser": {"format": "regex", "regex": r#"(?<a>[${]"'#)"#}});
    assert_eq!(read(&parsed, &json!([])).expect("a config")["parsers"][0]["regex"], r#"(?<a>[$\{]"'#)"#);
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
