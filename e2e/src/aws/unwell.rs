//! What moto has not: machines that something is wrong with, and zones that a cluster is shifted away from.

use serde_json::{Value, json};

use super::front::form;
use super::http::{Request, Response};

/// What EC2 finds wrong with a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwell {
    /// The check of this name fails (`instance` or `system`), since this moment.
    Check(&'static str, String),
    /// Something of this code is scheduled; what EC2 says of it.
    Event(&'static str, String),
}

/// What EC2 says of machines that something is wrong with: those that one filter lets through.
pub(super) fn statuses(request: &Request, all: &[(String, Unwell)]) -> Response {
    let filter = form(&request.body, "Filter.1.Name").unwrap_or_default();
    let passes = |of: &Unwell| match of {
        Unwell::Check(check, _) => filter == format!("{check}-status.status"),
        Unwell::Event(code, _) => filter == "event.code" && request.body.contains(code),
    };
    let item = |(id, of): &(String, Unwell)| {
        let details = |name: &str| {
            match of {
            Unwell::Check(check, since) if *check == name => format!(
                "<status>impaired</status><details><item><name>reachability</name><status>failed</status>\
                 <impairedSince>{since}</impairedSince></item></details>"
            ),
            _ => "<status>ok</status><details><item><name>reachability</name><status>passed</status></item></details>"
                .to_owned(),
        }
        };
        let events = match of {
            Unwell::Event(code, words) => format!(
                "<item><instanceEventId>instance-event-0</instanceEventId><code>{code}</code>\
                 <description>{words}</description><notBefore>2099-01-01T00:00:00.000Z</notBefore></item>"
            ),
            Unwell::Check(..) => String::new(),
        };
        format!(
            "<item><instanceId>{id}</instanceId><instanceState><code>16</code><name>running</name></instanceState>\
             <systemStatus>{}</systemStatus><instanceStatus>{}</instanceStatus><eventsSet>{events}</eventsSet></item>",
            details("system"),
            details("instance")
        )
    };
    let items: String = all.iter().filter(|(_, of)| passes(of)).map(item).collect();
    let body = format!(
        "<DescribeInstanceStatusResponse><instanceStatusSet>{items}</instanceStatusSet></DescribeInstanceStatusResponse>"
    );
    Response::Whole(200, "text/xml", body)
}

/// A resource that may be shifted away from zones, and is from these: their ids.
pub(super) fn managed(away_from: Option<&[String]>) -> Response {
    let arn = "arn:aws:eks:us-east-1:123456789012:cluster/made-up";
    let Some(zones) = away_from else {
        let error = json!({"__type": "ResourceNotFoundException", "message": "not managed"});
        return Response::Whole(404, "application/json", error.to_string());
    };
    let shift = |zone: &String| {
        json!({
            "appliedStatus": "APPLIED", "awayFrom": zone, "comment": "made up", "expiryTime": 4_070_908_800_i64,
            "resourceIdentifier": arn, "startTime": 1_767_225_600, "zonalShiftId": "0a1b2c3d",
        })
    };
    // One that was started later and is not in effect.
    let mut shifts: Vec<Value> = zones.iter().map(shift).collect();
    let mut idle = shift(&"use1-az3".to_owned());
    idle["appliedStatus"] = json!("NOT_APPLIED");
    shifts.push(idle);
    let answer = json!({
        "arn": arn, "name": "made-up", "appliedWeights": {}, "zonalShifts": shifts, "autoshifts": [],
        "zonalAutoshiftStatus": "DISABLED",
    });
    Response::Whole(200, "application/json", answer.to_string())
}
