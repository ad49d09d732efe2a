//! Whether the process is well, and what it measured, over HTTP: `/healthz`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::metrics::Metrics;
use crate::follow::Cluster;

/// Serves health until the task is dropped: it is well while it answers, and ready once it has seen the cluster.
///
/// # Errors
/// Where the port cannot be had.
pub async fn serve_health(address: SocketAddr, cluster: Cluster) -> Result<()> {
    let ready = move || async move {
        if cluster.is_synced() {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the cluster is being listed")
        }
    };
    let router = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready));
    serve(address, "--health-probe-port", router).await
}

/// Serves metrics until the task is dropped.
///
/// # Errors
/// Where the port cannot be had.
pub async fn serve_metrics(address: SocketAddr, metrics: Arc<Metrics>) -> Result<()> {
    let text = move || async move {
        // Of a large cluster it is megabytes: others are not to wait for it.
        let text = tokio::task::spawn_blocking(move || metrics.text()).await;
        text.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    serve(address, "--metrics-port", Router::new().route("/metrics", get(text))).await
}

async fn serve(address: SocketAddr, flag: &str, router: Router) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another {flag}"))?;
    Ok(axum::serve(listener, router).await?)
}
