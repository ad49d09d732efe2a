//! The webhook over TLS on a loopback address, asked by clients that trust what it shows.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full as Body};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prometheus::Registry;
use serde_json::{Value, json};
use stowage_fargate::{Caps as Cap, Ledger, Left, PodKey, Policies, Policy, PolicyId};

use super::super::certs::{Kept, Pair, make};
use super::super::state::Known;
use super::*;
use crate::operate::lease::{Leader, Leading};

const NAME: &str = "stowage.ops.svc";

fn pair() -> Pair {
    make(&[NAME.to_owned()], seconds()).expect("a certificate")
}

fn shown(pair: &Pair) -> Arc<Shown> {
    let kept = Kept { current: pair.clone(), next: None, last: None };
    Arc::new(Shown::of(&kept).expect("a certificate that is shown"))
}

fn known() -> Known {
    let json = json!({
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"mode": "Always", "caps": {"maxPods": 1}},
    });
    let policy = Policy::of_namespace(&json.to_string()).expect("a policy");
    let (policies, _) = Policies::new(vec![policy], BTreeMap::new(), "ops");
    Known { listed: true, policies, ..Known::default() }
}

/// A replica that serves what is shown.
struct Replica {
    desk: Desk,
    leading: Leading,
    sender: watch::Sender<Option<Arc<Shown>>>,
    address: SocketAddr,
}

async fn replica(name: &str, pair: &Pair) -> Replica {
    let state = State::default();
    state.learn(known());
    let (sender, receiver) = watch::channel(Some(shown(pair)));
    let leading = Leading::new(name.to_owned(), None);
    let caps = Caps::new(state.clone(), leading.clone(), receiver.clone(), NAME.to_owned());
    let measured = Measured::new(&Registry::new()).expect("metrics");
    let desk = Desk { state, caps, measured, shown: receiver };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(desk.clone().serve(listener));
    Replica { desk, leading, sender, address }
}

/// Posts to a replica over TLS, trusting these.
async fn post(at: SocketAddr, trusted: &Shown, path: &str, body: &str) -> Result<(u16, String)> {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusted.client.clone())
        .https_only()
        .with_server_name_resolver(FixedServerNameResolver::new(NAME.try_into()?))
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Body<Bytes>>(connector);
    let request = axum::http::Request::post(format!("https://{at}{path}"));
    let answer = client.request(request.body(Body::new(body.to_owned().into()))?).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

fn review() -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "r1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "namespace": "shop",
            "object": {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}},
        },
    })
    .to_string()
}

#[tokio::test]
async fn an_admission_is_answered_over_tls_whatever_it_says() {
    let pair = pair();
    let replica = replica("a", &pair).await;
    let trusted = shown(&pair);
    let (status, body) = post(replica.address, &trusted, "/mutate", &review()).await.expect("an answer");
    let answer: Value = serde_json::from_str(&body).expect("a review");
    assert_eq!((status, &answer["response"]["uid"]), (200, &json!("r1")));
    assert_eq!(answer["response"]["allowed"], true);
    assert!(replica.desk.state.is_asked(seconds()));
    // Its workload is to be looked at.
    assert!(replica.desk.state.wanted().len() <= 1);
    for body in ["", "{", "[]", "null"] {
        let (status, body) = post(replica.address, &trusted, "/mutate", body).await.expect("an answer");
        assert!(status == 200 && body.contains("\"allowed\":true"), "{status} {body}");
    }
}

#[tokio::test]
async fn certificates_change_without_a_restart_and_others_are_not_trusted() {
    let (old, new) = (pair(), pair());
    let replica = replica("a", &old).await;
    let ask = async |trusted: &Pair| post(replica.address, &shown(trusted), "/mutate", "{}").await.is_ok();
    assert!(ask(&old).await && !ask(&new).await);
    replica.sender.send_replace(Some(shown(&new)));
    assert!(!ask(&old).await && ask(&new).await);
    // Who trusts both, as the API server does while they change, is answered at every moment.
    let both = Kept { current: new.clone(), next: None, last: Some((old.authority.clone(), u64::MAX)) };
    let both = Shown::of(&both).expect("two authorities");
    for pair in [&old, &new] {
        replica.sender.send_replace(Some(shown(pair)));
        assert!(post(replica.address, &both, "/mutate", "{}").await.is_ok());
    }
    replica.sender.send_replace(None);
    assert!(!ask(&new).await, "without a certificate nobody is answered");
}

