//! `/livez`: the process answers. `/readyz`: it has seen the whole cluster and is at work, or waits
//! for the one who is.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use super::context::Context;

/// Serves both until the task is dropped.
pub(super) async fn serve(context: Arc<Context>, address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let ready = move || {
        let is_ready = context.is_synced() || !context.leads.load(Ordering::Relaxed);
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready(status)
    };
    let app = Router::new().route("/livez", get(|| std::future::ready(StatusCode::OK))).route("/readyz", get(ready));
    axum::serve(listener, app).await
}
