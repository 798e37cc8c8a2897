//! Where lines go.

use serde_json::{Map, Value, json};

use super::{STORAGE, text, variable};
use crate::{
    api::{Auth, Compression, Destination, Output, Search, ShipperName, Tls},
    shipper::{Error, engine::secret_variable, engine::tls_file},
};

/// An exporter, and the extension that it needs.
pub(super) struct Exporter {
    pub name: String,
    pub config: Value,
    pub extension: Option<(String, Value)>,
}

/// The labels of all Loki outputs, as attributes of the resource.
pub(super) fn labels(outputs: &[Output]) -> Map<String, Value> {
    let labels = outputs.iter().filter_map(|output| output.loki.as_ref()).flat_map(|loki| &loki.labels);
    labels.map(|(label, value)| (label.clone(), text(value).into())).collect()
}

/// One output, whose queue may have so many bytes.
pub(super) fn exporter(output: &Output, share: u64) -> Result<Exporter, Error> {
    let destination = output.destination();
    let secret = |what: &str| variable(&secret_variable(&output.name, what));
    let (kind, mut config) = match destination {
        Destination::Stdout(_) | Destination::Http(_) | Destination::Forward(_) => {
            return Err(Error::unsupported(output, ShipperName::OtelCollector));
        }
        Destination::Loki(loki) => ("otlphttp", json!({"endpoint": format!("{}/otlp", text(loki.url.trim_end_matches('/')))})),
        Destination::Otlp(otlp) => ("otlphttp", json!({"endpoint": text(otlp.url.trim_end_matches('/'))})),
        Destination::Elasticsearch(search) => ("elasticsearch", elasticsearch(search)),
        Destination::OpenSearch(search) => ("opensearch", opensearch(search)),
        Destination::S3(s3) => {
            let mut uploader = json!({
                "region": text(&s3.region), "s3_bucket": text(&s3.bucket), "s3_partition_format": "%Y/%m/%d", "compression": "gzip",
            });
            let folder = [text(s3.prefix.as_deref().unwrap_or_default()), variable("POD_NAMESPACE")].join("/");
            uploader["s3_prefix"] = folder.trim_start_matches('/').into();
            // One file for each pod: names are made of it and a random part.
            uploader["file_prefix"] = format!("{}-", variable("POD_NAME")).into();
            if let Some(endpoint) = &s3.endpoint {
                uploader["endpoint"] = text(endpoint).into();
                uploader["s3_force_path_style"] = true.into();
            }
            if s3.tls.is_some() {
                let problem =
                    "the collector trusts what its image trusts, for S3: leave tls out, or write sidecar.fluentBit".to_owned();
                return Err(Error::Field { field: format!("outputs[{}].s3.tls", output.name), problem });
            }
            ("awss3", json!({"s3uploader": uploader, "marshaler": "otlp_json"}))
        }
        Destination::Kafka(kafka) => {
            let compression = kafka.compression.map_or("none", Compression::as_str);
            let mut config = json!({
                "brokers": kafka.brokers.iter().map(|broker| text(broker)).collect::<Vec<_>>(),
                "logs": {"topic": text(&kafka.topic), "encoding": "otlp_json"},
                "producer": {"required_acks": -1, "compression": compression},
            });
            if let Some(sasl) = &kafka.sasl {
                config["auth"] = json!({"sasl": {
                    "mechanism": sasl.mechanism.as_str(), "username": text(&sasl.username), "password": secret("PASSWORD")}});
            }
            ("kafka", config)
        }
    };
    if kind == "otlphttp" {
        config["compression"] = "gzip".into();
    }
    let mut headers: Map<String, Value> = Map::new();
    for (index, header) in destination.headers().iter().enumerate() {
        let value = header.value.as_ref().map_or_else(|| secret(&format!("HEADER_{index}")), |value| text(value));
        headers.insert(header.name.clone(), value.into());
    }
    if let Destination::Loki(loki) = destination {
        headers.extend(loki.tenant_id.iter().map(|tenant| ("X-Scope-OrgID".to_owned(), text(tenant).into())));
    }
    let mut extension = None;
    // The part of the config that is about HTTP.
    let inner = if kind == "opensearch" { &mut config["http"] } else { &mut config };
    match destination.auth() {
        Some(Auth { basic: Some(basic), .. }) => {
            let name = format!("basicauth/{}", output.name);
            inner["auth"] = json!({"authenticator": name});
            extension =
                Some((name, json!({"client_auth": {"username": text(&basic.username), "password": secret("PASSWORD")}})));
        }
        Some(Auth { bearer: Some(_), .. }) => {
            drop(headers.insert("Authorization".to_owned(), format!("Bearer {}", secret("TOKEN")).into()));
        }
        Some(Auth { api_key: Some(_), .. }) if output.elasticsearch.is_some() => inner["api_key"] = secret("API_KEY").into(),
        Some(Auth { api_key: Some(_), .. }) => {
            let field = format!("outputs[{}].{}.auth.apiKey", output.name, destination.field());
            return Err(Error::Field { field, problem: "only Elasticsearch has API keys: write basic or bearer".to_owned() });
        }
        Some(Auth { basic: None, bearer: None, api_key: None }) | None => {}
    }
    if !headers.is_empty() {
        inner["headers"] = headers.into();
    }
    if let Some(tls) = destination.tls() {
        inner["tls"] = encryption(tls);
    }
    config["retry_on_failure"] =
        json!({"enabled": true, "initial_interval": "1s", "max_interval": "30s", "max_elapsed_time": 0});
    config["sending_queue"] = json!({
        "enabled": true, "storage": STORAGE, "sizer": "bytes", "queue_size": share, "block_on_overflow": true, "num_consumers": 2,
    });
    Ok(Exporter { name: format!("{kind}/{}", output.name), config, extension })
}

fn elasticsearch(search: &Search) -> Value {
    // The other ways to write a document ask for a data stream, and lose what is sent to an index.
    let mut config = json!({"endpoints": [text(&search.url)], "mapping": {"mode": "none"}});
    if search.daily {
        config["logstash_format"] = json!({"enabled": true, "prefix_separator": "-", "date_format": "%Y.%m.%d"});
    }
    config["logs_index"] = text(&search.index).into();
    config
}

fn opensearch(search: &Search) -> Value {
    let mut config = json!({"http": {"endpoint": text(&search.url)}, "logs_index": text(&search.index)});
    if search.daily {
        config["logs_index_time_format"] = "yyyy.MM.dd".into();
    }
    config
}

fn encryption(tls: &Tls) -> Value {
    let mut fields = Map::new();
    for (field, secret) in [("ca_file", &tls.ca), ("cert_file", &tls.certificate), ("key_file", &tls.private_key)] {
        fields.extend(secret.as_ref().map(|secret| (field.to_owned(), tls_file(secret).into())));
    }
    if tls.insecure_skip_verify {
        fields.insert("insecure_skip_verify".to_owned(), true.into());
    }
    Value::Object(fields)
}
