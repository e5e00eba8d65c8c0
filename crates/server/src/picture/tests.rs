//! Pictures are well-formed, bounded, and refer to nothing else.

use std::collections::BTreeSet;

use holdpoint_domain::{Millis, graph::EdgeKind, target::Criticality};
use serde_json::json;

use super::*;
use crate::http::wire::{NeedSaidBy, ReachedNeed};

fn service(name: &str, depth: u32, needs: &[&str]) -> ReachedService {
    let need = |on: &&str| ReachedNeed {
        on: on.parse().unwrap(),
        kind: EdgeKind::Calls,
        said_by: vec![NeedSaidBy { source: "traces".parse().unwrap(), age_ms: Millis::secs(12) }],
    };
    ReachedService {
        service: name.parse().unwrap(),
        depth: Some(depth),
        needs: needs.iter().map(need).collect(),
        more_needs: 0,
        environment: Some("production".parse().unwrap()),
        owner: Some("team".parse().unwrap()),
        criticality: Criticality::High,
        critical: false,
        unknown: false,
        traffic_percent: Some(12),
    }
}

fn critical(one: ReachedService) -> ReachedService {
    ReachedService { critical: true, criticality: Criticality::Critical, ..one }
}

fn unknown(one: ReachedService) -> ReachedService {
    ReachedService { unknown: true, environment: None, owner: None, ..critical(one) }
}

fn shop() -> Vec<ReachedService> {
    vec![
        service("orders-db", 0, &[]),
        critical(service("checkout", 1, &["orders-db"])),
        service("cart", 1, &["orders-db", "catalogue"]),
        service("catalogue", 1, &["orders-db"]),
        unknown(service("unnamed-0c1a2b3c4d5e6f708192", 1, &["orders-db"])),
        critical(service("web", 2, &["checkout", "cart", "catalogue"])),
        service("mobile-gateway-of-the-north", 2, &["checkout", "cart"]),
        service("mail", 2, &["checkout"]),
        service("campaigns", 3, &["mail", "web"]),
    ]
}

fn reached(services: Vec<ReachedService>) -> Reached {
    Reached { services, more: 0, more_critical: 0, traffic: Vec::new(), shared: Vec::new(), more_shared: 0 }
}

fn of(reached: &Reached) -> Disturbance {
    let names: BTreeSet<_> = reached.services.iter().map(|one| one.service.clone()).collect();
    let is_critical = |one: &&ReachedService| one.critical;
    let critical: BTreeSet<_> =
        reached.services.iter().filter(is_critical).map(|one| one.service.clone()).collect();
    serde_json::from_value(json!({
        "action": "process.restart", "target": "orders-db-1", "service": "orders-db",
        "blast": {
            "targets": ["orders-db-1"], "services": names, "critical": critical, "unknown": [], "environments": ["production"],
            "replica_share_percent": 34,
        },
        "cap": {"targets": 1, "services": 12, "critical": 1, "environments": 1, "replica_share_percent": 50},
        "reached": reached,
    }))
    .unwrap()
}

fn document(reached: &Reached) -> String {
    Picture::of(reached).document(&of(reached)).unwrap()
}

/// What a parser of XML asks for, as far as these documents go: tags that close each other, attributes in quotes, each once, no bare
/// `&` and no character that XML does not have. Says the text between the tags.
#[track_caller]
fn well_formed(document: &str) -> String {
    let is_xml = |c: char| c == '\n' || (c >= ' ' && !matches!(c, '\u{FFFE}' | '\u{FFFF}'));
    assert!(document.chars().all(is_xml), "a character that is none in XML");
    for part in document.split('&').skip(1) {
        let name = part.split(';').next().unwrap();
        assert!(matches!(name, "amp" | "lt" | "gt" | "quot" | "apos") || name.starts_with('#'), "&{name}");
    }
    let (mut open, mut text, mut rest) = (Vec::new(), String::new(), document);
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains('>'), "{before}");
        assert!(!open.is_empty() || before.trim().is_empty(), "text outside of the document: {before}");
        text.push_str(before);
        let (tag, after) = after.split_once('>').unwrap();
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {document}");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        let mut seen = BTreeSet::new();
        let mut attributes = tag[name.len()..].trim_end_matches('/').trim();
        while let Some((key, value)) = attributes.split_once("=\"") {
            assert!(seen.insert(key) && key.chars().all(|c| c.is_alphanumeric() || c == '-'), "{tag}");
            attributes = value.split_once('"').unwrap().1.trim_start();
        }
        assert!(attributes.is_empty(), "{tag}");
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} is not closed");
    text
}

