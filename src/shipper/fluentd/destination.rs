//! HTTP, Fluentd's own protocol, S3 and Kafka.

use super::{
    Error, engine,
    output::{Certificates, OutputContext},
    source::FILE,
    text::{Section, env, list, plain, quoted, refused},
};
use crate::api::{Auth, Compression, Forward, Http, Kafka, Mechanism, S3};

/// Answers of an HTTP server after which it is tried again: all but those that blame the lines, which would be for ever.
const RETRIED: &str = r##""#{([*300..599] - [400, 406, 411, 413, 414, 415, 422, 431]).join(',')}""##;

pub(super) fn http(context: OutputContext<'_>, http: &Http) -> Result<Section, Error> {
    let tls = Certificates::of(http.tls.as_ref());
    let insecure = http.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify);
    let endpoint = context.url(&http.url)?;
    let (basic, auth) = match &http.auth {
        Some(Auth { basic: Some(basic), .. }) => (Some(basic), None),
        auth => (None, auth.as_ref()),
    };
    let mut section = context
        .matching("http")
        .set("endpoint", endpoint)
        .set("open_timeout", 5)
        .set("read_timeout", 15)
        .comment("Whatever is not the fault of the lines themselves is tried again.")
        .set("retryable_response_codes", RETRIED)
        .set_if("headers", context.headers(&http.headers, auth)?)
        .set_if("tls_ca_cert_path", tls.ca)
        .set_if("tls_client_cert_path", tls.certificate)
        .set_if("tls_private_key_path", tls.key)
        .set_if("tls_verify_mode", insecure.then_some("none"));
    if let Some(basic) = basic {
        let user = quoted(&context.field("auth.basic.username"), &basic.username)?;
        let auth = Section::new("auth", "").set("method", "basic").set("username", user);
        section = section.section(auth.set("password", context.secret("PASSWORD")));
    }
    let format = Section::new("format", "").set("@type", "json");
    Ok(section.section(format).section(context.buffer("", context.chunk(), "1s")))
}

pub(super) fn forward(context: OutputContext<'_>, forward: &Forward) -> Result<Section, Error> {
    let Forward { host, port, shared_key, tls } = forward;
    let files = Certificates::of(tls.as_ref());
    let insecure = tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify);
    let ca = tls.as_ref().and_then(|tls| tls.ca.as_ref()).map(|ca| list([engine::tls_file(ca).as_str()]));
    let mut section = context
        .matching("forward")
        .set("require_ack_response", true)
        .set("connect_timeout", "5s")
        .set("send_timeout", "15s")
        .set("ack_response_timeout", "30s")
        .comment("There is one server: whether it is there shows when it is sent to.")
        .set("heartbeat_type", "none")
        .set_if("transport", tls.as_ref().map(|_| "tls"))
        .set_if("tls_ca_cert_path", ca)
        .set_if("tls_client_cert_path", files.certificate)
        .set_if("tls_client_private_key_path", files.key)
        .set_if("tls_insecure_mode", insecure.then_some(true));
    if shared_key.is_some() {
        let security = Section::new("security", "").set("self_hostname", env("POD_NAME"));
        section = section.section(security.set("shared_key", context.secret("SHARED_KEY")));
    }
    let host = quoted(&context.field("host"), host)?;
    let server = Section::new("server", "").set("host", host.as_str()).set("port", port.unwrap_or(24224));
    // What must be in the certificate: Fluentd would not take it from an address, and drop lines over that.
    let server = server.set_if("name", tls.as_ref().map(|_| host));
    Ok(section.section(server).section(context.buffer("tag", context.chunk(), "1s")))
}

