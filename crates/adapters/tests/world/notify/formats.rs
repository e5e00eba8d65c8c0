//! What the chats read: our words, identifiers, one link, and nothing to press.

use holdpoint_adapters::notify::{Channel, Chat, ChatFormat, slack_body, teams_body, webhook_body};
use holdpoint_app::notify::{Event, Message, kind};
use holdpoint_domain::{Id, id::kind as domain};
use serde_json::Value;

use super::{held, people, receiver::Receiver, send};
use crate::world::support::{NOW_MS, at};

/// Strings that would be something else to whoever reads them: commands of chats, markup, hidden characters, further headers.
const HOSTILE: [&str; 14] = [
    "<!channel>",
    "<!here|worker>",
    "<@U012ABCDEF>",
    "<https://evil.example|Open in Holdpoint>",
    "[Open in Holdpoint](https://evil.example)",
    "@everyone",
    "<at>Everyone</at>",
    "**bold** _it_ `code`",
    "<script>alert(1)</script>",
    "worker\r\nBcc: all@example.org",
    "worker\u{202e}1-rekrow",
    "worker\u{200b}",
    "w\u{043e}rker",
    "\u{e0041}\u{e0042}",
];

/// Every string in a document, with its path.
fn strings(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Array(list) => list.iter().for_each(|one| strings(one, path, found)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, one)| strings(one, &format!("{path}.{name}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn all_formats(message: &Message) -> [Value; 3] {
    let now = at(NOW_MS);
    [slack_body(message, &people(), now), teams_body(message, now), webhook_body(message)]
}

#[tokio::test]
async fn what_a_chat_gets_over_the_wire_is_what_its_format_says() {
    let receiver = Receiver::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None);
    let slack = Chat::new(&receiver.url(), ChatFormat::Slack, None).unwrap();
    send(Channel::Chat(slack), &held()).await.unwrap();
    let body = receiver.one().json();
    assert_eq!(body["text"], "Approval needed: process.restart on worker-1 (production) and 1 more");
    assert_eq!(body["blocks"][0]["type"], "header");
    assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
    assert_eq!(body["blocks"][1]["text"]["text"], "<@U012ABCDEF>", "who has a member id is called");
    let facts = body["blocks"][2]["text"]["text"].as_str().unwrap();
    for line in [
        "*Step:* process.restart on worker-2 (production), owned by payments",
        "*Tier:* T4: two approvers with fresh strong authentication",
        "*Needs:* 2 people to approve",
        "*Asked for by:* no-undo, restart-stateless",
        "*Proposed by:* agent healer",
        "*Until:* 2027-01-15T08:14:00Z (14 min left, then it is denied)",
        "*For:* anna, ben",
    ] {
        assert!(facts.contains(line), "`{line}` is not in:\n{facts}");
    }
    assert_eq!(
        body["blocks"][3]["text"]["text"],
        "<https://holdpoint.example.org/holds/hold-1|Open in Holdpoint>"
    );

    let receiver = Receiver::start("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", None);
    let teams = Chat::new(&receiver.url(), ChatFormat::Teams, None).unwrap();
    send(Channel::Chat(teams), &held()).await.unwrap();
    let card = receiver.one().json()["attachments"][0].clone();
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(
        (&card["content"]["type"], &card["content"]["version"]),
        (&"AdaptiveCard".into(), &"1.4".into())
    );
}

#[test]
fn t12_no_format_has_anything_to_press_or_any_token_in_its_link() {
    for event in Event::ALL {
        let message = Message { event, ..held() };
        for body in all_formats(&message) {
            let (mut found, text) = (Vec::new(), body.to_string());
            strings(&body, "", &mut found);
            for word in [
                "\"actions\"",
                "Action.",
                "\"button\"",
                "\"accessory\"",
                "action_id",
                "Input.",
                "selectAction",
            ] {
                assert!(!text.contains(word), "{event:?}: `{word}` in {text}");
            }
            let links =
                found.iter().filter(|(_, text)| text.contains("://") && !text.contains("adaptivecards.io"));
            for (path, link) in links {
                assert!(link.contains(&message.link), "{path}: {link}");
                assert!(!link.contains('?') && !link.contains('#') && !link.contains('@'), "{path}: {link}");
            }
        }
    }
}

#[test]
fn t14_t15_no_hostile_string_can_be_in_a_message() {
    for text in HOSTILE {
        assert!(Id::<domain::Target>::parse(text).is_err(), "{text:?}");
        assert!(Id::<domain::Rule>::parse(text).is_err(), "{text:?}");
        assert!(Id::<kind::Channel>::parse(text).is_err(), "{text:?}");
        // Nor can one come back out of the memory of what is not delivered yet.
        let mut stored = serde_json::to_value(held()).unwrap();
        for place in [
            "/about/subject/plan/steps/0/target",
            "/about/subject/plan/agent",
            "/about/subject/plan/rules/0",
            "/to/0",
        ] {
            *stored.pointer_mut(place).unwrap() = Value::from(text);
            assert!(serde_json::from_value::<Message>(stored.clone()).is_err(), "{place}: {text:?}");
            stored = serde_json::to_value(held()).unwrap();
        }
    }
}

#[test]
fn t15_what_varies_on_a_card_stands_where_no_markup_is_read() {
    let card = teams_body(&held(), at(NOW_MS));
    let blocks = card["attachments"][0]["content"]["body"].as_array().unwrap();
    let marked: Vec<_> = blocks.iter().filter(|block| block["type"] != "RichTextBlock").collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0]["text"], "[Open in Holdpoint](https://holdpoint.example.org/holds/hold-1)");
    for run in blocks.iter().filter_map(|block| block["inlines"].as_array()).flatten() {
        assert_eq!(run["type"], "TextRun", "{run}");
    }
}

#[test]
fn every_event_has_words_and_none_is_longer_than_a_title() {
    for event in Event::ALL {
        let mut message = Message { event, after_minutes: Some(1440), ..held() };
        let title = webhook_body(&message)["data"]["title"].as_str().unwrap().to_owned();
        assert!(title.starts_with("Unanswered for 1440 min: ") && title.chars().count() <= 140, "{title}");
        message.after_minutes = None;
        message.about.ends_at_ms = Some(at(NOW_MS - 1));
        let text = slack_body(&message, &people(), at(NOW_MS)).to_string();
        assert!(text.contains("over"), "{text}");
    }
}

#[test]
fn an_emergency_says_in_its_title_how_far_it_is() {
    use holdpoint_app::notify::Why;
    for (why, title) in [
        (Why::GlassAsked, "BREAK-GLASS asked for: process.restart on worker-1 (production) and 1 more"),
        (Why::GlassRuns, "BREAK-GLASS runs: process.restart on worker-1 (production) and 1 more"),
    ] {
        let mut message = Message { event: Event::BreakGlass, ..held() };
        message.about.why = Some(why);
        assert_eq!(webhook_body(&message)["data"]["title"], title);
    }
}
