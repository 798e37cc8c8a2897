//! Logs: one line each on standard error, as text for people or as JSON for machines.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of a line of log.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Starts logging; the variable `RUST_LOG` overrides `level`.
pub fn start(format: LogFormat, level: &str) {
    // At level debug the client repeats what the API server says in full, which may hold the environment of somebody's container.
    let filter = format!("{},kube_client::client=info", std::env::var(EnvFilter::DEFAULT_ENV).as_deref().unwrap_or(level));
    let filter = EnvFilter::new(filter);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_target(false).with_ansi(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).init(),
    }
}
