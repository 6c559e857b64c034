//! From request to answer. In: the request and the moment. Out: a complete answer with a length, always.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::behaviour::{self, Moment, Route};
use super::database::{Failure, Shop};
use super::settings::Serve;
use crate::{clock, lines};

/// Marks a request as a check; its value does not matter.
pub const CHECK_HEADER: HeaderName = HeaderName::from_static("x-check");
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-version");

/// The running application: its settings and the few facts that its answers depend on.
pub struct App {
    settings: Serve,
    shop: Option<Arc<Shop>>,
    started: Instant,
    first_ordinary_request: OnceLock<Instant>,
    draining: AtomicBool,
    place: u8,
}

impl App {
    /// Starts counting time.
    pub fn new(settings: Serve, shop: Option<Arc<Shop>>) -> Self {
        // What is no pod is alone.
        let place = if settings.pod.is_empty() { 0 } else { place() };
        Self {
            settings,
            shop,
            started: clock::now(),
            first_ordinary_request: OnceLock::new(),
            draining: AtomicBool::new(false),
            place,
        }
    }

    /// From now on unready, and every answer asks the client to close its connection.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if behaviour::is_ordinary(path, request.headers().contains_key(CHECK_HEADER)) {
            self.first_ordinary_request.get_or_init(|| {
                lines::err("demo-app: first ordinary request");
                clock::now()
            });
        }
        let route = behaviour::route(&self.settings, path, request.uri().query());
        clock::sleep(self.length(route)).await;
        let asked = match (&self.shop, route) {
            (Some(shop), Route::Root) => Some(shop.newest().await),
            (Some(shop), Route::Order) => Some(shop.order().await),
            _ => None,
        };
        // After the wait: an answer that is ready only now must already ask to close when draining began meanwhile.
        let moment = self.moment();
        let (status, body) = asked.map_or_else(|| self.plain(route, &moment), |order| self.page(order));
        self.complete(status, &body, &moment)
    }

    fn length(&self, route: Route) -> Duration {
        match route {
            Route::Root => Duration::from_millis(self.settings.slow_ms),
            Route::Slow(length) => length,
            Route::Order | Route::Ready | Route::Healthz | Route::Smoke | Route::Failing | Route::Unknown => {
                Duration::ZERO
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            up: clock::since(self.started),
            serving: self.first_ordinary_request.get().map(|first| clock::since(*first)),
            draining: self.draining.load(Ordering::Acquire),
            database: self.shop.as_ref().and_then(|shop| shop.why_unready()),
            unready_file_exists: self.settings.unready_file.as_ref().is_some_and(|file| file.exists()),
            place: self.place,
        }
    }

    /// An answer that needs no database.
    fn plain(&self, route: Route, moment: &Moment) -> (StatusCode, Value) {
        match route {
            Route::Root | Route::Slow(_) => (StatusCode::OK, self.identity()),
            Route::Ready => match behaviour::why_unready(&self.settings, moment) {
                None => (StatusCode::OK, json!({"ready": true})),
                Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, json!({"ready": false, "reason": reason})),
            },
            Route::Healthz => (StatusCode::OK, json!({"healthy": true})),
            Route::Smoke if behaviour::smoke_fails(&self.settings, moment) => {
                (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "FAIL_SMOKE_WHEN_SERVING has passed"}))
            }
            Route::Smoke => (StatusCode::OK, json!({"smoke": "passed"})),
            Route::Failing => (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "FAIL_PATH names this path"})),
            Route::Order | Route::Unknown => (StatusCode::NOT_FOUND, json!({"error": "no such path"})),
        }
    }

    /// An answer with what the database said.
    fn page(&self, order: Result<Value, Failure>) -> (StatusCode, Value) {
        match order {
            Ok(order) => {
                (StatusCode::OK, json!({"version": self.settings.version, "pod": self.settings.pod, "order": order}))
            }
            Err(Failure::Schema(error)) => (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": error})),
            Err(Failure::Unavailable(error)) => (StatusCode::SERVICE_UNAVAILABLE, json!({"error": error})),
        }
    }

    fn complete(&self, status: StatusCode, body: &Value, moment: &Moment) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(version) = HeaderValue::from_str(&self.settings.version) {
            headers.insert(VERSION_HEADER, version);
        }
        if moment.draining {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn identity(&self) -> Value {
        json!({"version": self.settings.version, "pod": self.settings.pod})
    }
}

/// Returns the last number of the pod's own address. Nothing is sent: a socket that is bound to a route knows it.
fn place() -> u8 {
    let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    match own.map(|own| own.ip()) {
        Ok(IpAddr::V4(own)) => own.octets()[3],
        _ => 0,
    }
}
