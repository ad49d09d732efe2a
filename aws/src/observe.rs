//! What calls of AWS are told to, one by one: for metrics.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

/// Hears of every call when it has ended; each try of one is a call.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A call of a service (`EC2`) has ended (`CreateFleet`), after so long, well or with AWS's code for what was wrong;
    /// `NoAnswer` where none came.
    fn called(&self, service: &str, call: &str, took: Duration, code: Option<&str>);
}

/// Tells an observer.
#[derive(Clone, Debug)]
pub(crate) struct Watch(pub(crate) Arc<dyn Observer>);

/// When a try began.
#[derive(Clone, Copy, Debug)]
struct Began(Instant);

impl Storable for Began {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(Began(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let took = bag.load::<Began>().map_or(Duration::ZERO, |began| began.0.elapsed());
        let (service, call) = bag.load::<Metadata>().map_or(("", ""), |of| (of.service(), of.name()));
        let failed = !matches!(context.output_or_error(), Some(Ok(_)));
        let code = failed.then(|| {
            let answer = context.response();
            let said = answer.and_then(|answer| {
                code(answer.headers().get("x-amzn-errortype"), answer.body().bytes().unwrap_or_default())
            });
            said.unwrap_or_else(|| if answer.is_some() { "Unreadable" } else { "NoAnswer" }.to_owned())
        });
        self.0.called(service, call, took, code.as_deref());
        Ok(())
    }
}

/// The code of an answer that says what was wrong: in a header, in XML, or in JSON.
fn code(header: Option<&str>, body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let in_xml = || Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned());
    let in_json = || {
        let said: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(said["__type"].as_str().or_else(|| said["code"].as_str())?.to_owned())
    };
    let found = header.map(str::to_owned).or_else(in_xml).or_else(in_json)?;
    // As JSON has it: namespace#Code:where it is documented.
    let found = found.split(':').next()?.rsplit('#').next()?.trim().to_owned();
    // A label of a metric: what is no code is not to become one.
    let is_code = !found.is_empty()
        && found.len() < 100
        && found.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    is_code.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_wherever_a_service_puts_them() {
        let xml = b"<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>";
        let json = br#"{"__type":"com.amazon.coral.service#ParameterNotFound","message":"none"}"#;
        assert_eq!(code(None, xml).as_deref(), Some("RequestLimitExceeded"));
        assert_eq!(code(None, json).as_deref(), Some("ParameterNotFound"));
        assert_eq!(
            code(Some("ResourceNotFoundException:of EKS"), b"").as_deref(),
            Some("ResourceNotFoundException")
        );
        assert_eq!(code(None, b"<Code>not a code at all</Code>"), None);
        assert_eq!(code(None, b"\xff\xfe"), None);
    }
}
