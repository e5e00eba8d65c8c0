//! Servers that do nothing: what HTTP itself costs.

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    action: String,
    target: String,
}

/// Says hello, and answers JSON with what it read, until it is killed.
pub(crate) fn serve(port: u16) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let router = Router::new()
            .route("/hello", get(|| async { "hello" }))
            .route("/echo", post(|Json(question): Json<Question>| async { Json(question) }));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        axum::serve(listener, router).await.unwrap();
    });
}
