//! What every request to the API server passes: a write leaves only while this process leads.
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

/// The group of leases: who leads is written before anybody leads.
const LEASES: &str = "/apis/coordination.k8s.io/";

/// Puts the question before a client's connection.
#[derive(Clone)]
pub struct Wire(pub Arc<Leadership>);

impl<S> Layer<S> for Wire {
    type Service = Asked<S>;

    fn layer(&self, inner: S) -> Asked<S> {
        Asked { inner, leadership: Arc::clone(&self.0) }
    }
}

/// A connection that is asked before each write.
pub struct Asked<S> {
    inner: S,
    leadership: Arc<Leadership>,
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
        if is_write(request.method(), request.uri().path()) && !self.leadership.may_write() {
            return futures::future::err(NotLeading.into()).boxed();
        }
        self.inner.call(request).boxed()
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
        let mut wire = Wire(Arc::clone(leadership)).layer(inner);
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
