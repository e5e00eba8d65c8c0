//! The documentation of the API (OpenAPI 3.1), made from the table of endpoints and the types that are sent.

use std::{collections::BTreeSet, sync::LazyLock};

use axum::Json;
use schemars::{
    SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};

use super::{
    caller::Who,
    endpoint::{ENDPOINTS, Endpoint, Method},
    idempotency::MAX_KEY_LEN,
    schema::{self, SchemaOf},
    wire,
};

/// Where components stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// `GET /v1/openapi.json`.
pub(super) async fn serve() -> Json<&'static Value> {
    // It is the same for the life of the process, and anybody may ask.
    static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
    Json(&DOCUMENT)
}

/// The document.
pub(crate) fn document() -> Value {
    let mut schemas = generator(Contract::Serialize);
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let item = paths.entry(path(endpoint.path)).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(endpoint.method.as_str().to_lowercase(), operation(endpoint, &mut schemas));
        }
    }
    let problem = schema::of::<wire::Problem>(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Holdpoint",
            "summary": "The hold point between an AI agent's diagnosis and production",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "responses": {"Problem": {
                "description": "An answer other than the one asked for (RFC 9457).",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
        settings.contract = contract;
    });
    settings.into_generator()
}

fn operation(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let doc = &endpoint.doc;
    let mut responses: Map<String, Value> = Map::new();
    for answer in doc.answers {
        let (kind, schema) = answer.content;
        let media = schema.map_or_else(|| json!({}), |schema| json!({"schema": schema(schemas)}));
        let response = json!({"description": answer.what, "content": {kind: media}});
        responses.insert(answer.status.to_string(), response);
    }
    for status in problems(endpoint) {
        let response = json!({"$ref": "#/components/responses/Problem", "description": reason(status)});
        responses.insert(status.to_string(), response);
    }
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": doc.summary,
        "description": callers(endpoint.who),
        "tags": [tag(endpoint.path)],
        "security": if endpoint.who == Who::Anyone { json!([]) } else { json!([{"bearer": []}]) },
        "parameters": parameters(endpoint, schemas),
        "responses": responses,
    });
    if let (Some(fields), Some(body)) = (operation.as_object_mut(), endpoint.body) {
        let content = json!({"application/json": {"schema": body(schemas)}});
        fields.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
    }
    operation
}

fn parameters(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = Vec::new();
    if let (Some(name), Some((what, schema))) = (placeholder(endpoint.path), endpoint.doc.at) {
        let schema = schema(schemas);
        parameters.push(
            json!({"name": name, "in": "path", "required": true, "description": what, "schema": schema}),
        );
    }
    if endpoint.method == Method::Post {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Sent again with the same body, it is answered again and not done again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LEN, "pattern": "^[!-~]+$"},
        }));
    }
    parameters.extend(endpoint.doc.query.iter().flat_map(|query| query_parameters(*query, schemas)));
    parameters
}

/// One parameter for each field of a query, whose schema stands inline. What may be left out is what may be missing when
/// it is *read*, so the fields come from that side of the contract.
fn query_parameters(query: SchemaOf, schemas: &mut SchemaGenerator) -> Vec<Value> {
    // For what its fields refer to.
    query(schemas);
    let read = query(&mut generator(Contract::Deserialize));
    let list = |name: &str| read.get(name).and_then(Value::as_array).into_iter().flatten();
    let required: BTreeSet<&str> = list("required").filter_map(Value::as_str).collect();
    let fields = read.get("properties").and_then(Value::as_object).into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let what = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({
            "name": name, "in": "query", "required": required.contains(name.as_str()),
            "description": what, "schema": schema,
        })
    };
    fields.map(parameter).collect()
}

/// Statuses of problems: what every endpoint can answer, what follows from the row, and what it says itself.
fn problems(endpoint: &Endpoint) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = [421, 500, 503, 504].into();
    statuses.extend(endpoint.doc.fails);
    if endpoint.who != Who::Anyone {
        statuses.extend([401, 403]);
    }
    if endpoint.doc.at.is_some() {
        statuses.extend([400, 404]);
    }
    if endpoint.doc.query.is_some() {
        statuses.insert(400);
    }
    if endpoint.method == Method::Post {
        statuses.extend([400, 403, 408, 409, 413, 415]);
    }
    statuses
}

fn reason(status: u16) -> &'static str {
    axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

const fn callers(who: Who) -> &'static str {
    match who {
        Who::Anyone => "For everybody, without a token.",
        Who::Reader => "For agents, who see what is theirs, and for people.",
        Who::Person => "For people.",
        Who::Auditor => "For people whom policy lets read the ledger.",
        Who::Delegator => "For agents in phase `decide` and people; the refusal of anybody else is recorded.",
        Who::Proposer => "For agents in phase `decide`; the refusal of anybody else is recorded.",
        Who::Approver => "For people; the refusal of anybody else is recorded.",
    }
}

/// `/a/{*b}` as OpenAPI writes it: it has no word for a rest of a path.
fn path(path: &str) -> String {
    path.replace("{*", "{")
}

/// The name in the braces of a path.
fn placeholder(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once('{')?;
    rest.split_once('}').map(|(name, _)| name.trim_start_matches('*'))
}

/// The first word of a path behind its version.
fn tag(path: &str) -> &str {
    let rest = path.strip_prefix("/v1").unwrap_or(path).trim_start_matches('/');
    rest.split(['/', '.']).next().unwrap_or(rest)
}

/// A name for generated clients: the method and the words of the path.
fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.strip_prefix("/v1").unwrap_or(endpoint.path);
    let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(endpoint.method.as_str().to_lowercase())
        .chain(words.map(str::to_owned))
        .collect::<Vec<_>>()
        .join("_")
}
