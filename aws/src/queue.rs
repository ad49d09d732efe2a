//! Queues of SQS, for whoever waits for messages: long polls, and what was dealt with deleted many at once.

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};

use crate::ec2::Refused;

/// Messages that one call brings or deletes; SQS takes no more.
pub const AT_ONCE: usize = 10;

/// How long a call waits for a message, seconds; SQS takes no more.
const WAIT: i32 = 20;

/// For so long nobody else is given a message that was received, seconds: what was not deleted by then comes again.
///
/// compat: karpenter-provider-aws v1.14, `pkg/providers/sqs`: 20.
const HIDDEN: i32 = 20;

/// A client of queues.
#[derive(Clone, Debug)]
pub struct Queues {
    pub(crate) client: aws_sdk_sqs::Client,
}

/// A queue that was found.
#[derive(Clone, Debug)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

/// A message as it was received. What it says was written by anybody who may send to the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// SQS's name of it.
    pub id: String,
    /// By which this receipt of it is deleted.
    pub receipt: String,
    /// What it says.
    pub body: String,
    /// When it was sent, milliseconds since 1970.
    pub sent: Option<i64>,
}

impl Queues {
    /// The queue of this name; `None` where there is none.
    ///
    /// # Errors
    /// What SQS says.
    pub async fn find(&self, name: &str) -> Result<Option<Queue>, Refused> {
        let answer = self.client.get_queue_url().queue_name(name).send().await;
        match answer.map_err(|error| Refused::of("GetQueueUrl", &error)) {
            Ok(answer) => {
                let url = answer.queue_url().map(str::to_owned);
                Ok(url.map(|url| Queue { client: self.client.clone(), url }))
            }
            Err(refused) if refused.is_gone() => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

impl Queue {
    /// Up to [`AT_ONCE`] messages, waited for up to twenty seconds.
    ///
    /// # Errors
    /// What SQS says.
    pub async fn receive(&self) -> Result<Vec<Letter>, Refused> {
        self.receive_within(WAIT).await
    }

    /// Up to [`AT_ONCE`] messages, of those that are there now.
    ///
    /// # Errors
    /// What SQS says.
    pub async fn receive_now(&self) -> Result<Vec<Letter>, Refused> {
        self.receive_within(0).await
    }

    async fn receive_within(&self, seconds: i32) -> Result<Vec<Letter>, Refused> {
        let call = self.client.receive_message().queue_url(&self.url);
        let call = call.max_number_of_messages(AT_ONCE as i32).wait_time_seconds(seconds);
        let call = call.visibility_timeout(HIDDEN);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let answer = call.send().await.map_err(|error| Refused::of("ReceiveMessage", &error))?;
        Ok(answer.messages().iter().map(letter).collect())
    }

    /// Deletes messages, at most [`AT_ONCE`], by their receipts; says how many are deleted. Those that are not come again.
    ///
    /// # Errors
    /// What SQS says, of all of them.
    pub async fn delete(&self, receipts: &[&str]) -> Result<usize, Refused> {
        if receipts.is_empty() {
            return Ok(0);
        }
        let entries = receipts.iter().enumerate().map(|(at, receipt)| {
            DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(*receipt).build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|error| Refused::unasked("DeleteMessageBatch", &error))?;
        let call = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = call.send().await.map_err(|error| Refused::of("DeleteMessageBatch", &error))?;
        Ok(answer.successful().len())
    }
}

fn letter(of: &Message) -> Letter {
    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
    let sent = of.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
    Letter {
        id: text(of.message_id()),
        receipt: text(of.receipt_handle()),
        body: text(of.body()),
        sent: sent.and_then(|at| at.parse().ok()),
    }
}
