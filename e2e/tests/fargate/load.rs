//! A thousand pods a second, answered over TLS.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stowage_e2e::{Client, free_ports};

use super::site::{Site, is_on_fargate, running};
use super::webhook::kept;

/// Connections at the same time.
const CONNECTIONS: u32 = 8;
/// Pods a second, all connections together, for so many seconds.
const RATE: u32 = 1_000;
const SECONDS: u32 = 5;

/// What the API server asks about a pod.
fn review(pod: &Value, uid: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": uid, "operation": "CREATE", "namespace": "default", "dryRun": false,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod, "oldObject": null,
        },
    })
}

/// Asks at its share of the rate, whether answers have come or not; gives how long each took since it was due.
fn ask(client: &Client, pod: &Value, connection: u32) -> Vec<Duration> {
    let began = Instant::now();
    let every = Duration::from_secs(1) * CONNECTIONS / RATE;
    let times = (0..RATE * SECONDS / CONNECTIONS).map(|n| {
        let due = began + every * n + every * connection / CONNECTIONS;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let review = review(pod, &format!("{connection}-{n}"));
        let answer = client.send("POST", "/mutate", "application/json", Some(&review)).unwrap();
        assert_eq!(answer.status, 200);
        let response = &answer.body["response"];
        assert!(response["allowed"] == true && response["patch"].is_string(), "{response}");
        due.elapsed()
    });
    times.collect()
}

#[test]
fn a_thousand_pods_a_second_are_answered_over_tls() {
    let site = Site::start("fargate-load", &json!({}));
    let [port] = free_ports().unwrap();
    let controller = site.controller_at("controller", port, port, &[]);
    site.counts(&controller);
    // More than ever come: whether there is room is asked all the same.
    site.policy(&json!({"caps": {"maxPods": 40_000}}));
    site.deploy("web", 1, "1", &json!({}));
    site.verdict(&controller, "default/Deployment/web", "Fargate");
    let mut pod = site.world.pods().unwrap().remove(0);
    site.scale("web", 2);
    assert_eq!(running(&site.world, "web").unwrap(), (1, 2));

    // As the ReplicaSet makes it.
    assert!(!is_on_fargate(&pod));
    pod["status"] = json!({});
    for (of, key) in
        [("metadata", "uid"), ("metadata", "resourceVersion"), ("metadata", "name"), ("spec", "nodeName")]
    {
        pod[of].as_object_mut().unwrap().remove(key);
    }
    let authority = site.world.plane.logs().join("webhook.crt");
    std::fs::write(&authority, kept(&site).unwrap()["current"]["authority"].as_str().unwrap()).unwrap();
    let base = format!("https://127.0.0.1:{port}");
    let clients: Vec<Client> =
        (0..CONNECTIONS).map(|_| Client::new(&base, &authority, "").unwrap()).collect();
    let began = Instant::now();
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let pod = &pod;
        let asking = clients.iter().zip(0..).map(|(client, n)| scope.spawn(move || ask(client, pod, n)));
        let asking: Vec<_> = asking.collect();
        asking.into_iter().flat_map(|asker| asker.join().unwrap()).collect()
    });
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{} pods at {rate:.0} a second over TLS: median {:?}, p99 {:?}, longest {:?} since they were due",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert_eq!(times.len(), (RATE * SECONDS) as usize);
    // The API server waits for a second. How fast it is on a quiet machine is measured, and no matter of this test.
    assert!(at(0.99) < Duration::from_secs(1), "{:?}", at(0.99));
}
