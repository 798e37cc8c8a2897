//! What is written is read back, by a reader of YAML, with `$$` for a dollar sign as the collector has it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::shipper::tests::{hostile, read_back};

fn read(log: &Value, outputs: &Value) -> Result<Value, Error> {
    read_back(config, log, outputs)
}

/// A value as the collector has it: `$$` is a dollar sign, and whatever else begins with one must be a variable of ours.
fn told(value: &Value) -> String {
    let mut rest = value.as_str().expect("text");
    let mut told = String::new();
    while let Some((before, after)) = rest.split_once('$') {
        told += before;
        rest = if let Some(after) = after.strip_prefix('$') {
            told.push('$');
            after
        } else {
            let name = after.strip_prefix("{env:").expect("a variable");
            let (name, after) = name.split_once('}').expect("a variable");
            assert!(name.starts_with("LOGSIDECAR_") || name.starts_with("POD_") || name == "NODE_NAME", "{name}");
            told += "<variable>";
            after
        };
    }
    told + rest
}

proptest! {
    #[test]
    fn a_users_text_reaches_the_native_reader_as_it_is(hostile in hostile()) {
        let secret = json!({"name": "s", "key": "k"});
        let basic = json!({"basic": {"username": hostile, "password": secret}});
        let sasl = json!({"mechanism": "PLAIN", "username": hostile, "password": secret});
        let is = || hostile.clone();
        for (output, pointer, expected) in [
            (json!({"loki": {"url": hostile}}), "/exporters/otlphttp~1o/endpoint", format!("{}/otlp", hostile.trim_end_matches('/'))),
            (json!({"loki": {"url": "http://h", "tenantID": hostile}}), "/exporters/otlphttp~1o/headers/X-Scope-OrgID", is()),
            (json!({"loki": {"url": "http://h", "labels": {"l": hostile}}}), "/receivers/filelog~1app/resource/l", is()),
            (json!({"otlp": {"url": hostile}}), "/exporters/otlphttp~1o/endpoint", hostile.trim_end_matches('/').to_owned()),
            (json!({"otlp": {"url": "http://h", "headers": [{"name": "X", "value": hostile}]}}), "/exporters/otlphttp~1o/headers/X", is()),
            (json!({"otlp": {"url": "http://h", "auth": basic}}), "/extensions/basicauth~1o/client_auth/username", is()),
            (json!({"elasticsearch": {"url": hostile, "index": "i"}}), "/exporters/elasticsearch~1o/endpoints/0", is()),
            (json!({"elasticsearch": {"url": "http://h", "index": hostile}}), "/exporters/elasticsearch~1o/logs_index", is()),
            (json!({"openSearch": {"url": hostile, "index": "i"}}), "/exporters/opensearch~1o/http/endpoint", is()),
            (json!({"openSearch": {"url": "http://h", "index": hostile}}), "/exporters/opensearch~1o/logs_index", is()),
            (json!({"s3": {"bucket": hostile, "region": "r"}}), "/exporters/awss3~1o/s3uploader/s3_bucket", is()),
            (json!({"s3": {"bucket": "b", "region": hostile}}), "/exporters/awss3~1o/s3uploader/region", is()),
            (json!({"s3": {"bucket": "b", "region": "r", "prefix": format!("p{hostile}")}}), "/exporters/awss3~1o/s3uploader/s3_prefix", format!("p{hostile}/<variable>")),
            (json!({"s3": {"bucket": "b", "region": "r", "endpoint": hostile}}), "/exporters/awss3~1o/s3uploader/endpoint", is()),
            (json!({"kafka": {"brokers": [hostile], "topic": "t"}}), "/exporters/kafka~1o/brokers/0", is()),
            (json!({"kafka": {"brokers": ["b"], "topic": hostile}}), "/exporters/kafka~1o/logs/topic", is()),
            (json!({"kafka": {"brokers": ["b"], "topic": "t", "sasl": sasl}}), "/exporters/kafka~1o/auth/sasl/username", is()),
        ] {
            let mut output = output;
            output["name"] = "o".into();
            let config = read(&json!({"name": "app", "directory": "/l"}), &json!([output])).expect("a config");
            prop_assert_eq!(told(config.pointer(pointer).expect("a value")), expected, "{}", output);
        }
        let expression = format!("(?<a>){}", regex::escape(&hostile));
        for (log, pointer, expected) in [
            (json!({"directory": format!("/l/{hostile}")}), "/include/0", format!("/l/{hostile}/*.log")),
            (json!({"directory": format!("/l/{hostile}")}), "/exclude/0", format!("/l/{hostile}/*.gz")),
            (json!({"directory": "/l", "files": [format!("{hostile}x")]}), "/include/0", format!("/l/{hostile}x")),
            (json!({"directory": "/l", "parser": {"format": "regex", "regex": expression}}), "/operators/0/regex", expression.clone()),
            (json!({"directory": "/l", "multiline": {"firstLine": expression}}), "/multiline/line_start_pattern", expression.clone()),
        ] {
            let mut log = log;
            log["name"] = "app".into();
            let config = read(&log, &json!([{"name": "o", "otlp": {"url": "http://h"}}])).expect("a config");
            prop_assert_eq!(told(config["receivers"]["filelog/app"].pointer(pointer).expect("a value")), expected, "{}", log);
        }
    }
}

