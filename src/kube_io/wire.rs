//! What every request to the API server passes: a write leaves only while this process leads, and each is counted.
//!
//! It stands right before the connection, so that nobody who writes can forget to ask, and as little as possible comes
//! between the question and the write. What comes between all the same is fenced by the objects' versions.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Method, Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::leadership::Leadership;
use crate::metrics::Metrics;

/// The group of leases: who leads is written before anybody leads.
const LEASES: &str = "/apis/coordination.k8s.io/";

/// Puts the question before a client's connection.
#[derive(Clone)]
pub struct Wire {
    /// Whether this process leads.
    pub leadership: Arc<Leadership>,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Wire {
    type Service = Asked<S>;

    fn layer(&self, inner: S) -> Asked<S> {
        Asked { inner, wire: self.clone() }
    }
}

/// A connection that is asked before each write.
pub struct Asked<S> {
    inner: S,
    wire: Wire,
}

/// Why a write did not leave.
#[derive(Debug, thiserror::Error)]
#[error("this process does not lead any more, so it writes nothing")]
pub struct NotLeading;

impl<S, B> Service<Request<Body>> for Asked<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_write(request.method(), request.uri().path()) && !self.wire.leadership.may_write() {
            return futures::future::err(NotLeading.into()).boxed();
        }
        let (verb, metrics) = (verb(&request), Arc::clone(&self.wire.metrics));
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            metrics.requested(verb, answer.as_ref().ok().map(|answer| answer.status().as_u16()));
            answer
        }
        .boxed()
    }
}

/// Returns what is asked, in the API server's words as far as the request tells them.
fn verb(request: &Request<Body>) -> &'static str {
    let watches = || request.uri().query().is_some_and(|query| query.contains("watch=true"));
    match *request.method() {
        Method::GET if watches() => "watch",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

fn is_write(method: &Method, path: &str) -> bool {
    *method != Method::GET && !path.contains(LEASES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn answer(leadership: &Arc<Leadership>, method: Method, path: &str) -> Result<u16, String> {
        let inner = tower::service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::empty())));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let wire = Wire { leadership: Arc::clone(leadership), metrics: Arc::default() };
        let mut wire = wire.layer(inner);
        wire.call(request).await.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn only_a_leader_writes_and_everybody_reads() {
        let leadership = Arc::new(Leadership::to_be_elected());
        let service = "/api/v1/namespaces/shop/services/shop";
        let lease = "/apis/coordination.k8s.io/v1/namespaces/switchback-system/leases/switchback";
        assert_eq!(answer(&leadership, Method::GET, service).await, Ok(200));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(answer(&leadership, method, service).await, Err(NotLeading.to_string()));
        }
        assert_eq!(answer(&leadership, Method::PUT, lease).await, Ok(200), "or nobody would ever lead");
        leadership.leads(1, leadership.now() + Duration::from_secs(60));
        assert_eq!(answer(&leadership, Method::PATCH, service).await, Ok(200));
        // As in a process that was stopped: nobody has told it yet.
        leadership.leads(1, Duration::ZERO);
        assert_eq!(answer(&leadership, Method::PATCH, service).await, Err(NotLeading.to_string()));
    }
}
