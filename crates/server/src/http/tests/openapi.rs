//! The documentation of the API: whole, well-formed, and about every endpoint.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    bench::Bench,
    conform::{DOCUMENT, resolve, valid},
};
use crate::http::{
    caller::Who,
    endpoint::{ENDPOINTS, Method},
};

/// The fields of an operation that OpenAPI 3.1 knows and we use.
const OPERATION: [&str; 8] =
    ["description", "operationId", "parameters", "requestBody", "responses", "security", "summary", "tags"];

#[test]
fn every_row_documents_itself() {
    for row in ENDPOINTS {
        let (name, doc) = (format!("{} {}", row.method.as_str(), row.path), &row.doc);
        assert!(
            !doc.summary.is_empty() && !doc.summary.ends_with('.'),
            "{name}: expected a summary, no full stop"
        );
        assert!(doc.summary.lines().count() == 1 && doc.summary.len() <= 100, "{name}: expected one line");
        assert!(
            doc.answers.iter().any(|answer| (200..300).contains(&answer.status)),
            "{name}: no good answer"
        );
        assert_eq!(
            row.body.is_some(),
            row.method == Method::Post,
            "{name}: a POST has a body, a GET has none"
        );
        assert_eq!(doc.at.is_some(), row.path.contains('{'), "{name}: what is in the braces?");
        assert!(row.path.matches('{').count() <= 1, "{name}: more than one name in the path");
    }
}

#[test]
fn the_document_is_openapi_3_1() {
    let document = &*DOCUMENT;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let bearer = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!((&bearer["type"], &bearer["scheme"]), (&"http".into(), &"bearer".into()));
    let mut ids = BTreeSet::new();
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with('/') && !path.contains('*'), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            count += 1;
            let name = format!("{method} {path}");
            assert!(["get", "post"].contains(&method.as_str()), "{name}");
            for field in operation.as_object().unwrap().keys() {
                assert!(OPERATION.contains(&field.as_str()), "{name}: {field}");
            }
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}: its id comes twice");
            check_parameters(&name, path, operation);
            check_responses(&name, operation);
            if method == "post" {
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                assert!(schema["$ref"].is_string(), "{name}: {schema}");
            }
        }
    }
    assert_eq!(count, ENDPOINTS.len());
}

fn check_parameters(name: &str, path: &str, operation: &Value) {
    let mut in_path = BTreeSet::new();
    for parameter in operation["parameters"].as_array().unwrap() {
        let said = parameter["description"].as_str();
        assert!(said.is_some_and(|said| !said.is_empty()), "{name}: {parameter} says nothing");
        assert!(parameter["schema"].is_object(), "{name}: {parameter}");
        match parameter["in"].as_str().unwrap() {
            "path" => {
                assert_eq!(parameter["required"], true, "{name}");
                in_path.insert(format!("{{{}}}", parameter["name"].as_str().unwrap()));
            }
            "query" => assert!(parameter["required"].is_boolean(), "{name}"),
            "header" => {
                assert_eq!((&parameter["name"], name.starts_with("post")), (&"Idempotency-Key".into(), true));
            }
            other => panic!("{name}: in {other}"),
        }
    }
    let named: BTreeSet<_> =
        path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned).collect();
    assert_eq!(in_path, named, "{name}");
}

fn check_responses(name: &str, operation: &Value) {
    let responses = operation["responses"].as_object().unwrap();
    assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
    for (status, response) in responses {
        assert!(!response["description"].as_str().unwrap().is_empty(), "{name} {status}");
        assert_eq!(response["$ref"].is_string(), !status.starts_with('2'), "{name} {status}");
    }
    let guarded = !operation["security"].as_array().unwrap().is_empty();
    assert_eq!(guarded, responses.contains_key("401"), "{name}");
}

#[test]
fn security_is_what_the_rows_say() {
    for row in ENDPOINTS {
        let path = row.path.replace("{*", "{");
        let operation = &DOCUMENT["paths"][&path][row.method.as_str().to_lowercase()];
        let wanted = if row.who == Who::Anyone { 0 } else { 1 };
        assert_eq!(operation["security"].as_array().unwrap().len(), wanted, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
    let mut found = BTreeSet::new();
    references(&DOCUMENT, &mut found);
    for reference in &found {
        resolve(reference);
    }
    for name in DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        assert!(found.contains(format!("#/components/schemas/{name}").as_str()), "nothing refers to {name}");
        assert!(!name.ends_with(|c: char| c.is_ascii_digit()), "two types are called {name}");
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn queries_say_what_may_be_left_out() {
    let required = |path: &str| -> Vec<(String, bool)> {
        let listed = DOCUMENT["paths"][path]["get"]["parameters"].as_array().unwrap();
        let field = |field: &Value| {
            (field["name"].as_str().unwrap().to_owned(), field["required"].as_bool().unwrap())
        };
        let mut fields: Vec<_> = listed.iter().map(field).collect();
        fields.sort();
        fields
    };
    assert_eq!(required("/v1/plans"), [("limit".to_owned(), false), ("state".to_owned(), false)]);
    assert_eq!(required("/v1/ledger/consistency"), [("new".to_owned(), true), ("old".to_owned(), true)]);
    assert_eq!(required("/v1/events"), [("after".to_owned(), false)]);
}

#[test]
fn bodies_of_requests_are_closed() {
    let (new_plan, good) =
        (resolve("#/components/schemas/NewPlan"), super::bench::plan("process.restart", "worker-1"));
    assert_eq!(valid(new_plan, &good), Ok(()));
    for name in [
        "NewPlan",
        "NewProbe",
        "SignedStatement",
        "Statement",
        "HoldTerms",
        "NewChange",
        "SignedChangeStatement",
        "NewReview",
        "NewResolution",
        "NewHalt",
        "SignedResumeStatement",
        "NewReconciliation",
        "Account",
        "AccountWords",
        "NewInvitation",
        "NewSignInLink",
        "ResumeStatement",
        "Assertion",
    ] {
        let schema = resolve(&format!("#/components/schemas/{name}"));
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
    let mut problem_fields: Vec<_> =
        resolve("#/components/schemas/Problem")["properties"].as_object().unwrap().keys().collect();
    problem_fields.sort();
    let rfc_9457 = ["detail", "status", "title", "type"];
    assert!(
        rfc_9457.iter().all(|field| problem_fields.iter().any(|known| known == field)),
        "{problem_fields:?}"
    );
}

#[test]
fn the_written_documentation_lists_every_endpoint() {
    let written = include_str!("../../../../../docs/http.md");
    let listed = written.lines().filter_map(|line| {
        let (endpoint, rest) = line.strip_prefix("| `")?.split_once("` |")?;
        let (method, path) = endpoint.split_once(' ')?;
        Some((method, path, rest.split('|').next()?.trim()))
    });
    let caller = |who| match who {
        Who::Anyone => "everybody",
        Who::Reader => "agents and people",
        Who::Person => "people",
        Who::Proposer => "agents that decide",
        Who::Delegator => "agents that decide, and people, on record",
        Who::Approver => "people, on record",
        Who::Auditor => "people whom policy lets read",
    };
    let rows = ENDPOINTS.iter().map(|row| (row.method.as_str(), row.path, caller(row.who)));
    assert_eq!(listed.collect::<BTreeSet<_>>(), rows.collect());
}

#[tokio::test]
async fn anybody_can_read_it() {
    let bench = Bench::new().await;
    let served: Value = bench.get("/v1/openapi.json", "").await.json();
    assert_eq!(served, *DOCUMENT);
}
