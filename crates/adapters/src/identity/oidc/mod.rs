//! Single sign-on of people: OpenID Connect 1.0, the code flow with PKCE, as a relying party of one provider.
//!
//! Start at [`RelyingParty`]: [`RelyingParty::begin`] sends a browser to the provider, [`RelyingParty::finish`] says who came back.
//! Whatever binds the two is kept by the browser alone, in a cookie; `state`, `nonce` and the PKCE verifier are derived from it, so
//! that an answer without the cookie of the browser that asked is worth nothing. The ID token is read and checked by the code that
//! checks every other token here.
//!
//! What comes out is a name for a session, and never consent. Tokens are neither kept nor logged.

mod answer;
mod attempt;
mod claims;
mod discovery;
mod party;
mod people;
mod question;
mod spec;

pub use discovery::DiscoveryError;
pub use party::{Begun, OidcError, RelyingParty, SignedIn};
pub use people::{People, Teams};
pub use question::QuestionError;
pub use spec::{ClientSecret, OidcSpec, Prompt, SpecError};
