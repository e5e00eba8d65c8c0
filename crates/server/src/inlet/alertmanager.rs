//! The webhook of an Alertmanager, version 4: strict on what is used, deaf to what is added.
//!
//! <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use holdpoint_app::incidents::Notice;
use serde::Deserialize;

use crate::http::{Problem, echo};

/// Most alerts whose words are kept for people. All of them are counted.
const MAX_SHOWN: usize = 50;
/// Most labels and annotations of an alert that are kept, each.
const MAX_PAIRS: usize = 32;
/// Longest text of one of them that is kept, in characters.
const MAX_CHARS: usize = 500;
/// Most that is kept of a group, in bytes.
const MAX_WORDS: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    version: String,
    group_key: String,
    status: Status,
    #[serde(default)]
    truncated_alerts: u64,
    #[serde(default)]
    receiver: String,
    #[serde(default, rename = "externalURL")]
    external_url: String,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: Status,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Firing,
    Resolved,
}

/// What a body says. `service_labels` are those whose values name services.
pub(super) fn read(body: &[u8], service_labels: &BTreeSet<String>) -> Result<Notice, Problem> {
    let bad = |detail: String| Problem::malformed("bad-webhook", detail, "send what Alertmanager sends");
    let hook: Webhook = serde_json::from_slice(body)
        .map_err(|err| bad(format!("not a webhook of an Alertmanager: {}", echo(&err.to_string()))))?;
    if hook.version != "4" {
        return Err(bad(format!("expected version `4`, got {}", echo(&hook.version))));
    }
    let firing = hook.alerts.iter().filter(|alert| alert.status == Status::Firing).count();
    // A group that fires without an alert, or that is over with one that fires, is not over. Alertmanager cuts the alerts off before it
    // says whether the group fires, so one of which something was left out may fire as well.
    let firing = firing.max(usize::from(hook.status == Status::Firing || hook.truncated_alerts > 0));
    let labels = hook.alerts.iter().flat_map(|alert| &alert.labels);
    let names = labels.filter(|(name, _)| service_labels.contains(*name)).map(|(_, value)| value.clone());
    Ok(Notice {
        firing: u32::try_from(firing).unwrap_or(u32::MAX),
        names: names.collect(),
        // What was left out could name anything.
        more: hook.truncated_alerts > 0,
        words: words(&hook),
        key: hook.group_key,
    })
}

/// What people are shown of it, with a mark wherever something is left out.
fn words(hook: &Webhook) -> String {
    let mut words = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(words, "receiver {}, from {}", cut(&hook.receiver), cut(&hook.external_url));
    let _ = writeln!(words, "group {}", cut(&hook.group_key));
    for alert in hook.alerts.iter().take(MAX_SHOWN) {
        let _ = writeln!(words, "{}", if alert.status == Status::Firing { "fires" } else { "is over" });
        for (what, pairs) in [("label", &alert.labels), ("annotation", &alert.annotations)] {
            for (name, value) in pairs.iter().take(MAX_PAIRS) {
                let _ = writeln!(words, "  {what} {}: {}", cut(name), cut(value));
            }
            if let Some(left) = pairs.len().checked_sub(MAX_PAIRS).filter(|left| *left > 0) {
                let _ = writeln!(words, "  … {left} more {what}s");
            }
        }
    }
    let mut end = words.len().min(MAX_WORDS);
    while !words.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    if end < words.len() {
        words.truncate(end);
        words.push_str("…\n… cut off here\n");
    }
    let left = u64::try_from(hook.alerts.len().saturating_sub(MAX_SHOWN)).unwrap_or(u64::MAX);
    let left = left.saturating_add(hook.truncated_alerts);
    if left > 0 {
        let _ = writeln!(words, "… {left} more alerts");
    }
    words
}

