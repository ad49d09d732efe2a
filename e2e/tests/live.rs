//! `--live` from end to end: the built program asks an AWS on loopback, keeps what it says, and does without it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(clippy::float_cmp, reason = "prices are the same bytes on both sides")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use stowage_e2e::aws::{Front, Mishap, Plan, Stock, stowage};

const REGION: &str = "us-east-1";

/// A user of the program, whose home is a folder of its own.
struct User {
    home: PathBuf,
    endpoint: String,
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl User {
    fn of(front: &Front, test: &str) -> Self {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live").join(test);
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        Self { home, endpoint: front.url().to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(stowage().unwrap());
        command
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stdin(Stdio::null())
            .env_clear()
            .env("HOME", &self.home)
            .env("AWS_ACCESS_KEY_ID", "made-up")
            .env("AWS_SECRET_ACCESS_KEY", "made-up")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", &self.endpoint);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    /// The catalogue that is read live.
    fn catalog(&self, region: &str, more: &[&str]) -> (Value, String) {
        let ran = self.run(&[&["catalog", "--live", "--region", region, "-o", "json"], more].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        (serde_json::from_str(&ran.stdout).unwrap(), ran.stderr)
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn start(region: &str, test: &str) -> (Front, User) {
    let front = Front::start(Stock::of(region).unwrap()).unwrap();
    let user = User::of(&front, test);
    (front, user)
}

fn types(catalog: &Value) -> Vec<&str> {
    catalog.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect()
}

fn label<'a>(offering: &'a Value, wanted: &str) -> &'a str {
    let of = offering["Requirements"].as_array().unwrap().iter().find(|r| r["key"] == wanted);
    of.and_then(|r| r["values"][0].as_str()).unwrap_or_default()
}

/// Offerings as text: capacity type, zone and price. Those of a reservation are left out: only live ones have them.
fn offered(of: &Value) -> Vec<String> {
    let kind = |o: &Value| label(o, "karpenter.sh/capacity-type").to_owned();
    let offerings = of["offerings"].as_array().unwrap().iter().filter(|o| kind(o) != "reserved");
    offerings
        .map(|o| {
            format!(
                "{} {} {} {}",
                kind(o),
                label(o, "topology.kubernetes.io/zone"),
                o["Price"],
                o["Available"]
            )
        })
        .collect()
}

/// The price of a type on demand.
fn price(catalog: &Value, name: &str) -> f64 {
    let of = catalog.as_array().unwrap().iter().find(|t| t["name"] == name).unwrap();
    let offerings = of["offerings"].as_array().unwrap();
    let on_demand = offerings.iter().find(|o| label(o, "karpenter.sh/capacity-type") == "on-demand");
    on_demand.unwrap()["Price"].as_f64().unwrap()
}

#[test]
fn what_is_read_live_is_what_the_facts_say_page_by_page() {
    let (front, user) = start(REGION, "facts");
    let (live, said) = user.catalog(REGION, &[]);
    let embedded = user.run(&["catalog", "--region", REGION, "-o", "json"]);
    let embedded: Value = serde_json::from_str(&embedded.stdout).unwrap();
    let stock = Stock::of(REGION).unwrap();
    assert_eq!(types(&live), stock.types.iter().map(String::as_str).collect::<Vec<_>>());
    for of in live.as_array().unwrap() {
        let same = embedded.as_array().unwrap().iter().find(|e| e["name"] == of["name"]).unwrap();
        for field in ["architecture", "operatingSystems", "resources", "overhead", "labels"] {
            assert_eq!(of[field], same[field], "{field} of {}", of["name"]);
        }
        assert_eq!(offered(of), offered(same), "{}", of["name"]);
    }
    let of = |name: &str| live.as_array().unwrap().iter().find(|t| t["name"] == name).unwrap();
    let held = of("m7i.large")["offerings"].as_array().unwrap().iter();
    let held: Vec<_> = held.filter(|o| o["ReservationCapacity"] == 2).collect();
    assert_eq!(held.len(), 1);
    assert_eq!(label(held[0], "topology.kubernetes.io/zone"), "us-east-1a");

    // Every page of each answer, once.
    let pages = |elements: usize| elements.div_ceil(20).max(1);
    let metal = stock.types.iter().filter(|name| name.contains(".metal")).count();
    let asked = [
        ("DescribeInstanceTypes", pages(stock.types.len())),
        ("DescribeSpotPriceHistory", pages(stock.spot.len())),
        // Shared hardware, bare metal, and Fargate.
        ("GetProducts", pages(stock.types.len() - metal) + pages(metal) + 1),
        ("DescribeReservedInstances", 1),
    ];
    for (call, times) in asked {
        assert_eq!(front.seen(call), times, "{call}");
    }
    assert!(stock.types.len() > 40, "{}", stock.types.len());
    let first = "note: us-east-1 as AWS told it: instance types, zones of types, on-demand prices, spot prices, Fargate \
                 rates, subnets, capacity reservations, reserved instances, savings plans now\n";
    assert!(said.starts_with(first), "{said}");
}

#[test]
fn what_was_read_is_used_while_it_is_fresh_and_offline_whenever_it_was_read() {
    let (front, user) = start(REGION, "offline");
    let (first, _) = user.catalog(REGION, &[]);
    let asked = front.seen("*");
    let (again, _) = user.catalog(REGION, &[]);
    assert_eq!((again == first, front.seen("*")), (true, asked));
    // No credentials, no AWS.
    front.always("*", Mishap::Cut);
    let mut offline = user.command(&["catalog", "--live", "--offline", "--region", REGION, "-o", "json"]);
    let offline = ran(offline.env_remove("AWS_ACCESS_KEY_ID"));
    assert_eq!(serde_json::from_str::<Value>(&offline.stdout).unwrap(), first);
    assert_eq!(front.seen("*"), asked);
    let elsewhere = user.run(&["catalog", "--live", "--offline", "--region", "eu-west-1"]);
    assert_eq!(elsewhere.code, Some(2));
    assert_eq!(
        elsewhere.stderr,
        "error: nothing is kept of eu-west-1\nhint: ask AWS once, without --offline\n"
    );
}

#[test]
fn a_call_that_is_throttled_twice_is_answered_the_third_time() {
    let (front, user) = start(REGION, "throttled");
    for call in ["GetProducts", "DescribeInstanceTypes"] {
        front.next(call, &[Mishap::Throttle, Mishap::Throttle]);
    }
    front.next("DescribeSpotPriceHistory", &[Mishap::None, Mishap::Break, Mishap::Cut]);
    let (live, said) = user.catalog(REGION, &[]);
    assert_eq!(types(&live).len(), Stock::of(REGION).unwrap().types.len());
    assert!(!said.contains("failed"), "{said}");
}

#[test]
fn while_prices_are_down_the_last_ones_are_used_and_their_age_is_said() {
    let (front, user) = start(REGION, "down");
    let (first, _) = user.catalog(REGION, &[]);
    front.always("GetProducts", Mishap::Break);
    let (second, said) = user.catalog(REGION, &["--max-age", "0"]);
    assert_eq!(offered(&second[0]), offered(&first[0]));
    assert_eq!(second, first);
    let failed = said.lines().find(|line| line.contains("failed")).unwrap();
    assert!(failed.starts_with("note: on-demand prices, Fargate rates are "), "{failed}");
    assert!(failed.contains(" old: asking anew failed, InternalFailure (made up)"), "{failed}");
}

#[test]
fn half_an_answer_is_none() {
    let (front, user) = start(REGION, "half");
    let (first, _) = user.catalog(REGION, &[]);
    front.change(|stock| {
        for price in stock.on_demand.values_mut() {
            *price = "9.0000000000".to_owned();
        }
    });
    // The first page comes, and the second never does. Whatever order the two services are asked in, both get some of it.
    front.next("GetProducts", &[Mishap::None, Mishap::None, Mishap::None]);
    front.always("GetProducts", Mishap::Throttle);
    let (second, said) = user.catalog(REGION, &["--max-age", "0"]);
    assert_eq!(price(&second, "m7i.large"), price(&first, "m7i.large"));
    assert!(said.contains("on-demand prices are ") || said.contains("on-demand prices, "), "{said}");
    assert!(said.contains("ThrottlingException (made up)"), "{said}");
    // All of it comes: now it counts.
    front.always("GetProducts", Mishap::None);
    let (third, _) = user.catalog(REGION, &["--max-age", "0"]);
    assert_eq!(price(&third, "m7i.large"), 9.0);
}

#[test]
fn types_and_fields_of_tomorrow_are_kept() {
    let (front, user) = start(REGION, "tomorrow");
    let x99 = "<item><instanceType>x99.large</instanceType><warpDrive><item>yes</item></warpDrive>\
        <supportedUsageClasses><item>on-demand</item><item>barter</item></supportedUsageClasses>\
        <supportedVirtualizationTypes><item>hvm</item></supportedVirtualizationTypes><hypervisor>photon</hypervisor>\
        <processorInfo><supportedArchitectures><item>riscv64</item><item>arm64</item></supportedArchitectures>\
        </processorInfo><vCpuInfo><defaultVCpus>2</defaultVCpus></vCpuInfo>\
        <memoryInfo><sizeInMiB>16384</sizeInMiB></memoryInfo><networkInfo>\
        <ipv4AddressesPerInterface>10</ipv4AddressesPerInterface><defaultNetworkCardIndex>0</defaultNetworkCardIndex>\
        <networkCards><item><maximumNetworkInterfaces>3</maximumNetworkInterfaces></item></networkCards>\
        </networkInfo></item>";
    front.change(|stock| {
        stock.unheard_of.push(("x99.large".to_owned(), "us-east-1a".to_owned(), x99.to_owned()));
        stock.on_demand.insert("x99.large".to_owned(), "0.0123000000".to_owned());
    });
    let (live, _) = user.catalog(REGION, &[]);
    assert_eq!(price(&live, "x99.large"), 0.0123);
    let of = live.as_array().unwrap().iter().find(|t| t["name"] == "x99.large").unwrap();
    assert_eq!(of["labels"]["karpenter.k8s.aws/instance-hypervisor"], "photon");
    assert_eq!(of["architecture"], "arm64");
}

#[test]
fn prices_that_are_missing_or_in_other_money_leave_types_out_by_name() {
    let (front, user) = start(REGION, "missing");
    front.change(|stock| {
        stock.on_demand.remove("m7i.large");
        stock.other_currency.insert("c7g.large".to_owned(), "EUR".to_owned());
    });
    let (live, said) = user.catalog(REGION, &["--capacity-type", "on-demand"]);
    let names = types(&live);
    assert!(!names.contains(&"m7i.large") && !names.contains(&"c7g.large") && names.contains(&"m7i.xlarge"));
    assert!(said.contains("passed over c7g.large: is priced in EUR, not in USD"), "{said}");
    assert!(
        said.contains("2 types without an on-demand price, so not offered: c7g.large, m7i.large"),
        "{said}"
    );
}

#[test]
fn a_plan_at_live_prices_says_so_and_goes_on_without_what_the_account_may_not_ask() {
    let (front, user) = start(REGION, "plan");
    front.always("DescribeCapacityReservations", Mishap::Refuse);
    front.always("DescribeSavingsPlans", Mishap::Refuse);
    let plan = ["plan", "examples/web-shop.yaml", "--live", "--region", REGION, "-o", "json"];
    let ran = user.run(&plan);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let notes: Vec<&str> = plan["notes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert!(notes.iter().any(|n| n.starts_with("us-east-1 as AWS told it: ")), "{notes:?}");
    let refused = |n: &&&str| n.contains("not known: asking failed");
    assert_eq!(notes.iter().filter(refused).count(), 2, "{notes:?}");
    let sold = Stock::of(REGION).unwrap().types;
    let nodes = plan["newNodes"].as_array().unwrap();
    assert!(!nodes.is_empty());
    assert!(nodes.iter().all(|n| sold.iter().any(|name| n["instanceType"] == *name)));
}

/// What the account has paid for is read with everything else, and spent before anything is bought: a dearer type that is
/// covered beats a cheaper one that is not.
#[test]
fn what_the_account_has_paid_for_is_spent_first() {
    let (front, user) = start(REGION, "paid");
    let plan = |more: &[&str]| -> Value {
        let plan = ["plan", "examples/web-shop.yaml", "--live", "--region", REGION, "-o", "json"];
        let ran = user.run(&[&plan[..], more].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let paid = |plan: &Value| {
        let weighed = &plan["summary"]["weighed"]["hourlyCost"];
        weighed.as_f64().unwrap_or_else(|| plan["summary"]["hourlyCost"].as_f64().unwrap())
    };
    let bare = plan(&[]);
    front.change(|stock| {
        stock.reserved.push(("m7i.2xlarge".to_owned(), 1));
        let rates = stock.on_demand.keys().map(|name| (name.clone(), "0.0500000000".to_owned())).collect();
        let of = Plan { commitment: "0.05000000".to_owned(), rates };
        stock.savings_plans.insert("sp-1".to_owned(), of);
    });
    let covered = plan(&["--max-age", "0"]);
    assert!(paid(&covered) < paid(&bare), "{} is not below {}", paid(&covered), paid(&bare));
    let nodes = covered["newNodes"].as_array().unwrap();
    let by = |id: &str| nodes.iter().filter(|n| n["commitment"] == id).count();
    assert!(by("ri-0") + by("sp-1") > 0, "{nodes:?}");
    // Rates come in pages, too.
    let rates = 2 * Stock::of(REGION).unwrap().types.len();
    assert_eq!(front.seen("DescribeSavingsPlanRates"), rates.div_ceil(20));
}

/// China's prices are in yuan, and no dollar is named.
#[test]
fn china_is_priced_in_yuan() {
    const BEIJING: &str = "cn-north-1";
    let (_front, user) = start(BEIJING, "china");
    let (live, said) = user.catalog(BEIJING, &["--capacity-type", "on-demand"]);
    let stock = Stock::of(BEIJING).unwrap();
    assert_eq!(types(&live), stock.types.iter().map(String::as_str).collect::<Vec<_>>());
    let m7i = stock.on_demand.keys().find(|name| name.starts_with('m')).unwrap();
    assert_eq!(price(&live, m7i), stock.on_demand[m7i].parse::<f64>().unwrap());
    assert!(said.contains("prices of cn-north-1 are in CNY, not in dollars"), "{said}");
    let plan = ["plan", "examples/web-shop.yaml", "--live", "--region", BEIJING, "-o", "json"];
    let ran = user.run(&plan);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("are in CNY, not in dollars"), "{}", ran.stdout);
}

/// An account in China pays for its commitments in yuan, and they are spent as elsewhere.
#[test]
fn commitments_in_yuan_are_spent() {
    const BEIJING: &str = "cn-north-1";
    let (front, user) = start(BEIJING, "china-paid");
    front.change(|stock| {
        let rates = stock.on_demand.keys().map(|name| (name.clone(), "0.0500000000".to_owned())).collect();
        stock.savings_plans.insert("sp-1".to_owned(), Plan { commitment: "0.05000000".to_owned(), rates });
        let held = stock.on_demand.keys().find(|name| name.ends_with(".xlarge")).unwrap().clone();
        stock.reserved.push((held, 1));
    });
    let plan = ["plan", "examples/web-shop.yaml", "--live", "--region", BEIJING, "-o", "json"];
    let ran = user.run(&plan);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let nodes = plan["newNodes"].as_array().unwrap();
    assert!(nodes.iter().any(|n| n["commitment"].is_string()), "{nodes:?}");
    assert!(!ran.stdout.contains("not in USD"), "{}", ran.stdout);
}

/// Profiles as `aws eks describe-fargate-profile` prints them decide who may go to Fargate; what that costs is asked live.
#[test]
fn profiles_of_a_file_send_pods_to_fargate_at_live_rates() {
    let (front, user) = start(REGION, "fargate");
    // Nodes are so dear that whoever may leave them does.
    front.change(|stock| {
        stock
            .on_demand
            .values_mut()
            .chain(stock.spot.values_mut())
            .for_each(|p| *p = "90.0000000000".to_owned());
        stock.fargate[0].1 = "0.0500000000".to_owned();
    });
    let profile = |namespace: &str| {
        let path = user.home.join(format!("{namespace}.json"));
        let status = r#""status": "ACTIVE", "clusterName": "c", "subnets": []"#;
        let selectors = format!(r#""selectors": [{{"namespace": "{namespace}"}}]"#);
        let profile =
            format!(r#"{{"fargateProfile": {{"fargateProfileName": "fp", {status}, {selectors}}}}}"#);
        fs::write(&path, profile).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let pods = user.home.join("pods.json");
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "image": "w", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
        "status": {"phase": "Pending"},
    });
    let pool = serde_json::json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "default"},
        "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            // What is reserved costs next to nothing.
            "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}],
        }}},
    });
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [pod, pool]});
    fs::write(&pods, list.to_string()).unwrap();
    let routed = |namespace: &str| {
        let file = profile(namespace);
        let plan = ["plan", pods.to_str().unwrap(), "--live", "--region", REGION, "-o", "json"];
        let ran = user.run(&[&plan[..], &["--fargate-profiles", &file]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains("Fargate at $0.05 a vCPU, $0.004445 a GB of memory"), "{}", ran.stdout);
        let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
        plan["fargate"].as_array().unwrap().len()
    };
    assert_eq!(routed("shop"), 1);
    assert_eq!(routed("elsewhere"), 0);
}

