//! Where lines go: a label for each output.

use super::{
    Error, Pipeline, Url, engine, search,
    source::FILE,
    text::{Section, env, json, list, plain, quote, quoted, refused, size},
};
use crate::{
    api::{Auth, Compression, Destination, Forward, Header, Http, Kafka, Mechanism, Output, S3, Tls},
    shipper::FLUENTD_CANNOT,
};

/// Answers of an HTTP server after which it is tried again: all but those that blame the lines, which would be for ever.
const RETRIED: &str = r##""#{([*300..599] - [400, 406, 411, 413, 414, 415, 422, 431]).join(',')}""##;

/// One output in the making.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub output: &'a Output,
    pub pipeline: &'a Pipeline<'a>,
}

/// `<label>` of an output.
pub(super) fn label(pipeline: &Pipeline<'_>, output: &Output) -> Result<Section, Error> {
    let target = Target { output, pipeline };
    let section = match output.destination() {
        Destination::Stdout => target.matching("stdout").section(Section::new("format", "").set("@type", "json")),
        Destination::Loki(_) | Destination::Otlp(_) => return Err(Error::cannot(output, FLUENTD_CANNOT)),
        Destination::Http(http) => target.http(http)?,
        Destination::Elasticsearch(search) => search::elasticsearch(target, search)?,
        Destination::OpenSearch(search) => search::open_search(target, search)?,
        Destination::S3(s3) => target.s3(s3)?,
        Destination::Forward(forward) => target.forward(forward)?,
        Destination::Kafka(kafka) => target.kafka(kafka)?,
    };
    Ok(Section::new("label", format!("@{}", output.name)).section(section))
}

