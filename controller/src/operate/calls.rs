//! Calls of the API server and of AWS, counted by what they ask for.

use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use stowage_aws::Observer;
use tower::util::MapRequestLayer;

use super::metrics::Metrics;

impl Observer for Metrics {
    fn called(&self, service: &str, call: &str, took: Duration, code: Option<&str>) {
        self.called_aws(service, call, took, code);
    }
}

/// How long the API server may take to begin an answer. It gives up after a minute itself.
const LIMIT: Duration = Duration::from_secs(70);

/// How long nothing may come of an answer that has begun.
const SILENCE: Duration = Duration::from_secs(150);

/// Calls that end: with an answer, or because none has come in time.
#[derive(Clone, Debug)]
struct Timed<S> {
    inner: S,
}

impl<S, B> tower::Service<http::Request<B>> for Timed<S>
where
    S: tower::Service<http::Request<B>>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: Into<tower::BoxError> + 'static,
{
    type Response = S::Response;
    type Error = tower::BoxError;
    type Future = futures::future::BoxFuture<'static, Result<S::Response, tower::BoxError>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout(LIMIT, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs()).into()),
            }
        })
    }
}

/// Whether a call that failed is made again by the client itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// A few times, where the API server is busy or does not answer.
    Yes,
    /// Never: for what must not be done twice, or is tried again at a pace of its own.
    No,
}

/// A client that counts its calls.
///
/// # Errors
/// Where the API server cannot be found.
pub async fn counting(metrics: &Arc<Metrics>, again: Again) -> anyhow::Result<Client> {
    let mut config = Config::infer().await?;
    config.default_retry = again == Again::Yes;
    // A connection on which nothing comes any more. Watches are told something every minute.
    config.read_timeout = Some(SILENCE);
    let metrics = Arc::clone(metrics);
    let count = MapRequestLayer::new(move |request: http::Request<kube::client::Body>| {
        let of = resource(request.uri().path());
        metrics.called(verb(request.method().as_str(), request.uri().query()), &of);
        request
    });
    let timed = tower::layer::layer_fn(|inner| Timed { inner });
    Ok(ClientBuilder::try_from(config)?.with_layer(&timed).with_layer(&count).build())
}

/// The collection that a path is about, and its subresource: `nodeclaims/status` of
/// `/apis/karpenter.sh/v1/nodeclaims/a/status`; what is about none is `discovery`.
fn resource(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let after = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    // A namespace may be where the object is, or the object.
    let of = match after {
        ["namespaces", _, rest @ ..] if !rest.is_empty() && *rest != ["status"] => rest,
        other => other,
    };
    match of {
        [] => "discovery".to_owned(),
        [of, _, sub, ..] => format!("{of}/{sub}"),
        [of, ..] => (*of).to_owned(),
    }
}

/// What is done: a method, but that a watch is one.
fn verb(method: &str, query: Option<&str>) -> &'static str {
    match method {
        "GET" if query.is_some_and(|query| query.split('&').any(|part| part == "watch=true")) => "watch",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_after_what_they_are_about() {
        for (path, of) in [
            ("/apis/karpenter.sh/v1/nodeclaims", "nodeclaims"),
            ("/apis/karpenter.sh/v1/nodeclaims/a/status", "nodeclaims/status"),
            ("/api/v1/namespaces/web/pods/a/eviction", "pods/eviction"),
            ("/api/v1/namespaces/web/pods", "pods"),
            ("/api/v1/namespaces/web", "namespaces"),
            ("/api/v1/pods", "pods"),
            ("/apis/karpenter.sh", "discovery"),
            ("/apis", "discovery"),
            ("/version", "discovery"),
        ] {
            assert_eq!(resource(path), of, "{path}");
        }
        assert_eq!(verb("GET", Some("limit=1&watch=true")), "watch");
        assert_eq!((verb("GET", None), verb("PATCH", None)), ("get", "patch"));
    }
}
