//! Whether the process is well, and what it measured, over HTTP: `/healthz`, `/readyz`, `/metrics`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use stowage_cluster::Kind;
use tokio::net::TcpListener;

use super::metrics::Metrics;
use crate::follow::Cluster;
use crate::shared::Shared;

/// A loop that says nothing for so long is stuck. The longest that it does in one go is to plan for a large cluster.
const SILENCE: Duration = Duration::from_mins(10);

/// When each loop that must never stop went round last.
/// One that has not begun is well: it stands by.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Shared<BTreeMap<&'static str, Instant>>);

impl Pulse {
    /// The loop that does this goes round.
    pub fn beat(&self, does: &'static str) {
        self.0.with(|all| all.insert(does, Instant::now()));
    }

    /// A loop that has not gone round for too long, by what it does.
    fn stuck(&self, now: Instant) -> Option<&'static str> {
        let silent = |at: &Instant| now.saturating_duration_since(*at) >= SILENCE;
        self.0.with(|all| all.iter().find(|(_, at)| silent(at)).map(|(does, _)| *does))
    }
}

/// Serves health until the task is dropped. It is well while it answers and its loops go round, and ready once it has seen the
/// cluster and the cluster has what it works with.
///
/// # Errors
/// Where the port cannot be had.
pub async fn serve_health(address: SocketAddr, cluster: Cluster, pulse: Pulse) -> Result<()> {
    let ready = move || async move {
        let missing = [Kind::NodePool, Kind::NodeClaim].into_iter().find(|kind| !cluster.is_served(*kind));
        match (cluster.is_synced(), missing) {
            (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "the cluster is being listed".to_owned()),
            (true, Some(kind)) => {
                let why = format!("the API server serves no {}s: install the chart stowage-crd", kind.name());
                (StatusCode::SERVICE_UNAVAILABLE, why)
            }
            (true, None) => (StatusCode::OK, "ok".to_owned()),
        }
    };
    let well = move || async move {
        match pulse.stuck(Instant::now()) {
            None => (StatusCode::OK, "ok".to_owned()),
            Some(does) => {
                let minutes = SILENCE.as_secs() / 60;
                let why = format!("the loop that {does} has not gone round for {minutes} minutes");
                (StatusCode::INTERNAL_SERVER_ERROR, why)
            }
        }
    };
    let router = Router::new().route("/healthz", get(well)).route("/readyz", get(ready));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_is_silent_for_long_is_named() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        assert_eq!(pulse.stuck(start + SILENCE), None, "nothing has begun");
        pulse.beat("launches");
        pulse.0.with(|all| all.insert("plans", start.checked_sub(Duration::from_mins(1)).unwrap_or(start)));
        assert_eq!(pulse.stuck(start + SILENCE.saturating_sub(Duration::from_mins(2))), None);
        assert_eq!(pulse.stuck(start + SILENCE.saturating_sub(Duration::from_secs(30))), Some("plans"));
    }
}
