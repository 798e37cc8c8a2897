//! Where lines go.

use serde_json::{Map, Value, json};

use super::text;
use crate::{
    api::{Auth, Compression, Destination, Header, Kafka, Output, Search, Tls},
    shipper::{
        Error, Url,
        engine::{STATE, secret_variable, tls_file},
    },
};

/// One output, for the lines of all sources.
pub(super) fn output(output: &Output) -> Result<Value, Error> {
    let (plugin, fields) = match output.destination() {
        Destination::Stdout(_) => {
            ("stdout", json!({"format": "json_lines", "json_date_key": "time", "json_date_format": "iso8601"}))
        }
        Destination::Loki(loki) => {
            let url = Url::of(&loki.url);
            let fixed = loki.labels.iter().map(|(label, value)| format!("{label}={value}"));
            let fields = ["namespace", "pod", "container", "node"].map(|field| format!("{field}=${field}"));
            let labels: Vec<String> = fixed.chain(fields).collect();
            let mut fields = json!({
                "host": url.host, "port": url.port, "uri": format!("{}/loki/api/v1/push", url.path),
                "labels": labels.join(","), "remove_keys": "namespace,pod,container,node",
                "line_format": "json", "compress": "gzip",
            });
            if let Some(tenant) = &loki.tenant_id {
                fields["tenant_id"] = text(tenant).into();
            }
            ("loki", fields)
        }
        Destination::Otlp(otlp) => {
            let url = Url::of(&otlp.url);
            let fields = json!({
                "host": url.host, "port": url.port, "logs_uri": format!("{}/v1/logs", url.path),
                "logs_body_key": "$log", "logs_body_key_attributes": true, "compress": "gzip",
            });
            ("opentelemetry", fields)
        }
        Destination::Http(http) => {
            let url = Url::of(&http.url);
            let path = if url.path.starts_with('/') { url.path.to_owned() } else { format!("/{}", url.path) };
            let fields = json!({
                "host": url.host, "port": url.port, "uri": path, "format": "json_lines",
                "json_date_key": "time", "json_date_format": "iso8601", "compress": "gzip",
            });
            ("http", fields)
        }
        Destination::Elasticsearch(search) => ("es", index(search)),
        Destination::OpenSearch(search) => ("opensearch", index(search)),
        Destination::S3(s3) => {
            let prefix = s3.prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
            let mut fields = json!({
                "bucket": s3.bucket, "region": s3.region, "use_put_object": "on", "compression": "gzip",
                "total_file_size": "10M", "upload_timeout": "1m",
                "s3_key_format": format!("{prefix}/${{POD_NAMESPACE}}/%Y/%m/%d/${{POD_NAME}}/%H%M%S-$UUID.gz"),
                "static_file_path": "on", "store_dir": format!("{STATE}/s3-{}", output.name), "store_dir_limit_size": "256M",
            });
            if let Some(endpoint) = &s3.endpoint {
                fields["endpoint"] = endpoint.as_str().into();
            }
            // The plugin takes no more.
            fields["retry_limit"] = 5.into();
            ("s3", fields)
        }
        Destination::Forward(forward) => {
            let mut fields = json!({
                "host": forward.host, "port": forward.port.unwrap_or(24224), "require_ack_response": true,
                // Fluentd refuses events that come with it.
                "retain_metadata_in_forward_mode": false, "compress": "gzip",
            });
            if forward.shared_key.is_some() {
                fields["shared_key"] = variable(output, "SHARED_KEY").into();
                fields["self_hostname"] = "${POD_NAME}".into();
            }
            ("forward", fields)
        }
        Destination::Kafka(kafka) => ("kafka", kafka_fields(kafka, &variable(output, "PASSWORD"))),
    };
    let mut all = Map::from_iter([
        ("name".to_owned(), plugin.into()),
        ("alias".to_owned(), output.name.as_str().into()),
        ("match".to_owned(), "logs.*".into()),
        ("retry_limit".to_owned(), "no_limits".into()),
    ]);
    all.extend(fields.as_object().cloned().unwrap_or_default());
    all.extend(credentials(output)?);
    if !matches!(output.destination(), Destination::Kafka(_)) && output.destination().is_encrypted() {
        all.extend(encryption(output.destination().tls()));
    }
    Ok(Value::Object(all))
}

/// What the environment holds of an output.
fn variable(output: &Output, what: &str) -> String {
    format!("${{{}}}", secret_variable(&output.name, what))
}

