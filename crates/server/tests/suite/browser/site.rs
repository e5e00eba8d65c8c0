//! A small site on `http://localhost`, served by the test itself.

use axum::{
    Router,
    http::header::{CONTENT_SECURITY_POLICY, SET_COOKIE},
    response::Html,
    routing::get,
};

/// A site that answers until it is dropped.
pub(super) struct Site {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Site {
    pub(super) async fn serve() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let policy = [(CONTENT_SECURITY_POLICY, "default-src 'self'; style-src 'unsafe-inline'")];
        let router = Router::new()
            .route("/", get(Html(PAGE)))
            .route("/cookie", get(([(SET_COOKIE, COOKIE)], Html(PAGE))))
            .route("/inline", get((policy, Html(INLINE))));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, task }
    }

    /// The name matters: only `localhost` is a secure context and a relying party's id.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What `document.cookie` must not show, and another site never gets.
pub(super) const COOKIE: &str = "__Host-session=one; Path=/; Secure; HttpOnly; SameSite=Strict";

const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>
<meta name=viewport content='width=device-width'>
<link rel=icon href='data:,'>
<title>A page</title>
<style>:root{color-scheme:light dark;background:#fff}
@media (prefers-color-scheme:dark){:root{background:#000}}
@media (max-width:500px){#wide{display:none}}</style>
<h1>A page</h1><p id=wide>There is room.</p>
<form><label>Name <input name=name></label><button type=button onclick='said.textContent=this.form.name.value'>Say</button></form>
<p id=said></p></html>";

const INLINE: &str = "<!doctype html><html lang=en><link rel=icon href='data:,'><title>Inline</title>
<p id=said>nothing ran</p><script>said.textContent = 'it ran'</script></html>";
