//! Queues of SQS: as those see them who send, and as the server in front of moto lets others wait for messages.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::http::{Request, Response, relay};
use super::moto::Moto;

/// Messages of one call; SQS takes no more.
const AT_ONCE: usize = 10;

/// How often moto is asked for messages while somebody waits for some.
const EVERY: Duration = Duration::from_millis(15);

/// A queue of moto, asked past the server that Stowage asks: it is not counted, and does not fail.
#[derive(Clone, Debug)]
pub struct Mailbox {
    port: u16,
    region: String,
    url: String,
}

impl Mailbox {
    /// Makes a queue, or finds the one of this name.
    pub(crate) fn open(port: u16, region: &str, name: &str) -> Result<Self> {
        let mut made = Self { port, region: region.to_owned(), url: String::new() };
        let answer = made.ask("CreateQueue", json!({"QueueName": name}))?;
        answer["QueueUrl"].as_str().context("a queue has an address")?.clone_into(&mut made.url);
        Ok(made)
    }

    /// Sends messages, in this order.
    ///
    /// # Errors
    /// Where moto does not take all of them.
    pub fn send(&self, bodies: &[String]) -> Result<()> {
        for some in bodies.chunks(AT_ONCE) {
            let entry = |(at, body): (usize, &String)| json!({"Id": at.to_string(), "MessageBody": body});
            let entries: Vec<Value> = some.iter().enumerate().map(entry).collect();
            let answer = self.ask("SendMessageBatch", json!({"Entries": entries}))?;
            let sent = answer["Successful"].as_array().map_or(0, Vec::len);
            ensure!(sent == some.len(), "moto has taken {sent} of {}: {answer}", some.len());
        }
        Ok(())
    }

    /// Messages that are in it, those that somebody has received and not deleted included.
    ///
    /// # Errors
    /// Where moto does not answer.
    pub fn size(&self) -> Result<u64> {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let answer = self.ask("GetQueueAttributes", json!({"AttributeNames": names}))?;
        let of = |name: &str| answer["Attributes"][name].as_str().and_then(|count| count.parse::<u64>().ok());
        names.iter().map(|name| of(name).with_context(|| format!("{name}: {answer}"))).sum()
    }

    /// Removes it.
    ///
    /// # Errors
    /// Where moto does not answer.
    pub fn remove(self) -> Result<()> {
        self.ask("DeleteQueue", json!({})).map(drop)
    }

    fn ask(&self, call: &str, mut body: Value) -> Result<Value> {
        if !self.url.is_empty() {
            body["QueueUrl"] = json!(self.url);
        }
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=x/20260101/{}/sqs/aws4_request, SignedHeaders=host, Signature=x",
            self.region
        );
        let _turn = Moto::turn_of_queues();
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let moto = ureq::Agent::new_with_config(config).post(format!("http://127.0.0.1:{}", self.port));
        let asked = moto
            .header("Authorization", signed)
            .header("Content-Type", "application/x-amz-json-1.0")
            .header("X-Amz-Target", format!("AmazonSQS.{call}"))
            .send(body.to_string());
        let mut answer = asked?;
        let text = answer.body_mut().read_to_string().context("no text")?;
        ensure!(answer.status().is_success(), "moto answers {} to {call}: {text}", answer.status());
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }
}

/// Lets somebody wait for messages. moto itself would be held up: nobody else may ask it meanwhile.
pub(super) fn receive(request: &Request, moto: u16) -> Result<Response> {
    let mut body: Value = serde_json::from_str(&request.body)?;
    let patience = Duration::from_secs(body["WaitTimeSeconds"].as_u64().unwrap_or_default());
    body["WaitTimeSeconds"] = json!(0);
    let body = body.to_string();
    let started = Instant::now();
    loop {
        let (status, text) = relay(request, &body, moto)?;
        let found = status != 200 || text.contains("\"ReceiptHandle\"");
        if found || started.elapsed() >= patience {
            return Ok(Response::Whole(status, "application/x-amz-json-1.0", text));
        }
        thread::sleep(EVERY);
    }
}
