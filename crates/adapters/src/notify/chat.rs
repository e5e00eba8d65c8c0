//! Messages for two chats, over their incoming webhooks: Slack's blocks, and Adaptive Cards for Teams.
//!
//! There is a link and nothing that could be pressed: no button, no menu, no input. What comes back over a chat is nobody's
//! decision, since nothing here takes what comes back.

use std::path::Path;

use holdpoint_app::{notify::Message, port::SendError};
use holdpoint_domain::Timestamp;
use serde_json::{Value, json};

use super::{ChannelError, People, Secret, post::Endpoint, words};

/// Longest line of a block: Slack takes 3,000 characters in one.
const MAX_LINE: usize = 2_000;

/// What a chat reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatFormat {
    /// Slack: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
    Slack,
    /// Teams: an Adaptive Card, <https://adaptivecards.io/explorer/>.
    Teams,
}

/// A chat's incoming webhook. Its address is its secret: whoever has it can write there.
#[derive(Debug)]
pub struct Chat {
    endpoint: Endpoint,
    format: ChatFormat,
}

impl Chat {
    /// A chat's webhook at an address.
    ///
    /// # Errors
    /// An address that messages may not go to, or a file of certificates that is none.
    pub fn new(url: &Secret, format: ChatFormat, ca_file: Option<&Path>) -> Result<Self, ChannelError> {
        Ok(Self { endpoint: Endpoint::new(url, ca_file)?, format })
    }

    pub(super) async fn send(
        &self,
        message: &Message,
        people: &People,
        now: Timestamp,
    ) -> Result<(), SendError> {
        let body = match self.format {
            ChatFormat::Slack => slack_body(message, people, now),
            ChatFormat::Teams => teams_body(message, now),
        };
        self.endpoint.post(body.to_string(), &[]).await
    }
}

/// A message as Slack's blocks. People who have a member id there are called by it.
#[must_use]
pub fn slack_body(message: &Message, people: &People, now: Timestamp) -> Value {
    let title = words::title(message);
    let lines = words::lines(message, now);
    let facts: Vec<_> = lines.iter().map(|(what, value)| format!("*{what}:* {}", mrkdwn(value))).collect();
    let called = message.to.iter().filter_map(|person| people.get(person)?.slack.as_deref());
    let called: Vec<_> = called.map(|member| format!("<@{member}>")).collect();
    let mut blocks = vec![
        // Plain text: nothing in it is read as a format.
        json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}),
        section(&facts.join("\n")),
        section(&format!("<{}|Open in Holdpoint>", message.link)),
    ];
    if !called.is_empty() {
        blocks.insert(1, section(&called.join(" ")));
    }
    blocks.push(
        json!({"type": "context", "elements": [{"type": "plain_text", "text": message.id, "emoji": false}]}),
    );
    // The text is what notifications show, and is read as a format.
    json!({"text": mrkdwn(&title), "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
}

fn section(text: &str) -> Value {
    let text: String = text.chars().take(MAX_LINE).collect();
    // Verbatim: names are not turned into links, and nobody is called by a word.
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// Text for `mrkdwn`: the three characters that begin commands such as `<!channel>`, and links, are escaped as Slack says.
fn mrkdwn(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(c),
        }
    }
    out
}

/// A message as an Adaptive Card, in the envelope that a Teams webhook takes. What varies stands in text runs, which no client
/// reads as Markdown; the one block that is read so has words of ours and the link.
#[must_use]
pub fn teams_body(message: &Message, now: Timestamp) -> Value {
    let run = |text: &str, weight: &str| json!({"type": "TextRun", "text": text, "weight": weight});
    let rich = |runs: Vec<Value>, spacing: &str| json!({"type": "RichTextBlock", "inlines": runs, "spacing": spacing});
    let title =
        json!({"type": "TextRun", "text": words::title(message), "weight": "bolder", "size": "large"});
    let mut body = vec![rich(vec![title], "none")];
    for (what, value) in words::lines(message, now) {
        body.push(rich(vec![run(&format!("{what}: "), "bolder"), run(&value, "default")], "small"));
    }
    body.push(
        json!({"type": "TextBlock", "text": format!("[Open in Holdpoint]({})", message.link), "wrap": true}),
    );
    body.push(rich(
        vec![json!({"type": "TextRun", "text": message.id, "size": "small", "isSubtle": true})],
        "small",
    ));
    json!({"type": "message", "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": null,
        "content": {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": body,
        },
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_what_a_chat_reads_as_a_command_is_text() {
        let cases = [
            ("<!channel>", "&lt;!channel&gt;"),
            ("<@U012ABCDEF>", "&lt;@U012ABCDEF&gt;"),
            ("<https://evil.example|Open in Holdpoint>", "&lt;https://evil.example|Open in Holdpoint&gt;"),
            ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
            ("k8s.workload.rollout_restart", "k8s.workload.rollout_restart"),
        ];
        for (text, escaped) in cases {
            assert_eq!(mrkdwn(text), escaped);
        }
    }
}
