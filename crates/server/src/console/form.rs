//! Forms of the console's own pages: a few fields, each known, none twice.

use axum::{
    extract::{FromRequestParts, Query},
    http::{Uri, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::http::{Problem, echo, received};

/// Largest form: the reason of an emergency, of which each character may be written as twelve (`%F0%9F%94%A5`).
const MAX_FORM_BYTES: usize = 16 * 1024;

/// The fields of a form.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal(&"a page wants a form that was not received");
        parse(&received(parts).ok_or_else(missing)?).map(Self)
    }
}

/// A body of a script of ours.
pub(super) struct ReceivedJson<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for ReceivedJson<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal(&"a page wants a body that was not received");
        let bytes = received(parts).ok_or_else(missing)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|err| {
            let detail = format!("the body does not parse: {}", echo(&err.to_string()));
            Problem::malformed("bad-body", detail, "load the page again")
        })
    }
}

/// Reads a form as the query of a page is read: both have the same encoding.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed =
        |detail: String| Problem::malformed("bad-form", detail, "send the form of the page as it is");
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_FORM_BYTES);
    let uri = text.and_then(|text| format!("/?{text}").parse::<Uri>().ok());
    let uri = uri.ok_or_else(|| {
        malformed(format!("expected the fields of a form in at most {MAX_FORM_BYTES} bytes"))
    })?;
    let fields = Query::<T>::try_from_uri(&uri);
    fields
        .map(|Query(fields)| fields)
        .map_err(|err| malformed(format!("the form does not parse: {}", echo(&err.body_text()))))
}

#[cfg(test)]
mod tests {
    use holdpoint_domain::halt::Reach;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        reach: Reach,
        back: Option<String>,
    }

    #[test]
    fn a_form_has_its_fields_and_no_other() {
        let read = |text: &str| parse::<Fields>(text.as_bytes()).map_err(|problem| problem.rule());
        let back = Some("/plans/plan-1".to_owned());
        assert_eq!(read("reach=hard&back=%2Fplans%2Fplan-1"), Ok(Fields { reach: Reach::Hard, back }));
        for bad in
            ["", "reach=", "reach=gentle", "reach=soft&reach=hard", "reach=soft&x=1", "{}", "reach=\u{e4}"]
        {
            assert_eq!(read(bad), Err("bad-form"), "{bad}");
        }
        assert_eq!(read(&format!("reach=soft&back={}", "x".repeat(17_000))), Err("bad-form"));
    }
}
