//! What is written is read back, by a reader of YAML, with `$$` for a dollar sign as the collector has it.

use serde_json::{Value, json};

use super::*;
use crate::shipper::tests::read_back;

fn read(log: &Value, outputs: &Value) -> Result<Value, Error> {
    read_back(config, log, outputs)
}

const HOSTILE: &str = r#"a ${env:HOME} "q" 'r' #{x} %{y} {{ z }} $$ $(A) %Y \\ ü # : -"#;

#[test]
fn a_users_text_reaches_the_native_reader_as_it_is() {
    let directory = HOSTILE.replace(' ', "/");
    let log = json!({"name": "app", "directory": directory, "parser": {"format": "regex", "regex": r#"(?<a>[${]"'#)$"#}});
    let headers = json!([{"name": "X", "value": HOSTILE}]);
    let config = read(&log, &json!([{"name": "o", "otlp": {"url": "http://h", "headers": headers}}])).expect("a config");
    let told = |value: &Value| value.as_str().expect("text").replace("$$", "$");
    assert_eq!(told(&config["receivers"]["filelog/app"]["include"][0]), format!("{directory}/*.log"));
    assert_eq!(told(&config["receivers"]["filelog/app"]["operators"][0]["regex"]), r#"(?<a>[${]"'#)$"#);
    assert_eq!(told(&config["exporters"]["otlphttp/o"]["headers"]["X"]), HOSTILE);
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
        assert_eq!(output(refused), Err(format!("outputs[o].{field}: {}", crate::shipper::COLLECTOR_CANNOT)));
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
