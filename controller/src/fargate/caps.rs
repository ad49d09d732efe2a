//! Caps at the edge: where room is taken, how the leader is asked for it, and what it writes ahead.
//!
//! ```text
//! admission ─▶ no cap? ───────────────▶ granted
//!          ├─▶ this one leads? ───────▶ ledger
//!          └─▶ POST /reserve, 500 ms ─▶ ledger of the leader
//! ```
//!
//! # Invariants
//! - Whatever is in doubt is no grant: no leader known, no answer in time, an answer that is none. What may have been granted
//!   all the same is given back.
//! - Nothing is granted after the lease has run out, by the clock that never goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full as Body, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta, PostParams};
use rustls::pki_types::ServerName;
use stowage_fargate::{FARGATE_SCHEDULER, Full, GrantedUpTo, Ledger, Refused, Request};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::server::LEADER;
use super::state::{State, seconds};
use super::tls::Shown;
use crate::answer::{is_conflict, is_gone};
use crate::follow::PAGE;
use crate::operate::lease::{Leader, Leading};
use crate::shared::Shared;

/// How long the leader is waited for: the API server gives the whole webhook a second.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long is tried to give a ticket back. If that fails, it runs out by itself.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// The largest answer of a leader.
const LARGEST: usize = 4 << 10;
/// How often it is seen whether something is to be written ahead, and how often pods are listed while something is in doubt.
const WRITE_EVERY: Duration = Duration::from_millis(200);
const LIST_EVERY: Duration = Duration::from_secs(20);
/// How long a call of the API server may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Where the levels stand in the `ConfigMap`.
const KEY: &str = "granted";

type Https = Client<HttpsConnector<HttpConnector>, Body<axum::body::Bytes>>;

/// Where room for a pod is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this replica, which leads.
    Here,
    /// At the one that leads.
    Leader,
    /// Nowhere: its policy has no cap.
    Nobody,
}

/// Takes room, here or at the leader.
#[derive(Clone, Debug)]
pub(crate) struct Caps {
    state: State,
    leading: Leading,
    shown: watch::Receiver<Option<Arc<Shown>>>,
    /// A name that our certificate is for.
    name: String,
    /// The client that was made from what was shown then.
    client: Shared<Option<(Arc<Shown>, Https)>>,
}

impl Caps {
    pub(crate) fn new(
        state: State,
        leading: Leading,
        shown: watch::Receiver<Option<Arc<Shown>>>,
        name: String,
    ) -> Self {
        Self { state, leading, shown, name, client: Shared::default() }
    }

    /// What this replica is called.
    pub(crate) fn identity(&self) -> String {
        self.leading.identity()
    }

    /// Where room for a pod is taken.
    pub(crate) fn place(&self, request: &Request) -> Place {
        if let Leader::Us { .. } = self.leading.now() {
            return Place::Here;
        }
        let known = self.state.known();
        match known.policies.get(&request.policy) {
            Some(policy) if policy.caps == stowage_fargate::Caps::default() => Place::Nobody,
            _ => Place::Leader,
        }
    }