fn request(ticket: &str) -> Request {
    Request {
        ticket: ticket.to_owned(),
        policy: PolicyId { namespace: Some("shop".to_owned()), name: "p".to_owned() },
        pod: PodKey { namespace: "shop".to_owned(), controller: "rs".to_owned(), name: "a-".to_owned() },
        labels: BTreeMap::new(),
        added: BTreeMap::new(),
        price: stowage_solver::Price::from_micros(1),
        dry_run: false,
        by_itself: false,
    }
}

/// A ledger that can grant one pod.
fn ledger() -> Ledger {
    let now = seconds();
    let policies = known().policies;
    let mut ledger = Ledger::take_over(None, &policies, now);
    ledger.set(&policies, now);
    ledger.expire(now + 1_000);
    let level = ledger.to_write().expect("a level");
    ledger.wrote(&level);
    ledger
}

#[tokio::test]
async fn a_follower_asks_the_leader_and_doubt_is_no_grant() {
    let pair = pair();
    let (leader, follower) = (replica("leader", &pair).await, replica("follower", &pair).await);
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    leader.leading.set(Leader::Us { until });
    leader.desk.state.ledger(|kept| *kept = Some(ledger()));
    let caps = &follower.desk.caps;
    assert_eq!(caps.place(&request("t")), Place::Leader);
    assert_eq!(caps.ask(&request("t")).await, Err(Full::NotLeading), "nobody knows who leads");
    let at = |identity: &str| Leader::Other {
        identity: identity.to_owned(),
        address: Some(leader.address.to_string()),
    };
    follower.leading.set(at("somebody-else"));
    assert_eq!(caps.ask(&request("t")).await, Err(Full::NotLeading), "it was meant for another one");
    follower.leading.set(at("leader"));
    assert_eq!(caps.ask(&request("t")).await, Ok(()));
    assert_eq!(caps.ask(&request("t")).await, Ok(()), "the same ticket is one grant");
    assert_eq!(caps.ask(&request("u")).await, Err(Full::Pods));
    caps.give_back("t").await;
    assert_eq!(caps.ask(&request("u")).await, Ok(()));
    // What the follower has refused stands in the status that the leader writes.
    let refused = vec![(request("t").policy, Left::OwnScheduler, "shop/Deployment/a".to_owned(), 1)];
    assert!(caps.tell_refused(&refused).await);
    assert_eq!(leader.desk.state.refusals(|all| all.since(0)), refused);
    // The lease has run out.
    leader.leading.set(Leader::Us { until: tokio::time::Instant::now() });
    caps.give_back("u").await;
    assert_eq!(caps.ask(&request("v")).await, Err(Full::NotLeading));
}

#[tokio::test]
async fn who_has_not_the_key_reserves_nothing() {
    let (ours, theirs) = (pair(), pair());
    let (leader, stranger) = (replica("leader", &ours).await, replica("stranger", &theirs).await);
    leader.leading.set(Leader::Us { until: tokio::time::Instant::now() + Duration::from_mins(1) });
    leader.desk.state.ledger(|kept| *kept = Some(ledger()));
    // It trusts our authority, and has another key.
    let mixed = Kept { current: theirs.clone(), next: None, last: Some((ours.authority.clone(), u64::MAX)) };
    stranger.sender.send_replace(Some(Arc::new(Shown::of(&mixed).expect("two authorities"))));
    let address = Some(leader.address.to_string());
    stranger.leading.set(Leader::Other { identity: "leader".to_owned(), address });
    assert_eq!(stranger.desk.caps.ask(&request("t")).await, Err(Full::NotLeading));
    let (status, _) = post(leader.address, &shown(&ours), "/reserve", "{}").await.expect("an answer");
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_leader_that_is_slow_is_not_waited_for() {
    let pair = pair();
    let follower = replica("follower", &pair).await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = Some(silent.local_addr().expect("an address").to_string());
    follower.leading.set(Leader::Other { identity: "leader".to_owned(), address });
    let started = Instant::now();
    assert_eq!(follower.desk.caps.ask(&request("t")).await, Err(Full::NotLeading));
    assert!(started.elapsed() < Duration::from_millis(900), "within the second that the API server waits");
    drop(silent);
}

#[tokio::test]
async fn where_no_cap_is_nobody_is_asked() {
    let follower = replica("follower", &pair()).await;
    let mut known = known();
    let mut policy = Policy::clone(known.policies.all().first().expect("a policy"));
    policy.caps = Cap::default();
    known.policies = Policies::new(vec![policy], BTreeMap::new(), "ops").0;
    follower.desk.state.learn(known);
    assert_eq!(follower.desk.caps.place(&request("t")), Place::Nobody);
}
