//! Counts the operator's own calls to the API server, below everything that makes them.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{Layer, Service};

use super::metrics::Metrics;

/// A client of the API server that `config` names, whose calls are counted.
///
/// # Errors
/// When the configuration cannot be used.
pub(super) fn counted(config: Config, metrics: Metrics) -> Result<Client, kube::Error> {
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counted { host, metrics }).build())
}

#[derive(Clone)]
struct Counted {
    host: String,
    metrics: Metrics,
}

#[derive(Clone)]
struct Counting<S> {
    service: S,
    counted: Counted,
}

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, service: S) -> Counting<S> {
        Counting { service, counted: self.clone() }
    }
}

impl<S, B> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (counted, method, began) = (self.counted.clone(), request.method().clone(), Instant::now());
        let answer = self.service.call(request);
        let count = move |answer: Result<S::Response, S::Error>| {
            let code = answer.as_ref().map(|answer| answer.status().as_str().to_owned());
            let code = code.unwrap_or_else(|_| "<error>".to_owned());
            counted.metrics.request(&counted.host, method.as_str(), &code, began.elapsed());
            answer
        };
        answer.map(count).boxed()
    }
}
