//! One value of a JSON document.

use holdpoint_domain::trigger::{HttpJsonCheck, JsonPath, Scalar, Truth, Why};
use reqwest::{Client, header};
use serde_json::Value;

use super::{Finding, fetch, vector::whole};
use crate::identity::json;

/// Largest document.
const MAX_DOCUMENT: usize = 1024 * 1024;

/// Asks for the document. The time limit is the caller's.
pub(super) async fn value(client: &Client, check: &HttpJsonCheck, url: &str) -> Finding {
    measure(client, check, url).await.unwrap_or_else(Finding::unknown)
}

async fn measure(client: &Client, check: &HttpJsonCheck, url: &str) -> Result<Finding, Why> {
    // The catalogue was checked when it was loaded: what does not parse here is our fault.
    let path = JsonPath::parse(&check.path).ok_or(Why::OurFault)?;
    let url = fetch::parse(url).ok_or(Why::OurFault)?;
    let request = client.get(url).header(header::ACCEPT, "application/json");
    let body = match whole(fetch::whole_answer(request, MAX_DOCUMENT).await)? {
        (true, body) => body,
        (false, _) => return Err(Why::Broken),
    };
    // Of a name that stands twice, one reader takes the first value and another the last.
    let document = json::value(&body).ok_or(Why::Garbage)?;
    let (scalar, value) = match path.find(&document).ok_or(Why::NoData)? {
        Value::Number(number) => {
            let number = number.as_f64().ok_or(Why::NotANumber)?;
            (Scalar::Number(number), Some(number))
        }
        Value::Bool(yes) => (Scalar::Bool(*yes), None),
        Value::String(text) => (Scalar::Text(text), None),
        Value::Null => return Err(Why::NoData),
        Value::Array(_) | Value::Object(_) => return Err(Why::WrongType),
    };
    let truth = if check.is.holds(scalar)? { Truth::Holds } else { Truth::DoesNotHold };
    Ok(Finding { value, ..Finding::new(truth, Why::Measured) })
}