#[test]
fn each_output_is_rendered_or_refused() {
    let secret = json!({"name": "s", "key": "k"});
    let log = json!({"name": "app", "directory": "/l"});
    let output = |output: Value| {
        let mut output = output;
        output["name"] = "o".into();
        read(&log, &json!([output])).map(|config| config["exporters"].clone()).map_err(|error| error.to_string())
    };
    for (refused, field) in [
        (json!({"stdout": {}}), "stdout"),
        (json!({"http": {"url": "http://h"}}), "http"),
        (json!({"forward": {"host": "h"}}), "forward"),
    ] {
        assert_eq!(
            output(refused),
            Err(format!("outputs[o].{field}: {}", crate::api::ShipperName::OtelCollector.features().lacks_because))
        );
    }
    let bearer = json!({"bearer": secret});
    let table = [
        (json!({"loki": {"url": "http://h:3100", "tenantID": "t"}}), "/otlphttp~1o/headers/X-Scope-OrgID", json!("t")),
        (json!({"loki": {"url": "http://h:3100/"}}), "/otlphttp~1o/endpoint", json!("http://h:3100/otlp")),
        (
            json!({"otlp": {"url": "http://h/x", "auth": bearer}}),
            "/otlphttp~1o/headers/Authorization",
            json!("Bearer ${env:LOGSIDECAR_O_TOKEN}"),
        ),
        (
            json!({"otlp": {"url": "https://h", "tls": {"ca": secret}}}),
            "/otlphttp~1o/tls/ca_file",
            json!("/logsidecar/tls/s/k"),
        ),
        (json!({"otlp": {"url": "http://h"}}), "/otlphttp~1o/sending_queue/queue_size", json!(64 << 20)),
        (
            json!({"elasticsearch": {"url": "http://h", "index": "i", "auth": {"apiKey": secret}}}),
            "/elasticsearch~1o/api_key",
            json!("${env:LOGSIDECAR_O_API_KEY}"),
        ),
        (
            json!({"elasticsearch": {"url": "http://h", "index": "i", "daily": true}}),
            "/elasticsearch~1o/logstash_format/enabled",
            json!(true),
        ),
        (
            json!({"openSearch": {"url": "http://h", "index": "i", "auth": bearer}}),
            "/opensearch~1o/http/headers/Authorization",
            json!("Bearer ${env:LOGSIDECAR_O_TOKEN}"),
        ),
        (
            json!({"s3": {"bucket": "bbb", "region": "r", "prefix": "p"}}),
            "/awss3~1o/s3uploader/s3_prefix",
            json!("p/${env:POD_NAMESPACE}"),
        ),
        (
            json!({"kafka": {"brokers": ["b:1"], "topic": "t", "compression": "Lz4"}}),
            "/kafka~1o/producer/compression",
            json!("lz4"),
        ),
    ];
    for (wanted, pointer, expected) in table {
        let exporters = output(wanted.clone()).expect("a config");
        assert_eq!(exporters.pointer(pointer), Some(&expected), "{wanted}: {exporters}");
    }
}
