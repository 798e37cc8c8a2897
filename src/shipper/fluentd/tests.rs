mod hostile;

use serde_json::{Value, json};

use super::{
    reader::{Element, Read, read},
    *,
};
use crate::api::{Log, LogSidecarSpec};

fn log(of: &Value) -> Log {
    let mut log = json!({"name": "app", "directory": "/l", "files": ["*.log"]});
    log.as_object_mut().unwrap().extend(of.as_object().cloned().unwrap_or_default());
    serde_json::from_value(log).unwrap()
}

/// An output called `o`.
fn output(kind: &str, of: &Value) -> Output {
    serde_json::from_value(json!({"name": "o", kind: of})).unwrap()
}

fn rendered(log: &Log, outputs: Vec<Output>) -> Result<Element, Error> {
    let pipeline =
        Pipeline { sources: vec![Source::of(log)], outputs, buffer: 64 << 20, max_line: 1 << 20, port: PORT, own_image: false };
    config(&pipeline).map(|text| read(&text))
}

fn of_output(kind: &str, of: &Value) -> Result<Element, Error> {
    rendered(&log(&json!({})), vec![output(kind, of)])
}

fn text(value: &str) -> Read {
    Read::Text(value.to_owned())
}

fn ruby(value: &str) -> Read {
    Read::Ruby(value.to_owned())
}

/// The least of each destination.
fn least(kind: &str) -> Value {
    match kind {
        "http" => json!({"url": "https://h/p?q"}),
        "elasticsearch" | "openSearch" => json!({"url": "https://h:1/p", "index": "logs"}),
        "s3" => json!({"bucket": "b-u", "region": "r"}),
        "forward" => json!({"host": "h"}),
        "kafka" => json!({"brokers": ["h:1", "i:2"], "topic": "t"}),
        _ => json!({}),
    }
}

