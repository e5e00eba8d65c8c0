//! The console's own files: one style sheet, one script, one icon, in the binary.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use holdpoint_domain::Digest;

use crate::http::{Problem, echo};

/// A file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// All of them.
const ASSETS: [Asset; 4] = [
    Asset {
        name: "console.css",
        kind: "text/css; charset=utf-8",
        text: concat!(
            include_str!("../../assets/palette.css"),
            include_str!("../../assets/console.css"),
            include_str!("../../assets/picture.css")
        ),
    },
    Asset {
        name: "console.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../../assets/console.js"),
    },
    Asset {
        name: "passkeys.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../../assets/passkeys.js"),
    },
    Asset { name: "mark.svg", kind: "image/svg+xml", text: include_str!("../../assets/mark.svg") },
];

/// `GET /assets/{file}`. Browsers ask each time, and are told in a few bytes that they have it.
pub(super) async fn show(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| {
        let detail = format!("there is no asset {}", echo(&name));
        Problem::new(StatusCode::NOT_FOUND, "no-such-asset", detail, "see the source of the page")
    })?;
    let tag = format!("\"{}\"", Digest::of_bytes(asset.text.as_bytes()).short());
    let kept = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|has| has.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    Ok((kept, [(header::CONTENT_TYPE, asset.kind)], asset.text).into_response())
}