/// Where AWS's list has no rates, nobody guesses: the message says how to state them.
#[test]
fn what_fargate_costs_is_asked_for_where_nobody_knows() {
    const BEIJING: &str = "cn-north-1";
    let (front, user) = start(BEIJING, "no-fargate");
    front.change(|stock| stock.fargate.clear());
    let plan = ["plan", "examples/web-shop.yaml", "--live", "--region", BEIJING, "--fargate", "-o", "json"];
    let ran = user.run(&plan);
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    let wanted = "error: what Fargate costs in cn-north-1 is not known\nhint: state it: --fargate-rates VCPU,GB,DISK, \
                  yuan an hour";
    assert!(ran.stderr.starts_with(wanted) && !ran.stderr.contains("--live"), "{}", ran.stderr);
    let ran = user.run(&[&plan[..], &["--fargate-rates", "0.3,0.03,0.0008"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("Fargate at CNY 0.3 a vCPU"), "{}", ran.stdout);
}

#[test]
fn who_cannot_ask_is_told_what_is_missing() {
    let (front, user) = start(REGION, "nobody");
    let mut nobody = user.command(&["catalog", "--live"]);
    let region = ran(&mut nobody);
    assert_eq!(region.code, Some(2));
    assert!(region.stderr.starts_with("error: no region is given\nhint: give --region"), "{}", region.stderr);
    let configured = ran(nobody.env("AWS_REGION", REGION).args(["--type", "m7i.large"]));
    assert_eq!(configured.code, Some(0), "{}", configured.stderr);
    assert!(
        configured.stdout.contains("in us-east-1; prices as AWS told them at 20"),
        "{}",
        configured.stdout
    );

    let mut nobody = user.command(&["catalog", "--live", "--region", "eu-west-1"]);
    let asked = front.seen("*");
    let credentials = ran(nobody.env_remove("AWS_ACCESS_KEY_ID"));
    assert_eq!((credentials.code, front.seen("*")), (Some(2), asked));
    assert!(credentials.stderr.contains("error: AWS told nothing of eu-west-1"), "{}", credentials.stderr);
    assert!(
        credentials.stderr.contains("no credentials found in chain\nhint: is AWS within reach"),
        "{}",
        credentials.stderr
    );
}
