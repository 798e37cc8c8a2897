//! `/metrics`: see [`super::metrics`]. `/livez`: the process answers. `/readyz`: it has listed the whole cluster and is at work, or waits
//! for the process that is.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::net::TcpListener;

use super::{metrics::MetricsEndpoint, readiness::Readiness};

/// The media type of `/metrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the task is dropped.
///
/// # Errors
/// If the address cannot be used.
pub(super) async fn serve(readiness: Arc<Readiness>, metrics: MetricsEndpoint, address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let ready = move || {
        let is_ready = readiness.is_synced() || !readiness.leads();
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready(status)
    };
    let metrics = move || {
        let answer = metrics.text().map(|text| ([(CONTENT_TYPE, OPEN_METRICS)], text));
        std::future::ready(answer.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR))
    };
    let app = Router::new()
        .route("/livez", get(|| std::future::ready(StatusCode::OK)))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    axum::serve(listener, app).await
}
