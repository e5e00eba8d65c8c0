//! Paths and queries: one spelling each, and a problem instead of plain text when they do not parse.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use holdpoint_domain::{Id, id::Kind};
use serde::de::DeserializeOwned;

use super::problem::{Problem, echo};

/// The one identifier in the path. What is not an identifier is refused before anything is looked up.
pub(crate) struct PathId<K>(pub(crate) Id<K>);

/// The rest of a path, or a number in it.
pub(crate) struct PathText(pub(crate) String);

/// The query: no unknown name, none twice.
pub(crate) struct Ask<T>(pub(crate) T);

impl<K: Kind, S: Send + Sync> FromRequestParts<S> for PathId<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let PathText(text) = PathText::from_request_parts(parts, state).await?;
        let id = Id::parse(&text)
            .map_err(|err| Problem::malformed("bad-id", err.to_string(), "list the plans to find its id"))?;
        Ok(Self(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(err) => {
                let detail = format!("the path does not parse: {}", echo(&err.body_text()));
                Err(Problem::malformed("bad-path", detail, "see the documentation of the API"))
            }
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(err) => {
                let detail = format!("the query is not what is expected here: {}", echo(&err.body_text()));
                Err(Problem::malformed("bad-query", detail, "see the documentation of the API"))
            }
        }
    }
}