/// A text, cut where it is too long, with a mark.
fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn labels() -> BTreeSet<String> {
        ["service".to_owned(), "job".to_owned()].into()
    }

    fn hook(status: &str, alerts: &Value) -> Value {
        json!({"version": "4", "groupKey": "{}:{alertname=\"A\"}", "status": status, "truncatedAlerts": 0,
            "receiver": "gate", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "http://am:9093", "alerts": alerts, "surprise": {"added": [1]}})
    }

    fn alert(status: &str, service: &str) -> Value {
        json!({"status": status, "labels": {"alertname": "A", "service": service, "team": "shop"},
            "annotations": {"summary": "the queue grows"}, "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://p", "fingerprint": "f"})
    }

    fn notice(hook: &Value) -> Notice {
        read(hook.to_string().as_bytes(), &labels()).unwrap()
    }

    #[test]
    fn it_counts_what_fires_and_takes_names_from_the_labels_that_name_services() {
        let told = notice(&hook("firing", &json!([alert("firing", "web"), alert("resolved", "db")])));
        assert_eq!((told.firing, told.more, told.key.as_str()), (1, false, "{}:{alertname=\"A\"}"));
        assert_eq!(told.names, ["web".to_owned(), "db".to_owned()].into());
        assert!(told.words.contains("annotation summary: the queue grows"), "{}", told.words);
        assert_eq!(notice(&hook("resolved", &json!([alert("resolved", "web")]))).firing, 0);
        // What contradicts itself is not over.
        assert_eq!(notice(&hook("resolved", &json!([alert("firing", "web")]))).firing, 1);
        assert_eq!(notice(&hook("firing", &json!([]))).firing, 1);
        let mut some = hook("firing", &json!([alert("firing", "web")]));
        some["truncatedAlerts"] = json!(3);
        let told = notice(&some);
        assert!(told.more && told.words.ends_with("… 3 more alerts\n"), "{}", told.words);
        // Alertmanager says of those that it shows whether the group fires: others may.
        let mut cut_off = hook("resolved", &json!([alert("resolved", "web")]));
        cut_off["truncatedAlerts"] = json!(1);
        assert_eq!(notice(&cut_off).firing, 1);
    }

    #[test]
    fn what_is_no_webhook_of_version_4_is_refused() {
        for (name, value) in [
            ("version", json!("3")),
            ("version", json!(4)),
            ("groupKey", json!(null)),
            ("status", json!("ok")),
            ("alerts", json!({})),
            ("alerts", json!([{"status": "firing", "labels": {"service": 1}}])),
            ("truncatedAlerts", json!(-1)),
        ] {
            let mut bad = hook("firing", &json!([alert("firing", "web")]));
            bad[name] = value.clone();
            assert!(read(bad.to_string().as_bytes(), &labels()).is_err(), "{name}: {value}");
        }
        for bad in ["", "[]", "{}", "null", "{\"version\":\"4\",\"version\":\"4\"}"] {
            assert!(read(bad.as_bytes(), &labels()).is_err(), "{bad}");
        }
        let deep = format!("{{\"version\":\"4\",\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(deep.as_bytes(), &labels()).is_err(), "t30");
    }

    #[test]
    fn t30_what_people_are_shown_is_bounded_and_says_where_it_was_cut() {
        let long = "é".repeat(10_000);
        let mut loud = alert("firing", &long);
        for number in 0..100 {
            loud["labels"][format!("l{number}")] = json!(long);
        }
        let told = notice(&hook("firing", &Value::Array(vec![loud; 60])));
        assert_eq!(told.firing, 60);
        assert!(told.words.len() < MAX_WORDS + 200, "{}", told.words.len());
        assert!(told.words.contains("… cut off here") && told.words.ends_with("… 10 more alerts\n"));
        let mut one = alert("firing", "web");
        one["labels"]["a"] = json!(long);
        for number in 0..40 {
            one["labels"][format!("l{number}")] = json!("x");
        }
        let told = notice(&hook("firing", &json!([one])));
        assert!(told.words.contains("… 12 more labels"), "{}", told.words);
        assert!(told.words.contains(&format!("{}…", "é".repeat(MAX_CHARS))));
    }
}
