//! Elasticsearch and OpenSearch, whose plugins have the same origin.

use super::{
    Error, Url,
    output::{Certificates, OutputContext},
    text::{Section, plain, refused},
};
use crate::api::Search;

/// `elasticsearch` 8 and later.
pub(super) fn elasticsearch(context: OutputContext<'_>, search: &Search) -> Result<Section, Error> {
    let versions = |section: Section| {
        section
            .comment("Fluentd starts while Elasticsearch is down, too.")
            .set("verify_es_version_at_startup", false)
            .set("default_elasticsearch_version", 8)
            .set("log_es_400_reason", true)
    };
    both(context, search, "elasticsearch", versions)
}

/// `opensearch` 2 and later.
pub(super) fn open_search(context: OutputContext<'_>, search: &Search) -> Result<Section, Error> {
    let versions = |section: Section| {
        section
            .comment("Fluentd starts while OpenSearch is down, too.")
            .set("verify_os_version_at_startup", false)
            .set("default_opensearch_version", 2)
            .set("log_os_400_reason", true)
    };
    both(context, search, "opensearch", versions)
}

fn both(
    context: OutputContext<'_>,
    search: &Search,
    plugin: &str,
    versions: impl FnOnce(Section) -> Section,
) -> Result<Section, Error> {
    let Search { url, index, daily, auth, tls } = search;
    let (url_field, index_field) = (context.field("url"), context.field("index"));
    let Url { encrypted, host, port, path } = Url::of(url);
    if *index != index.to_lowercase() {
        return Err(refused(&index_field, "an index has no upper-case letters"));
    }
    context.url(url)?;
    let tls = tls.as_ref().filter(|_| encrypted);
    let files = Certificates::of(tls);
    let index = plain(&index_field, index)?;
    let section = context
        .matching(plugin)
        .set("scheme", if encrypted { "https" } else { "http" })
        .set("host", plain(&url_field, host)?)
        .set("port", port)
        .set_if("path", (!path.is_empty()).then(|| plain(&url_field, path)).transpose()?);
    let section = if *daily {
        let section = section.set("logstash_format", true).set("logstash_prefix", index);
        section.set("logstash_prefix_separator", "-").set("logstash_dateformat", "%Y.%m.%d")
    } else {
        section.set("index_name", index)
    };
    let section = versions(section.set("suppress_type_name", true))
        .set("request_timeout", "20s")
        .set("reload_connections", false)
        .set("reconnect_on_error", true)
        .comment("A server that is busy is one to try again.")
        .set("unrecoverable_error_types", "[\"out_of_memory_error\"]")
        .set_if("custom_headers", context.headers(&[], auth.as_ref())?)
        .set_if("ca_file", files.ca)
        .set_if("client_cert", files.certificate)
        .set_if("client_key", files.key)
        .set_if("ssl_verify", tls.filter(|tls| tls.insecure_skip_verify).map(|_| false));
    Ok(section.section(context.buffer("tag", context.chunk(), "1s")))
}