#[test]
fn every_field_of_an_output_is_where_its_plugin_looks_for_it() {
    let secret = json!({"name": "s", "key": "k"});
    let file = || text("/logsidecar/tls/s/k");
    let files = |key: &str| json!({key: secret});
    let certificate = json!({"certificate": secret, "privateKey": secret});
    let headers = |authorization: &str| Read::Json(json!({"Authorization": format!("ruby:{authorization}")}));
    let list = |text: &str| Read::Text(json!([text]).to_string());
    let basic = json!({"basic": {"username": "u", "password": secret}});
    let mut cases = vec![
        ("http", json!({}), "endpoint", text("https://h/p?q")),
        ("http", json!({"auth": basic}), "auth/username", text("u")),
        ("http", json!({"auth": basic}), "auth/password", ruby("#{ENV['LOGSIDECAR_O_PASSWORD']}")),
        ("http", json!({"auth": {"bearer": secret}}), "headers", headers("('Bearer ' + ENV['LOGSIDECAR_O_TOKEN']).to_json")),
        ("http", json!({"headers": [{"name": "X", "value": "#{1}"}]}), "headers", Read::Json(json!({"X": "#{1}"}))),
        (
            "http",
            json!({"headers": [{"name": "X", "value": "v"}, {"name": "Y", "secretKeyRef": secret}]}),
            "headers",
            Read::Json(json!({"X": "v", "Y": "ruby:ENV['LOGSIDECAR_O_HEADER_1'].to_json"})),
        ),
        ("http", json!({"tls": files("ca")}), "tls_ca_cert_path", file()),
        ("http", json!({"tls": certificate}), "tls_client_cert_path", file()),
        ("http", json!({"tls": certificate}), "tls_private_key_path", file()),
        ("http", json!({"tls": {"insecureSkipVerify": true}}), "tls_verify_mode", text("none")),
        ("s3", json!({}), "s3_bucket", text("b-u")),
        ("s3", json!({}), "s3_region", text("r")),
        ("s3", json!({"prefix": "a/b"}), "path", text("a/b/")),
        ("s3", json!({"endpoint": "http://m:9"}), "s3_endpoint", text("http://m:9")),
        ("s3", json!({"endpoint": "http://m:9"}), "force_path_style", text("true")),
        (
            "s3",
            json!({"credentials": {"accessKeyID": secret, "secretAccessKey": secret}}),
            "aws_key_id",
            ruby("#{ENV['LOGSIDECAR_O_ACCESS_KEY_ID']}"),
        ),
        (
            "s3",
            json!({"credentials": {"accessKeyID": secret, "secretAccessKey": secret}}),
            "aws_sec_key",
            ruby("#{ENV['LOGSIDECAR_O_SECRET_ACCESS_KEY']}"),
        ),
        ("s3", json!({"tls": files("ca")}), "ssl_ca_bundle", file()),
        ("s3", json!({"tls": {"insecureSkipVerify": true}}), "ssl_verify_peer", text("false")),
        ("forward", json!({}), "server/host", text("h")),
        ("forward", json!({}), "server/port", text("24224")),
        ("forward", json!({"port": 5}), "server/port", text("5")),
        ("forward", json!({"sharedKey": secret}), "security/shared_key", ruby("#{ENV['LOGSIDECAR_O_SHARED_KEY']}")),
        ("forward", json!({"tls": {}}), "transport", text("tls")),
        ("forward", json!({"tls": {}}), "server/name", text("h")),
        ("forward", json!({"tls": files("ca")}), "tls_ca_cert_path", list("/logsidecar/tls/s/k")),
        ("forward", json!({"tls": certificate}), "tls_client_cert_path", file()),
        ("forward", json!({"tls": certificate}), "tls_client_private_key_path", file()),
        ("forward", json!({"tls": {"insecureSkipVerify": true}}), "tls_insecure_mode", text("true")),
        ("kafka", json!({}), "brokers", text(r#"["h:1","i:2"]"#)),
        ("kafka", json!({}), "default_topic", text("t")),
        ("kafka", json!({"compression": "Gzip"}), "compression_codec", text("gzip")),
        ("kafka", json!({"compression": "Snappy"}), "compression_codec", text("snappy")),
        ("kafka", json!({"tls": {}}), "ssl_ca_certs_from_system", text("true")),
        ("kafka", json!({"tls": files("ca")}), "ssl_ca_cert", file()),
        ("kafka", json!({"tls": certificate}), "ssl_client_cert", file()),
        ("kafka", json!({"tls": certificate}), "ssl_client_cert_key", file()),
    ];
    let sasl = |mechanism: &str| json!({"sasl": {"mechanism": mechanism, "username": "u", "password": secret}});
    cases.extend([
        ("kafka", sasl("PLAIN"), "username", text("u")),
        ("kafka", sasl("PLAIN"), "password", ruby("#{ENV['LOGSIDECAR_O_PASSWORD']}")),
        ("kafka", sasl("PLAIN"), "sasl_over_ssl", text("false")),
        ("kafka", sasl("SCRAM-SHA-256"), "scram_mechanism", text("sha256")),
        ("kafka", sasl("SCRAM-SHA-512"), "scram_mechanism", text("sha512")),
    ]);
    check(cases);
}

#[test]
fn elasticsearch_and_opensearch_have_the_same_fields() {
    let secret = json!({"name": "s", "key": "k"});
    let file = || text("/logsidecar/tls/s/k");
    let files = |key: &str| json!({key: secret});
    let certificate = json!({"certificate": secret, "privateKey": secret});
    let headers = |authorization: &str| Read::Json(json!({"Authorization": format!("ruby:{authorization}")}));
    let basic = json!({"basic": {"username": "u", "password": secret}});
    for kind in ["elasticsearch", "openSearch"] {
        let user = "('Basic ' + ['dTo='.unpack1('m') + ENV['LOGSIDECAR_O_PASSWORD']].pack('m0')).to_json";
        check(vec![
            (kind, json!({}), "scheme", text("https")),
            (kind, json!({}), "host", text("h")),
            (kind, json!({}), "port", text("1")),
            (kind, json!({}), "path", text("/p")),
            (kind, json!({}), "index_name", text("logs")),
            (kind, json!({"daily": true}), "logstash_prefix", text("logs")),
            (kind, json!({"daily": true}), "logstash_format", text("true")),
            (kind, json!({"auth": basic}), "custom_headers", headers(user)),
            (
                kind,
                json!({"auth": {"bearer": secret}}),
                "custom_headers",
                headers("('Bearer ' + ENV['LOGSIDECAR_O_TOKEN']).to_json"),
            ),
            (
                kind,
                json!({"auth": {"apiKey": secret}}),
                "custom_headers",
                headers("('ApiKey ' + ENV['LOGSIDECAR_O_API_KEY']).to_json"),
            ),
            (kind, json!({"tls": files("ca")}), "ca_file", file()),
            (kind, json!({"tls": certificate}), "client_cert", file()),
            (kind, json!({"tls": certificate}), "client_key", file()),
            (kind, json!({"tls": {"insecureSkipVerify": true}}), "ssl_verify", text("false")),
        ]);
    }
}

/// Output, what is added to it, where it shows, and how.
fn check(cases: Vec<(&str, Value, &str, Read)>) {
    for (kind, more, key, expected) in cases {
        let mut of = least(kind);
        let plain = of_output(kind, &of).unwrap();
        of.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let found = of_output(kind, &of).unwrap();
        let path = format!("label @o/match **/{key}");
        assert_eq!(found.at(&path), Some(&expected), "{kind} {more}");
        assert!(more == json!({}) || plain.at(&path) != Some(&expected), "{kind} {more} changes {key}");
    }
}

#[test]
fn lines_become_fields_of_the_same_names_as_elsewhere() {
    let regex = json!({"format": "regex", "regex": "^(?<a>.)/i$"});
    for (parser, key, expected) in [
        (json!({"parser": regex}), "parse/expression", "/^(?<a>.)/i$/"),
        (json!({"parser": {"format": "json"}}), "key_name", "logsidecar_object"),
        (json!({"parser": {"format": "logfmt"}}), "parse/@type", "json"),
        (json!({"parser": {"format": "nginx"}}), "parse/types", "code:integer,size:integer"),
    ] {
        let found = rendered(&log(&parser), outputs()).unwrap();
        let filters = &found.elements.iter().find(|label| label.argument == "@LINES").unwrap().elements;
        assert_eq!(filters[1].at(key), Some(&text(expected)), "{key}");
    }
    let timed = json!({"format": "json", "timeKey": "@t.x", "timeFormat": "%d/%b %H:%M"});
    let found = rendered(&log(&json!({"parser": timed})), outputs()).unwrap();
    let time = r#"${(DateTime.strptime(record["@t.x"], "%d/%b %H:%M").to_time rescue time).to_f.next_float}"#;
    assert!(found.all().iter().any(|(key, value)| key.ends_with("/logsidecar_time") && *value == text(time)));
    let lines = rendered(&log(&json!({"multiline": {"firstLine": "^'\\\\"}})), outputs()).unwrap();
    assert_eq!(lines.at("source/port"), Some(&text("24220")));
    assert!(lines.all().contains(&("source /parse /format_firstline".to_owned(), text("/^'\\\\/"))));
}

fn outputs() -> Vec<Output> {
    vec![output("stdout", &json!({}))]
}

#[test]
fn files_are_found_as_by_a_shell() {
    for (file, path, exclude) in [
        ("*.log", "/l/*.log", None),
        ("a|b;%Y.log", "/l/a|b;%%Y.log", None),
        ("**", "/l/*", Some("/l/*.{gz,zip,bz2,xz,zst,[0-9],[0-9][0-9],[0-9][0-9][0-9],old,tmp}")),
        ("a{b,c}*.log", r"/l/a\{b,c\}*.log", None),
        ("a{b,c}.log", r"/l/a\{b,c\}.log", None),
        ("a{b}.log", "/l/a{b}.log", None),
        ("[!a-c]?.log", "/l/[!a-c]?.log", None),
        ("[x*", r"/l/\[x*", Some(r"/l/\[x*.{gz,zip,bz2,xz,zst,[0-9],[0-9][0-9],[0-9][0-9][0-9],old,tmp}")),
    ] {
        let found = rendered(&log(&json!({"files": [file]})), outputs()).unwrap();
        let parameter =
            |name: &str| found.all().into_iter().find(|(key, _)| key == &format!("source /{name}")).map(|(_, value)| value);
        assert_eq!(parameter("path"), Some(text(path)));
        assert_eq!(parameter("exclude_path"), exclude.map(|exclude| Read::Text(json!([exclude]).to_string())));
    }
    let found = rendered(&log(&json!({"files": ["*", "*.gz", "x.1"]})), outputs()).unwrap();
    assert!(found.all().contains(&("source /exclude_path".to_owned(), text(r#"["/l/*.{zip,bz2,xz,zst,old,tmp}"]"#))));
}

#[test]
fn what_fluentd_cannot_do_is_said() {
    let secret = json!({"name": "s", "key": "k"});
    let with = |kind: &str, more: &Value| {
        let mut of = least(kind);
        of.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        of_output(kind, &of)
    };
    let of_log = |more: &Value| rendered(&log(more), outputs());
    let parser = |more: &Value| of_log(&json!({"parser": more}));
    for (found, expected) in [
        (of_output("loki", &json!({"url": "http://l"})), "outputs[o].loki: the official images"),
        (of_output("otlp", &json!({"url": "http://l"})), "outputs[o].otlp: the official images"),
        (with("http", &json!({"url": "http://[::1]/"})), "outputs[o].http.url: "),
        (with("openSearch", &json!({"url": "http://[::1]:9200"})), "outputs[o].openSearch.url: "),
        (
            with("http", &json!({"headers": [{"name": "X", "value": "1"}, {"name": "x", "value": "2"}]})),
            "outputs[o].http.headers: ",
        ),
        (with("s3", &json!({"endpoint": "https://s3.amazonaws.com"})), "outputs[o].s3.endpoint: "),
        (with("s3", &json!({"tls": {"certificate": secret, "privateKey": secret}})), "outputs[o].s3.tls.certificate: "),
        (with("s3", &json!({"prefix": "%Y"})), "outputs[o].s3.prefix: "),
        (with("kafka", &json!({"compression": "Lz4"})), "outputs[o].kafka.compression: "),
        (with("kafka", &json!({"tls": {"insecureSkipVerify": true}})), "outputs[o].kafka.tls.insecureSkipVerify: "),
        (with("elasticsearch", &json!({"index": "Logs"})), "outputs[o].elasticsearch.index: "),
        (with("openSearch", &json!({"index": "${tag}"})), "outputs[o].openSearch.index: "),
        (parser(&json!({"format": "regex", "regex": "(a)"})), "logs[app].parser.regex: it has no named group"),
        (parser(&json!({"format": "regex", "regex": "(?P<a>a)"})), "logs[app].parser.regex: Ruby cannot"),
        (parser(&json!({"format": "json", "timeKey": "a\"]", "timeFormat": "%Y"})), "logs[app].parser.timeKey: "),
        (parser(&json!({"format": "json", "timeKey": "a", "timeFormat": "#{1}"})), "logs[app].parser.timeFormat: "),
        (of_log(&json!({"multiline": {"firstLine": "("}})), "logs[app].multiline.firstLine: "),
        (of_log(&json!({"multiline": {"firstLine": "é"}})), "logs[app].multiline.firstLine: Fluentd finds ASCII"),
        (of_log(&json!({"files": ["[[:alpha:]]*"]})), "logs[app].files: "),
        (of_log(&json!({"files": ["a "]})), "logs[app].files: "),
        (of_log(&json!({"files": ["a\nb"]})), "logs[app].files: "),
    ] {
        let error = found.expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn plugins_of_two_images_need_an_image_of_the_users_own() {
    let spec = |container: &Value| -> LogSidecarSpec {
        let s3 = json!({"name": "a", "s3": least("s3")});
        let kafka = json!({"name": "b", "kafka": least("kafka")});
        let logs = json!([log(&json!({}))]);
        serde_json::from_value(json!({
            "target": {"name": "x"}, "logs": logs, "outputs": [s3, kafka], "sidecar": {"fluentd": {}, "container": container},
        }))
        .unwrap()
    };
    let parts = |spec: &LogSidecarSpec| engine::parts(crate::shipper::Shipper::of(spec).unwrap(), spec, &Images::default());
    let refused = parts(&spec(&json!({}))).unwrap_err().to_string();
    assert!(refused.starts_with("outputs[a].s3 and outputs[b].kafka: no official image"), "{refused}");
    let parts = parts(&spec(&json!({"image": "mine"}))).unwrap();
    assert_eq!(parts.config.unwrap().file, FILE);
    let images = Images { fluentd_plugin: "i-{plugin}".to_owned(), ..Images::default() };
    for (kind, expected) in
        [("elasticsearch", "elasticsearch8"), ("openSearch", "opensearch"), ("s3", "s3"), ("kafka", "kafka2")]
    {
        let outputs = [output("stdout", &json!({})), output(kind, &least(kind))];
        assert_eq!(image(&outputs, &images), format!("i-{expected}"));
    }
    assert_eq!(image(&outputs(), &images), images.fluentd);
}