fn kafka_fields(kafka: &Kafka, password: &str) -> Value {
    let mut fields = json!({
        "brokers": kafka.brokers.join(","), "topics": kafka.topic, "format": "json",
        "timestamp_key": "time", "timestamp_format": "iso8601",
        "rdkafka.request.required.acks": -1, "queue_full_retries": 0,
    });
    if let Some(compression) = kafka.compression.filter(|compression| *compression != Compression::None) {
        fields["rdkafka.compression.codec"] = compression.as_str().into();
    }
    let security = match (kafka.sasl.is_some(), kafka.tls.is_some()) {
        (false, false) => "PLAINTEXT",
        (false, true) => "SSL",
        (true, false) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    fields["rdkafka.security.protocol"] = security.into();
    if let Some(sasl) = &kafka.sasl {
        fields["rdkafka.sasl.mechanism"] = sasl.mechanism.as_str().into();
        fields["rdkafka.sasl.username"] = text(&sasl.username).into();
        fields["rdkafka.sasl.password"] = password.into();
    }
    if let Some(tls) = &kafka.tls {
        for (field, file) in [("ca", &tls.ca), ("certificate", &tls.certificate), ("key", &tls.private_key)] {
            if let Some(secret) = file {
                fields[format!("rdkafka.ssl.{field}.location")] = tls_file(secret).into();
            }
        }
        if tls.insecure_skip_verify {
            fields["rdkafka.enable.ssl.certificate.verification"] = "false".into();
        }
    }
    fields
}

fn index(search: &Search) -> Value {
    let url = Url::of(&search.url);
    let mut fields = json!({
        "host": url.host, "port": url.port, "suppress_type_name": "on", "compress": "gzip",
        // What is sent once more is the same document, not another one.
        "generate_id": "on", "write_operation": "create", "trace_error": "on", "buffer_size": "512k",
    });
    if !url.path.is_empty() {
        fields["path"] = url.path.into();
    }
    if search.daily {
        fields["logstash_format"] = "on".into();
        fields["logstash_prefix"] = search.index.as_str().into();
    } else {
        fields["index"] = search.index.as_str().into();
    }
    fields
}

/// Headers and credentials.
fn credentials(output: &Output) -> Result<Map<String, Value>, Error> {
    let destination = output.destination();
    let mut fields = Map::new();
    let mut headers: Vec<String> = Vec::new();
    for (index, header) in destination.headers().iter().enumerate() {
        let Header { name, value, secret_key_ref: _ } = header;
        let value = value.as_ref().map_or_else(|| variable(output, &format!("HEADER_{index}")), |value| text(value));
        headers.push(format!("{name} {value}"));
    }
    let is_search = matches!(destination, Destination::Elasticsearch(_) | Destination::OpenSearch(_));
    let field = |name: &str| format!("outputs[{}].{}.auth.{name}", output.name, destination.field());
    match destination.auth() {
        Some(Auth { basic: Some(basic), .. }) if basic.username.contains("${") => {
            // Of this value it replaces variables twice, so that no spelling of a dollar sign gets through.
            let problem = "Fluent Bit takes ${…} for a variable here: use another user".to_owned();
            return Err(Error::Field { field: field("basic.username"), problem });
        }
        Some(Auth { basic: Some(basic), .. }) => {
            fields.insert("http_user".to_owned(), basic.username.as_str().into());
            fields.insert("http_passwd".to_owned(), variable(output, "PASSWORD").into());
        }
        Some(Auth { bearer: Some(_), .. }) if is_search => {
            let problem =
                "Fluent Bit sends no bearer token to a search engine: write basic, or sidecar.otelCollector".to_owned();
            return Err(Error::Field { field: field("bearer"), problem });
        }
        Some(Auth { bearer: Some(_), .. }) => headers.push(format!("Authorization Bearer {}", variable(output, "TOKEN"))),
        Some(Auth { api_key: Some(_), .. }) if output.elasticsearch.is_some() => {
            fields.insert("http_api_key".to_owned(), variable(output, "API_KEY").into());
        }
        Some(Auth { api_key: Some(_), .. }) => {
            let problem = "only Elasticsearch has API keys: write basic or bearer".to_owned();
            return Err(Error::Field { field: field("apiKey"), problem });
        }
        Some(Auth { basic: None, bearer: None, api_key: None }) | None => {}
    }
    if !headers.is_empty() {
        fields.insert("header".to_owned(), headers.into());
    }
    Ok(fields)
}

fn encryption(tls: Option<&Tls>) -> Map<String, Value> {
    let mut fields = Map::from_iter([("tls".to_owned(), "on".into())]);
    let Some(tls) = tls else { return fields };
    for (field, secret) in [("tls.ca_file", &tls.ca), ("tls.crt_file", &tls.certificate), ("tls.key_file", &tls.private_key)] {
        if let Some(secret) = secret {
            fields.insert(field.to_owned(), tls_file(secret).into());
        }
    }
    if tls.insecure_skip_verify {
        fields.insert("tls.verify".to_owned(), "off".into());
    }
    fields
}
