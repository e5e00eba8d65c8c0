//! The `console.oidc:` part of the configuration: the provider that people sign in at, and who is who.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use holdpoint_adapters::identity::oidc::{ClientSecret, OidcSpec, People, Prompt, Teams};
use holdpoint_domain::{Id, Millis, id::kind};
use serde::Deserialize;
use serde_json::Value;

use super::Origin;

/// Where a provider sends people back to, below the console's origin: fixed, so that no request chooses it.
pub(crate) const CALLBACK: &str = "/sign-in/oidc/callback";

/// An OpenID provider, and which of its people are ours.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcConfig {
    /// The provider, byte for byte as its tokens name it.
    pub(crate) issuer: String,
    /// Who the gate is to it.
    pub(crate) client_id: String,
    /// A file with the gate's password there, mode 0600; without it the gate is a public client.
    #[serde(default)]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// What is asked for beside `openid`.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// Whether the provider has to ask people anew.
    #[serde(default)]
    pub(crate) prompt: Option<PromptWord>,
    /// How long ago people may have shown the provider who they are.
    #[serde(default)]
    pub(crate) max_age_ms: Option<Millis>,
    /// The authorities that are believed for the provider's certificate, PEM; the machine's by default.
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    /// The claim that names a person.
    #[serde(default = "subject")]
    pub(crate) person_claim: String,
    /// Which person of the registry a value of that claim is.
    #[serde(default)]
    pub(crate) people: BTreeMap<String, Id<kind::Person>>,
    /// Claims without one of whose values nobody is let in.
    #[serde(default)]
    pub(crate) required: BTreeMap<String, Vec<Value>>,
    /// Teams that the provider knows too, and has to confirm.
    #[serde(default)]
    pub(crate) teams: Option<TeamsConfig>,
}

/// Which team a value of a claim is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TeamsConfig {
    /// The claim: a text, or a list of them.
    pub(crate) claim: String,
    /// Its values.
    pub(crate) named: BTreeMap<String, Id<kind::Team>>,
}

/// What the provider is told to ask.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PromptWord {
    Login,
    SelectAccount,
    Consent,
}

fn subject() -> String {
    "sub".to_owned()
}

impl OidcConfig {
    /// What the relying party is told. Reads the secret; paths are relative to `base`.
    pub(crate) fn spec(&self, base: &Path, origin: &Origin) -> Result<OidcSpec, String> {
        let secret = self.client_secret_file.as_ref().map(|path| ClientSecret::read(&base.join(path)));
        let client_secret =
            secret.transpose().map_err(|err| format!("`console.oidc.client_secret_file`: {err}"))?;
        let prompt = self.prompt.map(|word| match word {
            PromptWord::Login => Prompt::Login,
            PromptWord::SelectAccount => Prompt::SelectAccount,
            PromptWord::Consent => Prompt::Consent,
        });
        let teams = self.teams.clone().map(|teams| Teams { claim: teams.claim, named: teams.named });
        Ok(OidcSpec {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret,
            redirect_uri: format!("{}{CALLBACK}", origin.as_str()),
            scopes: self.scopes.clone(),
            prompt,
            max_age: self.max_age_ms,
            ca_file: self.ca_file.as_ref().map(|path| base.join(path)),
            people: People {
                claim: self.person_claim.clone(),
                named: self.people.clone(),
                required: self.required.clone(),
                teams,
            },
        })
    }
}
