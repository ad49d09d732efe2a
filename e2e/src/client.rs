//! As much of a client of the API server as the suites need: JSON over HTTPS, one thread a request.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig, parse_pem};

/// Requests that take longer than this mean that something hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client of one API server.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    authorization: String,
}

/// What became of a request that the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The object or `Status`; null where it was no JSON.
    pub body: Value,
}

impl Client {
    /// A client of the server at `base` (`https://127.0.0.1:6443`), whose certificate is signed by one of those in the
    /// file `authorities`.
    ///
    /// # Errors
    /// Where that file cannot be read.
    pub fn new(base: &str, authorities: &Path, token: &str) -> Result<Self> {
        let pem =
            std::fs::read(authorities).with_context(|| format!("cannot read {}", authorities.display()))?;
        let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
            .build()
            .new_agent();
        Ok(Self { agent, base: base.to_owned(), authorization: format!("Bearer {token}") })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Where there is no answer.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", &self.authorization)
            .header("content-type", kind);
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(bytes)?;
        let config = self
            .agent
            .configure_request(request)
            .timeout_global(Some(PATIENCE))
            .allow_non_standard_methods(true);
        let mut response =
            self.agent.run(config.build()).with_context(|| format!("{method} {path} has no answer"))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(u64::MAX).read_to_vec().unwrap_or_default();
        Ok(Answer { status, body: serde_json::from_slice(&text).unwrap_or_default() })
    }

    /// Sends a request that must succeed, and returns the object.
    fn expect(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.send(method, path, kind, body)?;
        if !(200..300).contains(&answer.status) {
            let message = answer.body["message"].as_str().unwrap_or_default();
            bail!("{method} {path}: {} {message}", answer.status);
        }
        Ok(answer.body)
    }

    /// Reads an object or list.
    ///
    /// # Errors
    /// Where that fails.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.expect("GET", path, "application/json", None)
    }

    /// Reads a collection as the table that is shown to people: columns and rows.
    ///
    /// # Errors
    /// Where that fails.
    pub fn table(&self, collection: &str) -> Result<Value> {
        let request = Request::builder()
            .method("GET")
            .uri(format!("{}{collection}", self.base))
            .header("authorization", &self.authorization)
            .header("accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
            .body(())?;
        let mut response = self.agent.run(request).with_context(|| format!("{collection} has no answer"))?;
        if response.status() != 200 {
            bail!("the table of {collection}: {}", response.status());
        }
        Ok(serde_json::from_slice(&response.body_mut().read_to_vec()?)?)
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// Where that fails.
    pub fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        self.expect("POST", collection, "application/json", Some(object))
    }

    /// Changes fields of an object, as JSON merge patches do: null takes a field away.
    ///
    /// # Errors
    /// Where that fails.
    pub fn patch(&self, path: &str, fields: &Value) -> Result<Value> {
        self.expect("PATCH", path, "application/merge-patch+json", Some(fields))
    }

    /// Deletes an object, or all of a collection, at once and without grace. What is not there is no error.
    ///
    /// # Errors
    /// Where that fails.
    pub fn delete(&self, path: &str) -> Result<()> {
        let at_once = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
        let answer = self.send("DELETE", path, "application/json", Some(&at_once))?;
        if !(200..300).contains(&answer.status) && answer.status != 404 {
            bail!("DELETE {path}: {} {}", answer.status, answer.body["message"].as_str().unwrap_or_default());
        }
        Ok(())
    }

    /// Watches a collection from now on: calls `each` with (type, object) until it returns false or the server ends it.
    /// `opened` is called once the watch stands.
    ///
    /// # Errors
    /// Where the watch cannot be opened. A server that goes away while it lasts only ends it.
    pub fn watch(
        &self,
        collection: &str,
        opened: impl FnOnce(),
        mut each: impl FnMut(&str, Value) -> bool,
    ) -> Result<()> {
        let list = self.get(&format!("{collection}?limit=1"))?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        let request = Request::builder()
            .method("GET")
            .uri(format!("{}{collection}?watch=true&resourceVersion={version}", self.base))
            .header("authorization", &self.authorization)
            .body(())?;
        let mut response = self.agent.run(request).with_context(|| format!("cannot watch {collection}"))?;
        if response.status() != 200 {
            bail!("cannot watch {collection}: {}", response.status());
        }
        opened();
        let lines = BufReader::new(response.body_mut().with_config().limit(u64::MAX).reader()).lines();
        for line in lines.map_while(Result::ok) {
            let Ok(mut event) = serde_json::from_str::<Value>(&line) else { break };
            let object = event["object"].take();
            if !each(event["type"].as_str().unwrap_or_default(), object) {
                break;
            }
        }
        Ok(())
    }
}
