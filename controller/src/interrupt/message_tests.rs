use proptest::prelude::*;
use serde_json::json;

use super::*;

const ID: &str = "i-0123456789abcdef0";
const AT: &str = "2026-07-01T10:00:00Z";

fn event(source: &str, detail_type: &str, detail: &Value) -> String {
    let event = json!({
        "version": "0", "id": "12345678-1234-1234-1234-123456789012", "detail-type": detail_type, "source": source,
        "account": "111122223333", "time": AT, "region": "us-east-1",
        "resources": ["arn:aws:ec2:us-east-1a:instance/i-0123456789abcdef0"], "detail": detail,
    });
    event.to_string()
}

fn ec2(detail_type: &str, detail: &Value) -> Result<Message, Malformed> {
    parse(&event("aws.ec2", detail_type, detail))
}

#[test]
fn every_event_that_matters_is_understood() {
    let spot = ec2(SPOT, &json!({"instance-id": ID, "instance-action": "terminate"}));
    let expected = Message {
        kind: Kind::SpotInterrupted,
        machines: vec![ID.to_owned()],
        reservations: Vec::new(),
        start: AT.parse().ok(),
    };
    assert_eq!(spot, Ok(expected));
    let kind = |detail_type: &str, detail: &Value| ec2(detail_type, detail).map(|m| m.kind);
    assert_eq!(kind(REBALANCE, &json!({"instance-id": ID})), Ok(Kind::RebalanceRecommendation));
    let interrupted = json!({
        "instance-id": ID, "instance-action": "terminate", "instance-termination-time": AT,
        "availability-zone-id": "use1-az1", "instance-lifecycle": "interruptible-capacity-reservation",
    });
    assert_eq!(kind(RESERVATION, &interrupted), Ok(Kind::CapacityReservationInterrupted));
    for (state, expected) in [
        ("pending", Kind::NoOp),
        ("running", Kind::NoOp),
        ("stopping", Kind::InstanceStopped),
        ("stopped", Kind::InstanceStopped),
        ("shutting-down", Kind::InstanceTerminated),
        ("terminated", Kind::InstanceTerminated),
        ("from-the-future", Kind::NoOp),
    ] {
        assert_eq!(kind(STATE, &json!({"instance-id": ID, "state": state})), Ok(expected), "{state}");
    }
}

#[test]
fn a_capacity_block_is_known_by_its_reservation() {
    // As the user guide has it: with an underscore.
    let text = json!({
        "customer_event_id": "cr-0123456789abcdef0-approaching-expiry", "detail_type": BLOCK, "source": "aws.ec2",
        "account": "111122223333", "time": AT, "resources": [],
        "detail": {"capacity-reservation-id": "cr-0123456789abcdef0", "end-date": AT},
    });
    let message = parse(&text.to_string()).expect("an event");
    assert_eq!(message.kind, Kind::CapacityBlockExpiring);
    assert_eq!((message.reservations, message.machines), (vec!["cr-0123456789abcdef0".to_owned()], vec![]));
    let nameless = ec2(BLOCK, &json!({"end-date": AT}));
    assert_eq!(nameless, Err(Malformed::Nameless { of: BLOCK, what: "capacity reservation" }));
}

#[test]
fn of_health_only_changes_to_come_of_machines_count() {
    let of = |service: &str, category: &str, status: &str| {
        let entities = json!([
            {"entityValue": "i-0123456789abcdef1"}, {"entityValue": "vol-0123456789abcdef0"},
            {"entityValue": ID}, {"entityValue": ID}, {"entityArn": "x"},
        ]);
        let detail = json!({
            "eventArn": "arn", "service": service, "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED",
            "eventTypeCategory": category, "statusCode": status, "startTime": "Sat, 05 Jun 2027 15:10:09 GMT",
            "affectedEntities": entities,
        });
        parse(&event("aws.health", HEALTH, &detail)).expect("an event")
    };
    let change = of("EC2", "scheduledChange", "upcoming");
    assert_eq!((change.kind, change.machines.len()), (Kind::ScheduledChange, 2));
    for (service, category, status) in [
        ("RDS", "scheduledChange", "upcoming"),
        ("EC2", "accountNotification", "open"),
        ("EC2", "issue", "open"),
        ("EC2", "scheduledChange", "closed"),
    ] {
        assert_eq!(of(service, category, status).kind, Kind::NoOp, "{service} {category} {status}");
    }
}

#[test]
fn what_concerns_nobody_is_no_mistake() {
    for text in [
        event("aws.s3", "Object Created", &json!({"bucket": "b"})),
        event("aws.ec2", "EBS Volume Notification", &json!({"event": "createVolume"})),
        // Only EC2 itself interrupts.
        event("shop.orders", SPOT, &json!({"instance-id": ID})),
        json!({"source": "a", "detail-type": "b"}).to_string(),
    ] {
        assert_eq!(parse(&text).map(|m| (m.kind, m.machines)), Ok((Kind::NoOp, vec![])), "{text}");
    }
}

#[test]
fn what_is_no_event_is_refused_with_a_reason() {
    for text in ["", "null", "[]", "{}", "plain words", "{\"source\": 5}", "{\"source\":\"aws.ec2\"", "\u{0}"]
    {
        assert!(matches!(parse(text), Err(Malformed::NotAnEvent(_))), "{text}");
    }
    // Deeper than anybody reads.
    assert!(matches!(parse(&"[".repeat(200_000)), Err(Malformed::NotAnEvent(_))));
    assert_eq!(parse(&" ".repeat(LONGEST + 1)), Err(Malformed::TooLong(LONGEST + 1)));
    for id in ["", "i-", "i-xyz45678", "vol-01234567", "i-0123456", "i-0123456789ABCDEF0", "../../etc/passwd"]
    {
        let nameless = Err(Malformed::Nameless { of: SPOT, what: "instance" });
        assert_eq!(ec2(SPOT, &json!({"instance-id": id})), nameless, "{id}");
    }
    assert!(ec2(SPOT, &json!([ID])).is_err() && ec2(SPOT, &Value::Null).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!(ID)),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let key = prop_oneof![
            ".{0,6}",
            Just("instance-id".to_owned()),
            Just("state".to_owned()),
            Just("service".to_owned()),
            Just("affectedEntities".to_owned()),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,400}") {
        let _ = parse(&text);
    }

    #[test]
    fn whatever_the_detail_only_ids_of_machines_come_out(
        detail in any_json(),
        of_type in prop::sample::select(vec![SPOT, REBALANCE, STATE, RESERVATION, BLOCK, HEALTH]),
        source in prop::sample::select(vec!["aws.ec2", "aws.health", "x"]),
    ) {
        if let Ok(message) = parse(&event(source, of_type, &detail)) {
            prop_assert!(message.machines.iter().all(|id| is_id(id, "i-")));
            prop_assert!(message.kind != Kind::NoOp || message.machines.is_empty());
        }
    }

    #[test]
    fn a_text_that_is_cut_short_is_refused(cut in 0_usize..300) {
        let whole = event("aws.ec2", SPOT, &json!({"instance-id": ID}));
        prop_assert!(parse(&whole[..cut.min(whole.len() - 1)]).is_err());
    }
}
