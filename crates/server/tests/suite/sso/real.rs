//! The relying party at a real provider: what our own fake could have misunderstood with us.

use std::sync::Arc;

use holdpoint_adapters::{
    identity::oidc::{ClientSecret, OidcError, OidcSpec, People, QuestionError, RelyingParty, Teams},
    system::SystemClock,
};
use holdpoint_domain::{Id, Millis};
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::provider::{Provider, SECRET, Walker};

const BACK: &str = "http://localhost:9/sign-in/oidc/callback";

fn party(provider: &Provider, change: impl FnOnce(&mut OidcSpec)) -> RelyingParty {
    let named = [("sub-ada".to_owned(), Id::parse("ada").unwrap())].into();
    let teams = [("grp-sre", "sre"), ("grp-dba", "dba")];
    let teams = teams.map(|(value, team)| (value.to_owned(), Id::parse(team).unwrap())).into();
    let people = People {
        claim: "sub".to_owned(),
        named,
        required: [("groups".to_owned(), vec![json!("grp-payments")])].into(),
        teams: Some(Teams { claim: "groups".to_owned(), named: teams }),
    };
    let mut spec = OidcSpec {
        issuer: provider.issuer.clone(),
        client_id: "holdpoint".to_owned(),
        client_secret: Some(secret(SECRET)),
        redirect_uri: BACK.to_owned(),
        scopes: vec!["profile".to_owned(), "groups".to_owned()],
        prompt: None,
        max_age: Some(Millis::secs(600)),
        ca_file: None,
        people,
    };
    change(&mut spec);
    RelyingParty::new(spec, Arc::new(SystemClock::new())).unwrap()
}

fn secret(text: &str) -> ClientSecret {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    ClientSecret::read(&path).unwrap()
}

fn public(spec: &mut OidcSpec) {
    (spec.client_id, spec.client_secret) = ("holdpoint-public".to_owned(), None);
}

#[tokio::test]
async fn a_real_provider_names_a_person_to_a_client_with_a_secret_and_to_a_public_one() {
    let provider = Provider::start(BACK);
    for change in [|_: &mut OidcSpec| (), public] {
        let party = party(&provider, change);
        let begun = party.begin("/holds/hold-1").await.unwrap();
        let query = Walker::new().sign_in(&begun.location, "sub-ada").await;
        assert!(query.contains("iss="), "RFC 9207: {query}");
        let who = party.finish(Some(&begun.cookie), &query).await.unwrap();
        assert_eq!((who.person.as_str(), who.next.as_str()), ("ada", "/holds/hold-1"));
        assert_eq!(who.denied_teams.iter().map(Id::as_str).collect::<Vec<_>>(), ["dba"]);
        let again = party.finish(Some(&begun.cookie), &query).await.unwrap_err();
        assert!(is_refused(&again, "invalid_grant"), "a code is good once: {again:?}");
    }
}

#[tokio::test]
async fn t10_a_code_of_another_browser_is_refused_by_the_provider_too() {
    let provider = Provider::start(BACK);
    let party = party(&provider, public);
    let (ada, mallory) = (party.begin("/").await.unwrap(), party.begin("/").await.unwrap());
    let stolen = Walker::new().sign_in(&ada.location, "sub-ada").await;
    let own = Walker::new().sign_in(&mallory.location, "sub-mallory").await;
    let refused = party.finish(Some(&mallory.cookie), &stolen).await.unwrap_err();
    assert!(matches!(refused, OidcError::State), "{refused:?}");

    // Ada's code in Mallory's own answer: the provider has Ada's challenge for it.
    let injected =
        format!("code={}&state={}&iss={}", field(&stolen, "code"), field(&own, "state"), provider.issuer);
    let refused = party.finish(Some(&mallory.cookie), &injected).await.unwrap_err();
    assert!(is_refused(&refused, "invalid_grant"), "{refused:?}");
}

#[tokio::test]
async fn a_provider_gives_nothing_for_a_code_without_its_verifier() {
    let provider = Provider::start(BACK);
    let party = party(&provider, public);
    for verifier in ["", "&code_verifier=0123456789012345678901234567890123456789012"] {
        let begun = party.begin("/").await.unwrap();
        let query = Walker::new().sign_in(&begun.location, "sub-ada").await;
        let form = format!(
            "grant_type=authorization_code&client_id=holdpoint-public&code={}&redirect_uri={BACK}{verifier}",
            field(&query, "code")
        );
        let request = crate::suite::stage::client().post(format!("{}/token", provider.issuer)).body(form);
        let response =
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.json::<Value>().await.unwrap()["error"], "invalid_grant");
    }
}

#[tokio::test]
async fn whoever_the_provider_or_the_operator_does_not_let_in_stays_outside() {
    let provider = Provider::start(BACK);
    let refused = async |party: &RelyingParty, login: &str| {
        let begun = party.begin("/").await.unwrap();
        let query = Walker::new().sign_in(&begun.location, login).await;
        party.finish(Some(&begun.cookie), &query).await.unwrap_err()
    };
    let stranger = refused(&party(&provider, |_| ()), "sub-nobody").await;
    assert!(matches!(&stranger, OidcError::Refused(why) if why.contains("access_denied")), "{stranger:?}");
    let mallory = refused(&party(&provider, |_| ()), "sub-mallory").await;
    assert!(matches!(mallory, OidcError::Required(_)), "{mallory:?}");
    let unknown = refused(&party(&provider, |spec| spec.people.required.clear()), "sub-mallory").await;
    assert!(matches!(unknown, OidcError::Nobody(_)), "{unknown:?}");
    let impostor =
        refused(&party(&provider, |spec| spec.client_secret = Some(secret("guessed"))), "sub-ada").await;
    assert!(is_refused(&impostor, "invalid_client"), "{impostor:?}");
    let named = party(&provider, |spec| {
        spec.people.claim = "preferred_username".to_owned();
        spec.people.named.clear();
    });
    let begun = named.begin("/").await.unwrap();
    let query = Walker::new().sign_in(&begun.location, "sub-ada").await;
    assert_eq!(named.finish(Some(&begun.cookie), &query).await.unwrap().person.as_str(), "ada");
}

fn is_refused(err: &OidcError, why: &str) -> bool {
    matches!(err, OidcError::Question(QuestionError::Refused(said)) if said.contains(why))
}

fn field(query: &str, name: &str) -> String {
    let url = Url::parse(&format!("http://x/?{query}")).unwrap();
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}
