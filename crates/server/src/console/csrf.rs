//! Requests that change something must come from a page of ours: browsers say where a request comes from, and no page of somebody
//! else can make them say otherwise (T16).

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, StatusCode, header},
};

use crate::{
    config::Origin,
    http::{Problem, echo},
};

/// What browsers say about where a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that changes something unless its `Origin` is exactly the console's, and unless `Sec-Fetch-Site`, where
/// there is one, says the same. `Referer` is no proof of anything and is not looked at. A GET changes nothing and passes.
pub(super) fn check(origin: &Origin, request: &Request) -> Result<(), Problem> {
    if request.method().is_safe() {
        return Ok(());
    }
    let headers = request.headers();
    let refused = |detail: String| {
        let next = "open the console itself, and do it there";
        Err(Problem::new(StatusCode::FORBIDDEN, "other-origin", detail, next))
    };
    match single(headers, &header::ORIGIN) {
        Some(sent) if sent == origin.as_str() => {}
        Some(sent) => {
            let detail = format!("the request comes from {}, not from the console", echo(sent));
            return refused(detail);
        }
        None => {
            return refused(
                "the request does not say, in one `Origin` header, where it comes from".to_owned(),
            );
        }
    }
    if !headers.contains_key(SEC_FETCH_SITE) || single(headers, &SEC_FETCH_SITE) == Some("same-origin") {
        return Ok(());
    }
    refused("the browser says that the request comes from another site".to_owned())
}

/// The value of a header that comes exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Method};

    use super::*;

    fn passes(method: Method, headers: &[(&str, &str)]) -> bool {
        let origin = Origin::parse("https://gate.example.org:8443").unwrap();
        let request = headers
            .iter()
            .fold(Request::builder().method(method), |request, (name, value)| request.header(*name, *value));
        check(&origin, &request.body(Body::empty()).unwrap()).is_ok()
    }

    #[test]
    fn t16_only_a_page_of_ours_changes_anything() {
        let ours = ("origin", "https://gate.example.org:8443");
        assert!(passes(Method::POST, &[ours]));
        assert!(passes(Method::POST, &[ours, ("sec-fetch-site", "same-origin")]));
        for origin in [
            "null",
            "",
            "http://gate.example.org:8443",
            "https://gate.example.org",
            "https://gate.example.org:443",
            "https://gate.example.org:8444",
            "https://evil.gate.example.org:8443",
            "https://gate.example.org.evil.example:8443",
            "https://example.org:8443",
            "https://gate.example.org:8443/",
            "https://GATE.example.org:8443",
            " https://gate.example.org:8443",
            "https://gate.example.org:8443, https://evil.example",
        ] {
            assert!(!passes(Method::POST, &[("origin", origin)]), "{origin}");
        }
        assert!(!passes(Method::POST, &[]), "no origin at all");
        assert!(!passes(Method::POST, &[ours, ours]), "two origins");
        assert!(
            !passes(Method::POST, &[("referer", "https://gate.example.org:8443/")]),
            "a referer proves nothing"
        );
        for site in ["cross-site", "same-site", "none", "", "same-origin, cross-site"] {
            assert!(!passes(Method::POST, &[ours, ("sec-fetch-site", site)]), "{site}");
        }
        for method in [Method::PUT, Method::DELETE, Method::PATCH] {
            assert!(!passes(method, &[]));
        }
        assert!(passes(Method::GET, &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]));
    }
}