pub(super) fn s3(context: OutputContext<'_>, s3: &S3) -> Result<Section, Error> {
    let S3 { bucket, region, prefix, endpoint, credentials, tls } = s3;
    if tls.as_ref().is_some_and(|tls| tls.certificate.is_some()) {
        return Err(refused(&context.field("tls.certificate"), "Fluentd shows S3 no certificate: leave it and privateKey out"));
    }
    if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| endpoint.ends_with("amazonaws.com")) {
        return Err(refused(&context.field("endpoint"), &format!("Fluentd finds {endpoint} by the region: leave it out")));
    }
    let files = Certificates::of(tls.as_ref());
    let insecure = tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify);
    let path = prefix.as_ref().map(|prefix| {
        let field = context.field("prefix");
        if prefix.contains('%') {
            Err(refused(&field, "Fluentd makes a date of %: write it without"))
        } else {
            plain(&field, &format!("{prefix}/"))
        }
    });
    let endpoint = endpoint.as_ref().map(|endpoint| quoted(&context.field("endpoint"), endpoint)).transpose()?;
    let key = "\"%{path}#{ENV['POD_NAMESPACE']}/%Y/%m/%d/#{ENV['POD_NAME']}/${chunk_id}.%{file_extension}\"";
    Ok(context
        .matching("s3")
        .set("s3_bucket", quoted(&context.field("bucket"), bucket)?)
        .set("s3_region", quoted(&context.field("region"), region)?)
        .set_if("force_path_style", endpoint.as_ref().map(|_| true))
        .set_if("s3_endpoint", endpoint)
        .set_if("aws_key_id", credentials.as_ref().map(|_| context.secret("ACCESS_KEY_ID")))
        .set_if("aws_sec_key", credentials.as_ref().map(|_| context.secret("SECRET_ACCESS_KEY")))
        .set_if("ssl_ca_bundle", files.ca)
        .set_if("ssl_verify_peer", insecure.then_some(false))
        .set_if("path", path.transpose()?)
        .comment("A chunk that is sent twice is the same object twice, so there is nothing to look up.")
        .set("s3_object_key_format", key)
        .set("check_object", false)
        .set("check_bucket", false)
        .set("check_apikey_on_start", false)
        .set("store_as", "gzip")
        .section(Section::new("format", "").set("@type", "json"))
        .section(context.buffer("time", context.chunk(), "60s").set("timekey", "1d").set("timekey_use_utc", true)))
}

pub(super) fn kafka(context: OutputContext<'_>, kafka: &Kafka) -> Result<Section, Error> {
    let Kafka { brokers, topic, compression, sasl, tls } = kafka;
    if tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
        let problem = "Fluentd's plugin for Kafka trusts no unknown certificate: write tls.ca, or sidecar.fluentBit";
        return Err(refused(&context.field("tls.insecureSkipVerify"), problem));
    }
    if *compression == Some(Compression::Lz4) && !context.pipeline.own_image {
        let problem = "the official image of Fluentd lacks Lz4: write Gzip or Snappy, or set sidecar.container.image to an image with the gem extlz4";
        return Err(refused(&context.field("compression"), problem));
    }
    let files = Certificates::of(tls.as_ref());
    let codec = match compression {
        None | Some(Compression::None) => None,
        Some(Compression::Gzip) => Some("gzip"),
        Some(Compression::Snappy) => Some("snappy"),
        Some(Compression::Lz4) => Some("lz4"),
    };
    let section = context
        .matching("kafka2")
        .set("brokers", list(brokers.iter().map(String::as_str)))
        .set("default_topic", quoted(&context.field("topic"), topic)?)
        .set("required_acks", -1)
        .set_if("compression_codec", codec)
        .set("use_event_time", true)
        .comment("Longer ones are refused by Kafka, again and again.")
        .set("max_send_limit_bytes", 1_000_000)
        .comment("A field that no line has: none must choose its own key and partition.")
        .set("message_key_key", FILE)
        .set("partition_key_key", FILE)
        .set("partition_key", FILE)
        .set_if("ssl_ca_cert", files.ca.clone())
        .set_if("ssl_ca_certs_from_system", (tls.is_some() && files.ca.is_none()).then_some(true))
        .set_if("ssl_client_cert", files.certificate)
        .set_if("ssl_client_cert_key", files.key);
    let section = match sasl {
        None => section,
        Some(sasl) => section
            .set("username", quoted(&context.field("sasl.username"), &sasl.username)?)
            .set("password", context.secret("PASSWORD"))
            .set_if(
                "scram_mechanism",
                match sasl.mechanism {
                    Mechanism::Plain => None,
                    Mechanism::ScramSha256 => Some("sha256"),
                    Mechanism::ScramSha512 => Some("sha512"),
                },
            )
            .set_if("sasl_over_ssl", tls.is_none().then_some(false)),
    };
    Ok(section
        .section(Section::new("format", "").set("@type", "json"))
        .comment("A chunk is a batch, of which Kafka takes no more than 1 MB.")
        .section(context.buffer("tag", 512 << 10, "1s")))
}
