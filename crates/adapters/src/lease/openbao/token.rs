//! The issuer's own token. What was leased with it ends with it, so it is kept alive as far as its operator allows, and nothing is
//! leased that it would not outlive.

use holdpoint_app::port::IssueError;
use serde::Deserialize;
use serde_json::json;

use super::api::{ApiError, Caller, Data};
use crate::step::Step;

/// How much longer than a lease the token must live, in seconds: the end of the lease is tried again and again.
const MARGIN_SECS: u64 = 60;

/// What OpenBao says of a token.
#[derive(Debug, Deserialize)]
struct Token {
    /// Seconds until its end. Zero is no life here, and never one without end.
    ttl: u64,
    /// Seconds that it got when it was made.
    creation_ttl: u64,
    renewable: bool,
    policies: Vec<String>,
    /// How often it may be used; zero is as often as one likes.
    num_uses: u64,
}

#[derive(Deserialize)]
struct Renewed {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    lease_duration: u64,
}

impl Caller {
    /// Renews the token where it is time, or where it would not outlive a lease of `life_secs`. The seconds that it has left.
    pub(super) async fn keep_token(&self, life_secs: u64) -> Result<u64, IssueError> {
        let (token, need) = (self.token().await?, life_secs.saturating_add(MARGIN_SECS));
        if token.policies.iter().any(|policy| policy == "root") || token.num_uses != 0 {
            return Err(IssueError::Refused(
                "expected a token for OpenBao with a policy of its own and any number of uses, and not root's"
                    .to_owned(),
            ));
        }
        let is_time = token.ttl < token.creation_ttl / 2 || token.ttl < need;
        let left = if token.renewable && is_time { self.renew_token().await? } else { token.ttl };
        if left < need {
            return Err(IssueError::Refused(format!(
                "the token for OpenBao ends in {left} s and cannot be renewed further, and this lease needs {need} s: \
                 give the issuer a periodic one"
            )));
        }
        Ok(left)
    }

    async fn token(&self) -> Result<Token, ApiError> {
        let Data { data } = self.read(self.look("its token", "auth/token/lookup-self").await?)?;
        Ok(data)
    }

    /// Only ever the issuer's own: a lease is never made longer.
    async fn renew_token(&self) -> Result<u64, ApiError> {
        let renewed = Step::BaoRenew.take_async(async |taken| {
            self.put("a renewal of the token", "auth/token/renew-self", &json!({}), &taken).await
        });
        let Renewed { auth } = self.read(renewed.await?)?;
        Ok(auth.lease_duration)
    }
}
