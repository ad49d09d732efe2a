//! What EventBridge tells of machines, in the shape that AWS documents.

use serde_json::{Value, json};

/// An event of a source.
pub fn event(source: &str, detail_type: &str, detail: &Value) -> String {
    let event = json!({
        "version": "0", "id": "12345678-1234-1234-1234-123456789012", "detail-type": detail_type, "source": source,
        "account": "123456789012", "time": "2026-07-01T10:00:00Z", "region": "us-east-1", "resources": [],
        "detail": detail,
    });
    event.to_string()
}

/// EC2 takes a spot machine back.
pub fn interrupted(machine: &str) -> String {
    let detail = json!({"instance-id": machine, "instance-action": "terminate"});
    event("aws.ec2", "EC2 Spot Instance Interruption Warning", &detail)
}

/// EC2 may take a spot machine back soon.
pub fn rebalance(machine: &str) -> String {
    event("aws.ec2", "EC2 Instance Rebalance Recommendation", &json!({"instance-id": machine}))
}

/// A machine is in another state.
pub fn state(machine: &str, state: &str) -> String {
    let detail = json!({"instance-id": machine, "state": state});
    event("aws.ec2", "EC2 Instance State-change Notification", &detail)
}

/// What machines run on is to be retired.
pub fn scheduled(machines: &[&str]) -> String {
    let entities: Vec<Value> = machines.iter().map(|id| json!({"entityValue": id})).collect();
    let detail = json!({
        "service": "EC2", "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED", "statusCode": "upcoming",
        "eventTypeCategory": "scheduledChange", "affectedEntities": entities,
    });
    event("aws.health", "AWS Health Event", &detail)
}
