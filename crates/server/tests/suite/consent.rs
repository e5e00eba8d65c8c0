//! A person's consent to a hold, signed as the command line signs it.

use holdpoint_adapters::system::{Ed25519Key, Seed};
use holdpoint_domain::{
    approval::{Choice, SignedStatement, Statement},
    halt::ResumeStatement,
    signed::{Signed, Statement as _},
};
use serde_json::Value;

use super::stage::{Stage, client};

/// Ada's signed approval of a hold, as the command line makes it.
pub(crate) async fn signed(stage: &Stage, hold: &str) -> SignedStatement {
    signed_as(stage, hold, Choice::Approve).await
}

pub(crate) async fn signed_as(stage: &Stage, hold: &str, choice: Choice) -> SignedStatement {
    let shown = stage.get(&format!("/v1/holds/{hold}"), &stage.person("ada")).await;
    let terms = serde_json::from_value(shown["terms"].clone()).unwrap();
    let seed = Seed::load(&stage.root().join("people/ada.key")).unwrap();
    let key = Ed25519Key::from_seed("approval", &seed).unwrap();
    let statement = Statement::new(terms, "ada".parse().unwrap(), choice);
    let signature = key.sign(&statement.signing_bytes().unwrap()).into();
    SignedStatement { statement, signature }
}

/// The end of the halt in force, signed as the command line signs it.
pub(crate) async fn end_of_halt(stage: &Stage, person: &str) -> Value {
    let shown = stage.get("/v1/halt", &stage.person(person)).await;
    let halt = serde_json::from_value(shown["halt"].clone()).unwrap();
    let origin = shown["origin"].as_str().unwrap().to_owned();
    let statement = ResumeStatement::new(origin, halt, person.parse().unwrap());
    let seed = Seed::load(&stage.root().join(format!("people/{person}.key"))).unwrap();
    let key = Ed25519Key::from_seed("approval", &seed).unwrap();
    let signature = key.sign(&statement.signing_bytes().unwrap()).into();
    serde_json::to_value(Signed { statement, signature }).unwrap()
}

pub(crate) async fn post(stage: &Stage, hold: &str, token: &str, body: &Value) -> u16 {
    let url = stage.url(&format!("/v1/holds/{hold}/decisions"));
    client().post(url).bearer_auth(token).json(body).send().await.unwrap().status().as_u16()
}
