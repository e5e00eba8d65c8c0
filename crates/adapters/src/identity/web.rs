//! Questions over HTTP, each bounded in time and bytes, without redirections, proxies or a second try.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, redirect, retry};

/// How long one question may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);

/// What every client here is, before it is told whom to believe.
pub(super) fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .http1_only()
        .referer(false)
        .timeout(LIMIT)
        .user_agent(concat!("holdpoint/", env!("CARGO_PKG_VERSION")))
}

/// The text of an answer; none when it is longer than that, or no UTF-8.
pub(super) async fn text(mut response: Response, max_len: usize) -> Result<Option<String>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > max_len.saturating_sub(body.len()) {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(body).ok())
}
