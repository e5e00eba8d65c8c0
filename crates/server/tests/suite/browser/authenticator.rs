//! A passkey without a finger: the virtual authenticators of WebDriver
//! (<https://www.w3.org/TR/webauthn-3/#sctn-automation>).

use axum::http::Method;
use serde_json::{Value, json};

use super::page::Browser;

/// What a laptop has built in: resident keys, and a finger or a PIN that says who holds it. It agrees to everything.
pub(crate) struct Authenticator<'b> {
    browser: &'b Browser,
    path: String,
}

impl Browser {
    /// Builds an authenticator into this browser.
    pub(crate) async fn authenticator(&self) -> Authenticator<'_> {
        let wanted = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": true,
            "hasUserVerification": true,
            "isUserVerified": true,
            "isUserConsenting": true,
        });
        let id = self.ask(Method::POST, "webauthn/authenticator", Some(wanted)).await;
        Authenticator { browser: self, path: format!("webauthn/authenticator/{}", id.as_str().unwrap()) }
    }
}

impl Authenticator<'_> {
    /// Whether the person is recognised from now on.
    pub(crate) async fn set_user_verified(&self, is_verified: bool) {
        self.ask(Method::POST, "uv", Some(json!({"isUserVerified": is_verified}))).await;
    }

    /// The credentials, with their private keys: `credentialId`, `rpId`, `privateKey` (PKCS #8), `userHandle`, `signCount`.
    pub(crate) async fn credentials(&self) -> Vec<Value> {
        self.ask(Method::GET, "credentials", None).await.as_array().unwrap().clone()
    }

    /// Puts a credential of another authenticator in: a copied passkey.
    pub(crate) async fn add(&self, credential: Value) {
        self.ask(Method::POST, "credential", Some(credential)).await;
    }

    /// Forgets a credential.
    pub(crate) async fn forget(&self, credential_id: &str) {
        self.ask(Method::DELETE, &format!("credentials/{credential_id}"), None).await;
    }

    /// Takes the authenticator out of the browser.
    pub(crate) async fn remove(self) {
        self.browser.ask(Method::DELETE, &self.path, None).await;
    }

    async fn ask(&self, method: Method, below: &str, body: Option<Value>) -> Value {
        self.browser.ask(method, &format!("{}/{below}", self.path), body).await
    }
}
