//! There is no way back in from a chat or a mailbox: every endpoint that could decide anything wants a person's token, and none
//! of those without a token decides.

use super::super::{
    caller::Who,
    endpoint::{ENDPOINTS, Method},
};

/// All that whoever has no token may ask. To add one here is to say that it can decide nothing.
const WITHOUT_A_TOKEN: [&str; 1] = ["POST /v1/introspection"];

#[test]
fn t12_no_endpoint_takes_a_decision_from_anybody_but_a_person_with_a_token() {
    for endpoint in ENDPOINTS {
        let path = endpoint.path;
        for word in ["slack", "teams", "chat", "callback", "webhook", "hook", "interact", "mail", "notify"] {
            let segments = path.split('/').any(|segment| segment == word);
            assert!(!segments, "{path} sounds like a way back in");
        }
        if endpoint.method == Method::Post && endpoint.who == Who::Anyone {
            assert!(
                WITHOUT_A_TOKEN.contains(&format!("POST {path}").as_str()),
                "{path} changes something for anybody"
            );
        }
        // A link that is opened, by whomever, changes nothing: what decides is a POST with a signed statement.
        if ["decisions", "approvals", "reviews", "resolution"].iter().any(|word| path.ends_with(word)) {
            assert!(endpoint.method == Method::Get || endpoint.who == Who::Approver, "{path}");
        }
    }
}