    /// Takes room here.
    pub(crate) fn reserve(&self, request: &Request, now: u64) -> Result<(), Full> {
        let Leader::Us { until } = self.leading.now() else { return Err(Full::NotLeading) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Full::NotLeading);
        }
        self.state.ledger(|ledger| {
            let ledger = ledger.as_mut().ok_or(Full::NotLeading)?;
            // In whole seconds, rounded up: the moment itself was asked of the clock that never goes back.
            ledger.lead(now.saturating_add(left.as_secs()).saturating_add(1));
            ledger.reserve(request, now)
        })
    }

    /// Gives back here what was taken here.
    pub(crate) fn release(&self, ticket: &str) {
        self.state.ledger(|ledger| ledger.iter_mut().for_each(|ledger| ledger.release(ticket)));
    }

    /// Asks the leader for room.
    pub(crate) async fn ask(&self, request: &Request) -> Result<(), Full> {
        let asked = async {
            let body = serde_json::to_vec(request)?;
            let answer = self.post("/reserve", body).await?;
            serde_json::from_slice::<Option<Full>>(&answer).context("the leader's answer cannot be read")
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(full))) => Err(full),
            doubt => {
                if let Ok(Err(error)) = &doubt {
                    tracing::debug!(error = format!("{error:#}"), "the leader cannot be asked for room");
                }
                if !request.dry_run && !request.by_itself {
                    let (caps, ticket) = (self.clone(), request.ticket.clone());
                    tokio::spawn(async move { caps.give_back(&ticket).await });
                }
                Err(Full::NotLeading)
            }
        }
    }

    /// Gives a ticket back, wherever it was taken.
    pub(crate) async fn give_back(&self, ticket: &str) {
        if let Leader::Us { .. } = self.leading.now() {
            return self.release(ticket);
        }
        // Whether it comes through or not: what was granted runs out by itself.
        let _ = tokio::time::timeout(GIVE_BACK, self.post("/release", ticket.as_bytes().to_vec())).await;
    }

    /// Tells the leader what was refused here, for the status of policies; whether it was told.
    pub(crate) async fn tell_refused(&self, told: &[Refused]) -> bool {
        let Ok(body) = serde_json::to_vec(told) else { return false };
        matches!(tokio::time::timeout(GIVE_BACK, self.post("/refused", body)).await, Ok(Ok(_)))
    }

    /// Whether another replica leads.
    pub(crate) fn follows(&self) -> bool {
        matches!(self.leading.now(), Leader::Other { .. })
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        let Leader::Other { identity, address: Some(address) } = self.leading.now() else {
            bail!("it is not known who leads, or where");
        };
        let (client, word) = self.client()?;
        let uri: Uri = format!("https://{address}{path}").parse().context("the leader's address")?;
        let request = axum::http::Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(AUTHORIZATION, format!("Bearer {word}"))
            .header(LEADER, identity)
            .body(Body::new(body.into()))?;
        let answer = client.request(request).await?;
        let status = answer.status();
        if !matches!(status, StatusCode::OK | StatusCode::NO_CONTENT) {
            bail!("the leader answers {status}");
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        Ok(body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes().to_vec())
    }

    /// A client that trusts what is trusted now, and the word to say.
    fn client(&self) -> Result<(Https, String)> {
        let shown = self.shown.borrow().clone().context("there is no certificate yet")?;
        let name = ServerName::try_from(self.name.clone())?;
        self.client.with(|kept| {
            if let Some((of, client)) = kept.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &shown)) {
                return Ok((client.clone(), of.word.clone()));
            }
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(shown.client.clone())
                .https_only()
                .with_server_name_resolver(FixedServerNameResolver::new(name))
                .enable_http1()
                .build();
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_mins(1));
            let (client, word) = (builder.build(connector), shown.word.clone());
            *kept = Some((shown, Https::clone(&client)));
            Ok((client, word))
        })
    }
}

/// Keeps the ledger while this replica leads.
pub(crate) struct Keeper {
    pub(crate) state: State,
    pub(crate) maps: Api<ConfigMap>,
    pub(crate) pods: Api<DynamicObject>,
    /// Name of the `ConfigMap` with what is granted.
    pub(crate) name: String,
}

impl Keeper {
    /// Takes over and keeps the ledger until the task is dropped.
    pub(crate) async fn run(self) {
        loop {
            let map = self.granted().await;
            self.take_over(map.as_ref());
            self.keep(map).await;
            // It is either somebody who led before, whose last write came late, or a person. Who really leads begins anew, with
            // all doubt.
            warn!("another one has written what goes to Fargate: it is counted anew");
            self.state.ledger(|ledger| *ledger = None);
        }
    }

