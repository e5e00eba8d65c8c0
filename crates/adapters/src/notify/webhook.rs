//! Webhooks in the Standard Webhooks format.

use std::path::Path;

use holdpoint_app::{
    notify::{Message, Subject},
    port::SendError,
};
use holdpoint_domain::Timestamp;
use serde_json::{Value, json};

use super::{ChannelError, Secret, SigningSecret, post::Endpoint, words};

/// A receiver of signed messages.
#[derive(Debug)]
pub struct Webhook {
    endpoint: Endpoint,
    secrets: Vec<SigningSecret>,
}

impl Webhook {
    /// A receiver at an address. The messages are signed with each secret: while one is replaced, there are two.
    ///
    /// # Errors
    /// An address that messages may not go to, or a file of certificates that is none.
    pub fn new(
        url: &Secret,
        secrets: Vec<SigningSecret>,
        ca_file: Option<&Path>,
    ) -> Result<Self, ChannelError> {
        Ok(Self { endpoint: Endpoint::new(url, ca_file)?, secrets })
    }

    pub(super) async fn send(&self, message: &Message, now: Timestamp) -> Result<(), SendError> {
        let body = webhook_body(message).to_string();
        let seconds = now.ms() / 1000;
        let signed: Vec<_> =
            self.secrets.iter().map(|secret| secret.sign(&message.id, seconds, &body)).collect();
        let headers = [
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signed.join(" ")),
        ];
        self.endpoint.post(body, &headers).await
    }
}

/// The body: the same bytes whenever the same message is sent.
#[must_use]
pub fn webhook_body(message: &Message) -> Value {
    let about = &message.about;
    let mut data = json!({
        "event": message.event,
        "title": words::title(message),
        "link": message.link,
        "index": message.index,
        "after_minutes": message.after_minutes,
        "by": about.by,
        "why": about.why.map(words::why),
        "ends_at": about.ends_at_ms.map(words::time),
        "to": message.to,
    });
    let subject = match &about.subject {
        Subject::Plan { plan, hold, agent, tier, approvals, steps, rules } => json!({"plan": {
            "id": plan, "hold": hold, "agent": agent, "tier": tier, "approvals": approvals, "steps": steps,
            "rules": rules,
        }}),
        Subject::Change { change, control, approvals } => {
            json!({"change": {"id": change, "control": control, "approvals": approvals}})
        }
        Subject::Account { account, action, target, people, part } => json!({"account": {
            "digest": account, "action": action, "target": target, "people": people, "state": part,
        }}),
        Subject::Input { control } => json!({"input": {"control": control}}),
        Subject::Gate { halt } => json!({"gate": {"halt": halt}}),
    };
    if let (Some(data), Value::Object(subject)) = (data.as_object_mut(), subject) {
        data.extend(subject);
    }
    let kind = format!("holdpoint.{}", message.event.as_str());
    json!({"type": kind, "timestamp": words::time(message.at_ms), "data": data})
}