#[test]
fn a_document_says_what_everything_is_without_colour() {
    let document = document(&reached(shop()));
    let text = well_formed(&document);
    for said in [
        "process.restart on orders-db-1",
        "9 services of at most 12, 3 critical of at most 1, 34 % of replicas of at most 50 %",
        "acted on",
        "3 away",
        "critical · calls",
        "unknown · calls",
        "mobile-gateway-of-t…",
        "web: critical; calls checkout, calls cart, calls catalogue; owner team; 12 % of all requests",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert_eq!(document.matches("<g class=\"node is-").count(), 9 + Kind::ALL.len());
    // A line for each need: dashed to what nobody knows, pale from what is as far away.
    assert_eq!(document.matches("<path class=\"edge").count(), 13);
    assert_eq!(document.matches("class=\"edge is-unknown\"").count(), 1);
    assert_eq!(document.matches("class=\"edge is-aside\"").count(), 1);
}

#[test]
fn t14_a_document_runs_nothing_and_asks_nobody() {
    let mut picture = Picture::of(&reached(shop()));
    let hostile = "</text><script>alert(1)</script>\"'&<image href=\"https://evil.example\"/>]]>";
    for node in &mut picture.nodes {
        node.label = hostile.to_owned();
        node.name = hostile.to_owned();
        node.words = hostile.to_owned();
    }
    picture.layers[0].title = hostile.to_owned();
    picture.more = Some(hostile.to_owned());
    let document = picture.document(&of(&reached(shop()))).unwrap();
    let text = well_formed(&document);
    assert!(!text.contains("<script"));
    let markup = document.split('<').map(|tag| tag.split('>').next().unwrap()).collect::<Vec<_>>().join("\n");
    for never in ["script", "href", "foreignObject", "image", "onload", "<!", "<?"] {
        assert!(!markup.contains(never), "{never}");
    }
    let style = document.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    for never in ["url(", "@import", "http"] {
        assert!(!style.contains(never), "{never}");
    }
    // The name of the language, and nothing else.
    assert_eq!(markup.matches("http").count(), 1);
}

#[test]
fn t30_a_picture_has_room_for_few_and_says_how_many_there_are() {
    let mut services = vec![service("db", 0, &[])];
    services.extend((0..150).map(|n| service(&format!("s-{n}"), 1, &["db"])));
    services
        .extend((0_u32..49).map(|n| critical(service(&format!("far-{n}"), n.saturating_add(2), &["s-1"]))));
    let all = Reached { more: 999_800, more_critical: 7, ..reached(services) };
    let picture = Picture::of(&all);
    assert_eq!(picture.nodes.len(), 24);
    assert_eq!(picture.nodes.iter().filter(|node| node.kind == Kind::Critical).count(), 12);
    assert_eq!(picture.more.as_deref(), Some("and 999976 more, 44 of them critical"));
    assert_eq!(picture.layers.last().unwrap().title, "6 away and more");
    let document = document(&all);
    well_formed(&document);
    assert!(document.len() < 40_000 && document.contains("and 999976 more"), "{}", document.len());
}

#[test]
fn nothing_stands_on_anything_else() {
    let alone = |mut one: ReachedService| {
        one.depth = None;
        one
    };
    let crowd = (0..20).map(|n| service(&format!("s-{n}"), 1 + n / 12, &["db"]));
    let crowd = std::iter::once(service("db", 0, &[])).chain(crowd).collect();
    for services in [shop(), crowd, vec![service("db", 0, &[]), alone(service("gone", 1, &[]))], Vec::new()] {
        let picture = Picture::of(&reached(services));
        for (number, one) in picture.nodes.iter().enumerate() {
            assert!(one.x >= 0.0 && one.x + 184.0 <= picture.width, "{one:?}");
            assert!(one.y >= 0.0 && one.y + 42.0 <= picture.height, "{one:?}");
            for other in &picture.nodes[..number] {
                let apart = (one.x - other.x).abs() >= 184.0 || (one.y - other.y).abs() >= 42.0;
                assert!(apart, "{one:?} on {other:?}");
            }
        }
    }
}