    /// What is written of what was granted.
    async fn granted(&self) -> Option<ConfigMap> {
        loop {
            match tokio::time::timeout(LIMIT, self.maps.get_opt(&self.name)).await {
                Ok(Ok(map)) if self.state.known().listed => return map,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => warn!(%error, "what was granted cannot be read"),
                Err(_) => warn!("what was granted cannot be read in time"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Keeps the ledger until somebody else writes what only the leader may write.
    async fn keep(&self, mut map: Option<ConfigMap>) {
        let mut listed = Instant::now();
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            if let Some(wanted) = self.state.ledger(|ledger| ledger.as_mut()?.to_write()) {
                match tokio::time::timeout(LIMIT, self.write(map.as_ref(), &wanted)).await {
                    Ok(Ok(written)) => {
                        map = Some(written);
                        self.state.ledger(|ledger| ledger.iter_mut().for_each(|l| l.wrote(&wanted)));
                    }
                    Ok(Err(error)) if is_conflict(&error) || is_gone(&error) => return,
                    Ok(Err(error)) => warn!(%error, "what is granted cannot be written"),
                    Err(_) => warn!("what is granted cannot be written in time"),
                }
            }
            // Without a policy nothing is granted, and nothing is in doubt.
            if listed.elapsed() >= LIST_EVERY && !self.state.known().policies.all().is_empty() {
                listed = Instant::now();
                if let Err(error) = self.list().await {
                    warn!(error = format!("{error:#}"), "pods on Fargate cannot be listed");
                }
            }
        }
    }

    fn take_over(&self, map: Option<&ConfigMap>) {
        let json = map.and_then(|map| map.data.as_ref()?.get(KEY));
        let written = json.and_then(|json| match GrantedUpTo::parse(json) {
            Ok(written) => Some(written),
            Err(error) => {
                warn!(error, "what was granted before cannot be read: nothing is granted for some minutes");
                None
            }
        });
        let (known, now) = (self.state.known(), seconds());
        let mut ledger = Ledger::take_over(written.as_ref(), &known.policies, now);
        // No event of a pod comes in between: it waits for the pods.
        self.state.pods(|pods| {
            for seen in pods.routed.values() {
                let ruling =
                    known.policies.ruling(&seen.key.namespace, &seen.labels).map(|policy| &policy.id);
                let price = known.rates.and_then(|rates| seen.price(rates));
                ledger.seen(seen, ruling, price);
            }
            // They may have changed since.
            ledger.set(&self.state.known().policies, now);
            info!(pods = pods.routed.len(), epoch = ledger.epoch(), "counts what goes to Fargate");
            self.state.ledger(|kept| *kept = Some(ledger));
        });
    }

    async fn write(&self, old: Option<&ConfigMap>, wanted: &GrantedUpTo) -> kube::Result<ConfigMap> {
        let json = wanted.to_json().map_err(kube::Error::SerdeError)?;
        let data = Some(BTreeMap::from([(KEY.to_owned(), json)]));
        let Some(old) = old else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let map = ConfigMap { metadata, data, ..ConfigMap::default() };
            return self.maps.create(&PostParams::default(), &map).await;
        };
        // With the version that was read: who has written since wins.
        let map = ConfigMap { data, ..old.clone() };
        self.maps.replace(&self.name, &PostParams::default(), &map).await
    }

    /// Looks at all pods on Fargate, so that it is certain what became of grants. A list that says no version is of the state
    /// as of now, so whatever was stored before it was asked for is in it.
    async fn list(&self) -> Result<()> {
        let asked = seconds();
        let mut how =
            ListParams::default().limit(PAGE).fields(&format!("spec.schedulerName={FARGATE_SCHEDULER}"));
        loop {
            let page = tokio::time::timeout(LIMIT, self.pods.list(&how)).await.context("in time")??;
            for pod in &page.items {
                self.state.see_listed(&serde_json::to_value(pod)?);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => how.continue_token = Some(token),
                None => break,
            }
        }
        let dropped = self.state.ledger(|ledger| ledger.as_mut().map_or(0, |ledger| ledger.expire(asked)));
        if dropped > 0 {
            info!(count = dropped, "grants that no pod came of are given back");
        }
        Ok(())
    }
}

/// All pods, as they are stored.
pub(crate) fn raw_pods(client: kube::Client) -> Api<DynamicObject> {
    Api::all_with(client, &kube::api::ApiResource::erase::<Pod>(&()))
}
