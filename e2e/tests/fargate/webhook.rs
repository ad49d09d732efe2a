//! The webhook where it is slow, shows a certificate that has run out, and changes its certificate.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use stowage_e2e::free_ports;

use super::site::{PODS, Site, bare, running};

const SECRET: &str = "/api/v1/namespaces/stowage/secrets";

/// A certificate for loopback, valid from then to then in days from now, in a folder as the controller wants it.
fn certificate(folder: &Path, from: i64, to: i64) {
    let day = |days: i64| {
        let seconds = UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed() + days * 86_400;
        (UNIX_EPOCH + Duration::from_secs(seconds.cast_unsigned())).into()
    };
    let mut of = CertificateParams::default();
    of.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = of.self_signed(&key).unwrap();
    let issuer = Issuer::new(of, key);
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (day(from), day(to));
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}

/// Creates a pod; gives how long the API server took.
fn create(site: &Site, name: &str) -> Duration {
    let began = Instant::now();
    site.world.client().create(PODS, &bare(name, "bare")).unwrap();
    began.elapsed()
}

#[test]
fn pods_are_created_where_the_webhook_is_slow_or_its_certificate_has_run_out() {
    let site = Site::start("fargate-tls", &json!({}));
    let folder = site.world.plane.logs().join("webhook");
    certificate(&folder, -10, -1);
    let [port] = free_ports().unwrap();
    let flag = format!("--webhook-certificate={}", folder.display());
    let controller = site.controller_at("controller", port, port, &[&flag]);
    site.policy(&json!({}));
    create(&site, "seed");
    site.runs("bare", 1);
    site.verdict(&controller, "default/Pod/", "Fargate");
    let probe = bare("probe", "bare");
    assert!(!site.would_go(&probe).unwrap(), "the API server trusts nobody whose certificate has run out");
    assert!(create(&site, "expired") < Duration::from_secs(5));
    site.runs("bare", 2);
    assert_eq!(running(&site.world, "bare").unwrap(), (0, 2));

    // Somebody mends it, and pods go from then on.
    certificate(&folder, -1, 30);
    site.world
        .until("the new certificate to be shown", |_| Ok(site.would_go(&probe)?.then_some(())))
        .unwrap();
    create(&site, "routed");
    site.runs("bare", 3);
    assert_eq!(running(&site.world, "bare").unwrap(), (1, 3));

    // One that does not answer holds nobody up for longer than its second.
    controller.pause(true).unwrap();
    let took = create(&site, "slow");
    controller.pause(false).unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    site.runs("bare", 4);
    assert_eq!(running(&site.world, "bare").unwrap(), (1, 4));
}

/// The API server is told to call a port where nobody listens: so pods that are made anew come back as they were.
#[test]
fn pods_run_on_nodes_where_the_webhook_cannot_be_reached() {
    let site = Site::start("fargate-unreached", &json!({}));
    let [port, nobody] = free_ports().unwrap();
    let controller = site.controller_at("controller", port, nobody, &[]);
    site.policy(&json!({"pending": {"recreate": true, "perMinute": 600}}));
    // So long that whoever is registered counts as reached.
    site.world
        .until("the verdict to be followed", |_| {
            Ok(controller.log()?.contains("asked about pods").then_some(()))
        })
        .unwrap();
    thread::sleep(Duration::from_secs(12));
    site.deploy("web", 4, "1", &json!({}));
    assert_eq!(running(&site.world, "web").unwrap(), (0, 4));
    let log = controller.log().unwrap();
    let deleted = log.matches("to be made anew for Fargate").count();
    assert!((1..=4).contains(&deleted), "each that waited at most once: {deleted}");
}

/// Makes the certificate in the Secret look as if it had been made that long ago.
fn age(site: &Site, change: impl Fn(&mut Value)) {
    let path = format!("{SECRET}/stowage-webhook");
    let secret = site.world.client().get(&path).unwrap();
    let data = STANDARD.decode(secret["data"]["webhook.json"].as_str().unwrap()).unwrap();
    let mut kept: Value = serde_json::from_slice(&data).unwrap();
    change(&mut kept);
    let data = json!({"data": {"webhook.json": STANDARD.encode(kept.to_string())}});
    site.world.client().patch(&path, &data).unwrap();
}

/// What the Secret holds.
pub(crate) fn kept(site: &Site) -> anyhow::Result<Value> {
    let secret = site.world.client().get(&format!("{SECRET}/stowage-webhook"))?;
    Ok(serde_json::from_slice(
        &STANDARD.decode(secret["data"]["webhook.json"].as_str().unwrap_or_default())?,
    )?)
}

#[test]
fn a_certificate_is_changed_under_load_and_no_pod_is_missed() {
    let site = Site::start("fargate-rotation", &json!({}));
    let controller = site.controller("controller");
    site.policy(&json!({}));
    create(&site, "seed");
    site.runs("bare", 1);
    site.verdict(&controller, "default/Pod/", "Fargate");
    let before = kept(&site).unwrap()["current"]["certificate"].clone();
    let ended = AtomicBool::new(false);
    let counts: Vec<(usize, usize)> = thread::scope(|scope| {
        let ask = || {
            let (mut routed, mut missed) = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                let went = site.would_go(&bare("load", "bare")).unwrap();
                (routed, missed) = (routed + usize::from(went), missed + usize::from(!went));
            }
            (routed, missed)
        };
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        // Two thirds of its life are over: the next one is prepared, and ten minutes after that it is shown.
        age(&site, |kept| {
            let ends = kept["current"]["ends"].as_u64().unwrap();
            kept["current"]["ends"] = json!(ends - 80 * 86_400);
            kept["current"]["made"] = json!(kept["current"]["made"].as_u64().unwrap() - 80 * 86_400);
        });
        let prepared =
            site.world.until("the next one", |_| Ok((!kept(&site)?["next"].is_null()).then_some(())));
        // The API server is told within seconds; here these are all that it gets.
        thread::sleep(Duration::from_secs(15));
        age(&site, |kept| kept["next"]["made"] = json!(kept["next"]["made"].as_u64().unwrap() - 700));
        let shown = site.world.until("it to be shown", |_| {
            Ok((kept(&site)?["current"]["certificate"] != before).then_some(()))
        });
        thread::sleep(Duration::from_secs(35));
        ended.store(true, Ordering::Relaxed);
        let counts = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
        prepared.unwrap();
        shown.unwrap();
        counts
    });
    let (routed, missed) = counts.iter().fold((0, 0), |(a, b), (x, y)| (a + x, b + y));
    println!("{routed} routed, {missed} missed while the certificate was changed");
    assert!(routed > 1_000, "{routed}");
    assert_eq!(missed, 0, "of {routed}");
    drop(controller);
}
