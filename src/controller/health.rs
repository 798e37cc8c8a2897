//! `/metrics`: see [`super::metrics`]. `/livez`: the process answers. `/readyz`: it has seen the whole cluster and is at work, or waits
//! for the one who is.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::net::TcpListener;

use super::{context::Context, metrics};

/// The media type of what `/metrics` says.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves both until the task is dropped.
pub(super) async fn serve(context: Arc<Context>, address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let looked_at = context.clone();
    let ready = move || {
        let is_ready = looked_at.is_synced() || !looked_at.leads.load(Ordering::Relaxed);
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready(status)
    };
    let metrics = move || {
        let answer = metrics::text(&context).map(|text| ([(CONTENT_TYPE, OPEN_METRICS)], text));
        std::future::ready(answer.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR))
    };
    let app = Router::new()
        .route("/livez", get(|| std::future::ready(StatusCode::OK)))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    axum::serve(listener, app).await
}
