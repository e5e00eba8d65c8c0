//! Bodies: read within limits, parsed strictly. Only after the caller is known (T30), never larger than needed, and never
//! waited for for long.

use std::{cell::Cell, fmt, mem, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::{FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use futures_util::StreamExt as _;
use holdpoint_domain::Digest;
use serde::{
    Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, Error as _},
};
use serde_json::{Map, Value};

use super::problem::{Problem, echo};

/// Largest body: a prompt, a transcript and a reason of 32 KiB each, escaped, with room to spare.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;
/// Largest body of a few names.
pub(super) const MAX_FLAT_BYTES: usize = 4 * 1024;
/// Largest body of a change: the largest document of a control input, escaped.
pub(super) const MAX_CHANGE_BYTES: usize = 3 * 1024 * 1024;
/// Most values (members, elements, and what is in them) in a body. The largest one that anybody needs, a signed
/// statement, has fewer than 40.
pub(super) const MAX_VALUES: usize = 512;

/// A body that has come as a whole. Only [`receive`] puts one into a request.
#[derive(Clone)]
struct Received(Vec<u8>);

/// The digest of a body that has come; none where none was received.
pub(super) fn digest(request: &Request) -> Option<Digest> {
    request.extensions().get::<Received>().map(|received| Digest::of_bytes(&received.0))
}

/// A JSON body of one type: right content type, within the limits, no name twice, no unknown name.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned + Serialize, S: Sync> FromRequestParts<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let received = parts.extensions.remove::<Received>();
        let missing = || Problem::internal(&"a handler wants a body that was not received");
        parse(&received.ok_or_else(missing)?.0).map(Self)
    }
}

/// As [`Json`], for types of a few plain fields: they are read straight from the bytes. Derived readers refuse a name that comes
/// twice and an unknown one, and there are no maps in which one could hide.
pub(super) struct Flat<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Flat<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let received = parts.extensions.remove::<Received>();
        let missing = || Problem::internal(&"a handler wants a body that was not received");
        parse_flat(&received.ok_or_else(missing)?.0).map(Self)
    }
}

/// The type of bodies of JSON.
pub(crate) const JSON: &str = "application/json";
/// The type of bodies of forms without files.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The bytes of a body that has come, once.
pub(crate) fn received(parts: &mut Parts) -> Option<Vec<u8>> {
    parts.extensions.remove::<Received>().map(|received| received.0)
}

/// Waits until all of a request's body has come, if it is JSON and at most `most` bytes, but no longer than `limit`.
pub(super) async fn receive(request: Request, limit: Duration, most: usize) -> Result<Request, Problem> {
    receive_as(request, limit, most, &[JSON]).await
}

/// As [`receive`], for bodies of one of these types.
pub(crate) async fn receive_as(
    request: Request,
    limit: Duration,
    most: usize,
    kinds: &[&str],
) -> Result<Request, Problem> {
    check_type(request.headers(), kinds)?;
    check_announced(request.headers(), most)?;
    let (parts, body) = request.into_parts();
    let received = tokio::time::timeout(limit, collect(body.into_data_stream(), most)).await;
    let bytes = received.map_err(|_| too_slow(limit))??;
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(Received(bytes));
    Ok(request)
}

fn too_slow(limit: Duration) -> Problem {
    let detail = format!("expected the whole body within {} ms", limit.as_millis());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", detail, "send the body with its header")
}

/// One of these types, with no parameter but `charset=utf-8`, once, and not compressed.
fn check_type(headers: &HeaderMap, kinds: &[&str]) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return Err(unsupported("expected one `Content-Type` header"));
    };
    let text = value.to_str().unwrap_or_default();
    let (kind, parameter) = text.split_once(';').unwrap_or((text, "charset=utf-8"));
    if !kinds.iter().any(|wanted| kind.trim().eq_ignore_ascii_case(wanted))
        || !parameter.trim().eq_ignore_ascii_case("charset=utf-8")
    {
        let wanted = kinds.join("` or `");
        return Err(unsupported(format!("expected content type `{wanted}`, got {}", echo(text))));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(unsupported("expected a body without `Content-Encoding`"));
    }
    Ok(())
}

fn unsupported(detail: impl Into<String>) -> Problem {
    let next = "send plain JSON as `application/json`";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail, next)
}

fn check_announced(headers: &HeaderMap, most: usize) -> Result<(), Problem> {
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > most)) {
        return Err(too_large(most));
    }
    Ok(())
}

async fn collect(mut stream: BodyDataStream, most: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk
            .map_err(|_| Problem::malformed("body-broken", "the body broke off", "send the request again"))?;
        if bytes.len().saturating_add(chunk.len()) > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(most: usize) -> Problem {
    let detail = format!("expected a body of at most {most} bytes, got more");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail, "send less")
}

/// Parses strictly: see [`Json`].
pub(super) fn parse<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, Problem> {
    let left = Cell::new(MAX_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { left: &left }.deserialize(&mut deserializer).map_err(|err| refuse(&err))?;
    deserializer.end().map_err(|err| refuse(&err))?;
    let body = T::deserialize(&value).map_err(|err| refuse(&err))?;
    let read = serde_json::to_value(&body).map_err(|err| Problem::internal(&err))?;
    if same_kinds(&value, &read) { Ok(body) } else { Err(refuse(&wrong_kind())) }
}

/// Whether what was given looks like what was read. A derived reader also takes the list of its values for an object, and
/// `{"hard": null}` for `"hard"`: spellings that no schema has, and that others would read as something else.
fn same_kinds(given: &Value, read: &Value) -> bool {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => {
            given.iter().all(|(name, value)| read.get(name).is_none_or(|read| same_kinds(value, read)))
        }
        (Value::Array(given), Value::Array(read)) => {
            given.len() == read.len() && given.iter().zip(read).all(|(given, read)| same_kinds(given, read))
        }
        _ => mem::discriminant(given) == mem::discriminant(read),
    }
}

fn wrong_kind() -> serde_json::Error {
    serde_json::Error::custom("expected an object where the schema has one, and a word where it has a word")
}

/// Parses straight from the bytes: see [`Flat`].
pub(super) fn parse_flat<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let body = serde_json::from_slice(bytes).map_err(|err| refuse(&err))?;
    if bytes.trim_ascii_start().starts_with(b"{") { Ok(body) } else { Err(refuse(&wrong_kind())) }
}

fn refuse(err: &serde_json::Error) -> Problem {
    let detail = format!("the body is not what is expected here: {}", echo(&err.to_string()));
    Problem::malformed("bad-body", detail, "see the documentation of the API")
}

/// Reads a JSON value, refusing a name that comes twice in one object (parsers differ on which one counts) and more values
/// than [`MAX_VALUES`]. The parser itself refuses more than 128 levels.
#[derive(Clone, Copy)]
struct Strict<'a> {
    left: &'a Cell<usize>,
}

impl Strict<'_> {
    fn count<E: de::Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format_args!("expected at most {MAX_VALUES} values")))?;
        self.left.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(int.into())
    }

    fn visit_u64<E>(self, int: u64) -> Result<Value, E> {
        Ok(int.into())
    }

    fn visit_f64<E>(self, float: f64) -> Result<Value, E> {
        Ok(float.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            if object.contains_key(&name) {
                return Err(de::Error::custom(format_args!("the name {} comes twice", echo(&name))));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
