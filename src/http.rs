//! The operator's own pages: `/livez`, `/readyz`, `/metrics`. Nothing else is served.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use crate::{databases::Shared, error::Error, metrics::standing::standing, release::Context};

/// What the pages tell of.
type Both = (Arc<Context>, Arc<Shared>);

/// Serves until the future is dropped.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, context: Arc<Context>, databases: Arc<Shared>) -> Result<(), Error> {
    let listen = |source| Error::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state((context, databases));
    axum::serve(listener, router).await.map_err(listen)
}

/// Ready once every watch has listed: a missing right or CRD would otherwise look like an idle cluster.
async fn ready(State((context, databases)): State<Both>) -> impl IntoResponse {
    if context.filled.is_whole() && databases.filled.is_whole() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not every watch has listed yet")
    }
}

async fn metrics(State((context, databases)): State<Both>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.encode(&standing(&context, &databases)))
}