impl Target<'_> {
    pub fn matching(self, plugin: &str) -> Section {
        Section::new("match", "**").set("@type", plugin).set("@id", format!("out_{}", self.output.name))
    }

    /// The field of the spec, for messages.
    pub fn field(self, name: &str) -> String {
        format!("outputs[{}].{}.{name}", self.output.name, self.output.destination().field())
    }

    /// The value of a secret.
    fn secret(self, what: &str) -> String {
        env(&engine::secret_variable(&self.output.name, what))
    }

    /// A buffer on the disk. When it is full, reading stops; nothing in it is ever given up.
    ///
    /// At its end Fluentd sends what is in it, and waits for the answers: no longer than 20 s, as the pod has 30 s by default.
    pub fn buffer(self, keys: &str, chunk: u64, interval: &str) -> Section {
        let buffered = self.pipeline.outputs.iter().filter(|output| output.destination() != Destination::Stdout).count();
        let share = self.pipeline.buffer / u64::try_from(buffered).unwrap_or(1).max(1);
        Section::new("buffer", keys)
            .set("@type", "file")
            .set("path", format!("{}/buffer/{}", engine::STATE, self.output.name))
            .set("chunk_limit_size", size(chunk))
            .set("total_limit_size", size(share))
            .set("overflow_action", "block")
            .set("flush_mode", "interval")
            .set("flush_interval", interval)
            .set("flush_thread_burst_interval", 0.1)
            .set("flush_at_shutdown", true)
            .set("retry_forever", true)
            .set("retry_max_interval", "30s")
            .set("disable_chunk_backup", true)
    }

    /// Room for a line that becomes six times as long in JSON: a longer one would be left out.
    pub fn chunk(self) -> u64 {
        (self.pipeline.max_line.saturating_mul(7)).max(8 << 20)
    }

    pub fn tls(self, tls: Option<&Tls>) -> Certificates {
        let file = |secret: &Option<_>| secret.as_ref().map(|secret| quote(&engine::tls_file(secret)));
        let none = Tls::default();
        let tls = tls.unwrap_or(&none);
        Certificates { ca: file(&tls.ca), certificate: file(&tls.certificate), key: file(&tls.private_key) }
    }

    /// Headers as JSON with programs in place of secrets.
    pub fn headers(self, headers: &[Header], auth: Option<&Auth>) -> Result<Option<String>, Error> {
        let name = &self.output.name;
        let variable = |what: &str| engine::secret_variable(name, what);
        let mut entries: Vec<(String, String)> = Vec::new();
        for (index, header) in headers.iter().enumerate() {
            if entries.iter().any(|(known, _)| known.eq_ignore_ascii_case(&header.name)) {
                return Err(refused(
                    &self.field("headers"),
                    &format!("Fluentd sends a header once: write {} only once", header.name),
                ));
            }
            let value = match &header.value {
                Some(value) => json(value),
                None => format!("#{{ENV['{}'].to_json}}", variable(&format!("HEADER_{index}"))),
            };
            entries.push((header.name.clone(), value));
        }
        let authorization = match auth {
            Some(Auth { basic: Some(basic), .. }) => {
                // In base64 the name of the user is safe within a program.
                let user = base64(format!("{}:", basic.username).as_bytes());
                Some(format!("#{{('Basic ' + ['{user}'.unpack1('m') + ENV['{}']].pack('m0')).to_json}}", variable("PASSWORD")))
            }
            Some(Auth { bearer: Some(_), .. }) => Some(format!("#{{('Bearer ' + ENV['{}']).to_json}}", variable("TOKEN"))),
            Some(Auth { api_key: Some(_), .. }) => Some(format!("#{{('ApiKey ' + ENV['{}']).to_json}}", variable("API_KEY"))),
            _ => None,
        };
        entries.extend(authorization.map(|value| ("Authorization".to_owned(), value)));
        let entries: Vec<String> = entries.into_iter().map(|(name, value)| format!("{}:{value}", json(&name))).collect();
        Ok((!entries.is_empty()).then(|| format!("{{{}}}", entries.join(","))))
    }

    fn http(self, http: &Http) -> Result<Section, Error> {
        let tls = self.tls(http.tls.as_ref());
        let insecure = http.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify);
        if Url::of(&http.url).host.contains(':') {
            return Err(refused(&self.field("url"), "Fluentd cannot send to an IPv6 address: write a name"));
        }
        let (basic, auth) = match &http.auth {
            Some(Auth { basic: Some(basic), .. }) => (Some(basic), None),
            auth => (None, auth.as_ref()),
        };
        let mut section = self
            .matching("http")
            .set("endpoint", plain(&self.field("url"), &http.url)?)
            .set("open_timeout", 5)
            .set("read_timeout", 15)
            .comment("Whatever is not the fault of the lines themselves is tried again.")
            .set("retryable_response_codes", RETRIED)
            .set_if("headers", self.headers(&http.headers, auth)?)
            .set_if("tls_ca_cert_path", tls.ca)
            .set_if("tls_client_cert_path", tls.certificate)
            .set_if("tls_private_key_path", tls.key)
            .set_if("tls_verify_mode", insecure.then_some("none"));
        if let Some(basic) = basic {
            let user = quoted(&self.field("auth.basic.username"), &basic.username)?;
            let auth = Section::new("auth", "").set("method", "basic").set("username", user);
            section = section.section(auth.set("password", self.secret("PASSWORD")));
        }
        let format = Section::new("format", "").set("@type", "json");
        Ok(section.section(format).section(self.buffer("", self.chunk(), "1s")))
    }

    fn forward(self, forward: &Forward) -> Result<Section, Error> {
        let Forward { host, port, shared_key, tls } = forward;
        let files = self.tls(tls.as_ref());
        let insecure = tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify);
        let ca = tls.as_ref().and_then(|tls| tls.ca.as_ref()).map(|ca| list([engine::tls_file(ca).as_str()]));
        let mut section = self
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
            section = section.section(security.set("shared_key", self.secret("SHARED_KEY")));
        }
        let host = quoted(&self.field("host"), host)?;
        let server = Section::new("server", "").set("host", &host).set("port", port.unwrap_or(24224));
        // What must be in the certificate: Fluentd would not take it from an address, and drop lines over that.
        let server = server.set_if("name", tls.as_ref().map(|_| host));
        Ok(section.section(server).section(self.buffer("tag", self.chunk(), "1s")))
    }

    fn s3(self, s3: &S3) -> Result<Section, Error> {
        let S3 { bucket, region, prefix, endpoint, credentials, tls } = s3;
        if tls.as_ref().is_some_and(|tls| tls.certificate.is_some()) {
            return Err(refused(
                &self.field("tls.certificate"),
                "Fluentd shows S3 no certificate: leave it and privateKey out",
            ));
        }
        if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| endpoint.ends_with("amazonaws.com")) {
            return Err(refused(&self.field("endpoint"), &format!("Fluentd finds {endpoint} by the region: leave it out")));
        }
        let files = self.tls(tls.as_ref());
        let insecure = tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify);
        let path = prefix.as_ref().map(|prefix| {
            let field = self.field("prefix");
            if prefix.contains('%') {
                Err(refused(&field, "Fluentd makes a date of %: write it without"))
            } else {
                plain(&field, &format!("{prefix}/"))
            }
        });
        let endpoint = endpoint.as_ref().map(|endpoint| quoted(&self.field("endpoint"), endpoint)).transpose()?;
        let key = "\"%{path}#{ENV['POD_NAMESPACE']}/%Y/%m/%d/#{ENV['POD_NAME']}/${chunk_id}.%{file_extension}\"";
        Ok(self
            .matching("s3")
            .set("s3_bucket", quoted(&self.field("bucket"), bucket)?)
            .set("s3_region", quoted(&self.field("region"), region)?)
            .set_if("force_path_style", endpoint.as_ref().map(|_| true))
            .set_if("s3_endpoint", endpoint)
            .set_if("aws_key_id", credentials.as_ref().map(|_| self.secret("ACCESS_KEY_ID")))
            .set_if("aws_sec_key", credentials.as_ref().map(|_| self.secret("SECRET_ACCESS_KEY")))
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
            .section(self.buffer("time", self.chunk(), "60s").set("timekey", "1d").set("timekey_use_utc", true)))
    }

    fn kafka(self, kafka: &Kafka) -> Result<Section, Error> {
        let Kafka { brokers, topic, compression, sasl, tls } = kafka;
        if tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
            let problem = "Fluentd's plugin for Kafka trusts no unknown certificate: write tls.ca, or sidecar.fluentBit";
            return Err(refused(&self.field("tls.insecureSkipVerify"), problem));
        }
        if *compression == Some(Compression::Lz4) && !self.pipeline.own_image {
            let problem = "the official image of Fluentd lacks Lz4: write Gzip or Snappy, or set sidecar.container.image to an image with the gem extlz4";
            return Err(refused(&self.field("compression"), problem));
        }
        let files = self.tls(tls.as_ref());
        let codec = match compression {
            None | Some(Compression::None) => None,
            Some(Compression::Gzip) => Some("gzip"),
            Some(Compression::Snappy) => Some("snappy"),
            Some(Compression::Lz4) => Some("lz4"),
        };
        let section = self
            .matching("kafka2")
            .set("brokers", list(brokers.iter().map(String::as_str)))
            .set("default_topic", quoted(&self.field("topic"), topic)?)
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
                .set("username", quoted(&self.field("sasl.username"), &sasl.username)?)
                .set("password", self.secret("PASSWORD"))
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
            .section(self.buffer("tag", 512 << 10, "1s")))
    }
}

/// The files with certificates, as values.
pub(super) struct Certificates {
    pub ca: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
}

/// As in RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            let digit = move |index: usize| DIGITS[(bits >> (18 - 6 * index) & 63) as usize] as char;
            (0..4).map(move |index| if index > chunk.len() { '=' } else { digit(index) })
        })
        .collect()
}
