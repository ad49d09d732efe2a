//! The webhook: HTTPS on a port of its own, answered from what is known.
//!
//! Every replica serves it, whoever leads. Beside `/mutate` there are `/reserve` and `/release`, by which replicas that do not
//! lead ask the one that does about caps.
//!
//! # Invariants
//! - A review is answered whatever it says, and the answer allows the pod. What cannot be answered the API server passes over.
//! - Certificates change for connections to come, without a restart; those that are open go on.
//! - Connections are no more than [`MOST`], and none waits for ever for its next request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Of};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sha2::{Digest as _, Sha256};
use stowage_fargate::{Full, Outcome, PolicyId, Refused, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::caps::{Caps, Place};
use super::metrics::Measured;
use super::state::{State, seconds};
use super::tls::Shown;

/// Connections at once: an API server keeps some 25 that are idle, and has one more for each request on its way.
const MOST: usize = 1_000;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may be idle: longer than API servers keep theirs, which is 90 seconds.
const IDLE: Duration = Duration::from_mins(2);
/// The largest body: the API server takes objects of 3 MiB.
const LARGEST: usize = 5 << 20;
/// The largest request of another replica.
const LARGEST_RESERVE: usize = 1 << 20;
/// The largest list of what another replica has refused, and how many stand in one.
const LARGEST_REFUSED: usize = 2 << 20;
const REFUSED_AT_ONCE: usize = 1_000;
/// How often the leader is told of it.
const TELL_EVERY: Duration = Duration::from_secs(20);
/// After a connection could not be taken.
const AGAIN: Duration = Duration::from_millis(50);
/// Who a request to the leader is meant for.
pub(super) const LEADER: &str = "x-stowage-leader";

/// What answers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) state: State,
    pub(crate) caps: Caps,
    pub(crate) measured: Measured,
    pub(crate) shown: watch::Receiver<Option<Arc<Shown>>>,
}

impl Desk {
    /// The answer to a review.
    pub(crate) async fn answer(&self, review: &[u8]) -> String {
        let (started, now) = (Instant::now(), seconds());
        let mut asked = None::<Request>;
        // What the leader has to be asked is found out first: the second time it is answered as the leader said.
        let mut answer = self.state.admit(review, now, &mut |request| match self.caps.place(request) {
            Place::Here => self.caps.reserve(request, now),
            Place::Nobody => Ok(()),
            Place::Leader => {
                asked = Some(request.clone());
                Err(Full::NotLeading)
            }
        });
        if let Some(request) = asked {
            if request.by_itself {
                // Whatever is answered, it goes: nobody waits.
                let caps = self.caps.clone();
                tokio::spawn(async move { caps.ask(&request).await });
            } else {
                let granted = self.caps.ask(&request).await;
                answer = self.state.admit(review, now, &mut |again| {
                    if *again == request { granted } else { Err(Full::NotLeading) }
                });
                let used = matches!(answer.outcome, Outcome::Routed { .. });
                if granted.is_ok() && !used && !request.dry_run {
                    let caps = self.caps.clone();
                    tokio::spawn(async move { caps.give_back(&request.ticket).await });
                }
            }
        }
        if let Some(workload) = answer.outcome.to_look_at() {
            self.state.want(workload);
        }
        self.state.refusals(|all| all.note(&answer.outcome, now));
        self.measured.admitted(&answer.outcome, started.elapsed());
        answer.review.to_string()
    }

    fn routes(self) -> Router {
        Router::new()
            .route("/mutate", post(mutate).layer(DefaultBodyLimit::max(LARGEST)))
            .route("/reserve", post(reserve).layer(DefaultBodyLimit::max(LARGEST_RESERVE)))
            .route("/refused", post(refused).layer(DefaultBodyLimit::max(LARGEST_REFUSED)))
            .route("/release", post(release).layer(DefaultBodyLimit::max(LARGEST_RESERVE)))
            .with_state(self)
    }

    /// Tells the replica that leads, which writes the status of policies, what was refused here, until the task is dropped.
    pub(crate) async fn tell(self) {
        let mut told = 0;
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            // What is refused in this very second may not be all of it yet.
            let now = seconds();
            let all = self.state.refusals(|refusals| {
                refusals.forget(now);
                refusals.since(told)
            });
            let mut heard = self.caps.follows();
            for part in all.chunks(REFUSED_AT_ONCE) {
                heard = heard && self.caps.tell_refused(part).await;
            }
            if heard {
                told = now;
            }
        }
    }

    /// Whether a request comes of another replica, and is meant for this one.
    fn is_ours(&self, headers: &HeaderMap) -> bool {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(shown) = self.shown.borrow().clone() else { return false };
        let word = format!("Bearer {}", shown.word);
        let has_word = header(AUTHORIZATION.as_str()).is_some_and(|said| digest(said) == digest(&word));
        has_word && header(LEADER).is_some_and(|named| named == self.caps.identity())
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// Where the port cannot be listened on any more.
    pub(crate) async fn serve(self, listener: TcpListener) -> Result<()> {
        let slots = Arc::new(Semaphore::new(MOST));
        let (shown, routes) = (self.shown.clone(), self.routes());
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.context("nobody serves any more")?;
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The other side has gone, or there are too many files.
                    warn!(%error, "a connection to the webhook cannot be taken");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            // Until there is a certificate nobody can be answered.
            let Some(shown) = shown.borrow().clone() else { continue };
            let routes = routes.clone();
            tokio::spawn(async move {
                if let Err(error) = connection(stream, &shown, routes).await {
                    debug!(error = format!("{error:#}"), "a connection to the webhook has ended");
                }
                drop(slot);
            });
        }
    }
}

/// To compare words in, whose beginnings then say nothing of the rest.
fn digest(word: &str) -> [u8; 32] {
    Sha256::digest(word.as_bytes()).into()
}

/// Serves one connection until it ends.
async fn connection(stream: TcpStream, shown: &Shown, routes: Router) -> Result<()> {
    stream.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&shown.server));
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.context("handshake")??;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    Ok(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)).await?)
}

fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

async fn mutate(Of(desk): Of<Desk>, body: Bytes) -> Response {
    json(desk.answer(&body).await)
}

async fn reserve(Of(desk): Of<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    if !desk.is_ours(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Ok(request) = serde_json::from_slice::<Request>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    desk.state.was_asked(seconds());
    let granted = desk.caps.reserve(&request, seconds());
    json(serde_json::to_string(&granted.err()).unwrap_or_default())
}

async fn refused(Of(desk): Of<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    if !desk.is_ours(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Ok(told) = serde_json::from_slice::<Vec<Refused>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let known = desk.state.known();
    let is_known =
        |policy: &PolicyId| known.policies.get(policy).is_some() || known.errors.contains_key(policy);
    desk.state.was_asked(seconds());
    desk.state.refusals(|all| all.hear(told, seconds(), is_known));
    StatusCode::NO_CONTENT.into_response()
}

async fn release(Of(desk): Of<Desk>, headers: HeaderMap, body: String) -> Response {
    if !desk.is_ours(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    desk.caps.release(&body);
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
