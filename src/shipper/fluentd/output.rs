//! Where lines go: a label for each output.

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{
    Error, Pipeline, Url, destination, engine, search,
    text::{Section, env, json, plain, quote, refused, size},
};
use crate::api::{Auth, Destination, Header, Output, OutputKind, SecretKey, ShipperName, Tls};

/// One output in the making.
#[derive(Clone, Copy)]
pub(super) struct OutputContext<'a> {
    pub output: &'a Output,
    pub pipeline: &'a Pipeline<'a>,
}

/// `<label>` of an output.
pub(super) fn label(pipeline: &Pipeline<'_>, output: &Output) -> Result<Section, Error> {
    let context = OutputContext { output, pipeline };
    let section = match output.destination() {
        Destination::Stdout(_) => context.matching("stdout").section(Section::new("format", "").set("@type", "json")),
        Destination::Loki(_) | Destination::Otlp(_) => return Err(Error::unsupported(output, ShipperName::Fluentd)),
        Destination::Http(http) => destination::http(context, http)?,
        Destination::Elasticsearch(search) => search::elasticsearch(context, search)?,
        Destination::OpenSearch(search) => search::open_search(context, search)?,
        Destination::S3(s3) => destination::s3(context, s3)?,
        Destination::Forward(forward) => destination::forward(context, forward)?,
        Destination::Kafka(kafka) => destination::kafka(context, kafka)?,
    };
    Ok(Section::new("label", format!("@{}", output.name)).section(section))
}

impl OutputContext<'_> {
    pub fn matching(self, plugin: &str) -> Section {
        Section::new("match", "**").set("@type", plugin).set("@id", format!("out_{}", self.output.name))
    }

    /// The field of the spec, for messages.
    pub fn field(self, name: &str) -> String {
        format!("outputs[{}].{}.{name}", self.output.name, self.output.destination().field())
    }

    /// A URL that Ruby's HTTP clients can use.
    pub fn url(self, url: &str) -> Result<String, Error> {
        let field = self.field("url");
        if Url::of(url).host.contains(':') {
            return Err(refused(&field, "Fluentd cannot send to an IPv6 address: write a name"));
        }
        plain(&field, url)
    }

    /// The value of a secret.
    pub fn secret(self, what: &str) -> String {
        env(&engine::secret_variable(&self.output.name, what))
    }

    /// A buffer on the disk. When it is full, reading stops; nothing is given up but what a destination
    /// finds fault with.
    ///
    /// At its end Fluentd sends what is in it, and waits for the answers: no longer than 20 s, as the pod has 30 s by default.
    pub fn buffer(self, keys: &str, chunk: u64, interval: &str) -> Section {
        let buffered = self.pipeline.outputs.iter().filter(|output| output.destination().kind() != OutputKind::Stdout).count();
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
                let user = BASE64_STANDARD.encode(format!("{}:", basic.username));
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
}

/// The files with certificates, as values.
pub(super) struct Certificates {
    pub ca: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
}

impl Certificates {
    pub fn of(tls: Option<&Tls>) -> Self {
        let file = |secret: &SecretKey| quote(&engine::tls_file(secret));
        let of = |secret: fn(&Tls) -> &Option<SecretKey>| tls.and_then(|tls| secret(tls).as_ref()).map(file);
        Self { ca: of(|tls| &tls.ca), certificate: of(|tls| &tls.certificate), key: of(|tls| &tls.private_key) }
    }
}
