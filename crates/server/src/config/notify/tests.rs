use std::os::unix::fs::PermissionsExt as _;

use super::*;

const PAGE: &str = include_str!("../../../../../docs/notify.md");

/// The example of the documentation.
fn example() -> &'static str {
    PAGE.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0
}

fn checked(text: &str) -> Result<NotifyConfig, Vec<String>> {
    let file = serde_saphyr::from_str::<NotifyFile>(text).map_err(|err| vec![err.to_string()])?;
    NotifyConfig::check(file, PathBuf::from("."), None)
}

fn faults(text: &str) -> String {
    checked(text).unwrap_err().join("\n")
}

#[test]
fn the_example_of_the_documentation_is_taken() {
    let config = checked(example()).unwrap();
    assert_eq!(config.rules.routes.len(), 4);
    assert_eq!(config.rules.channels().len(), 4);
    assert_eq!(config.rules.routes[0].escalate[1].after_minutes, 8);
    assert_eq!(config.rules.link_base, "https://holdpoint.example.org");
}

#[test]
fn everybody_is_every_channel_and_whoever_the_file_names() {
    // A channel, a rota and a group that stand in no rule.
    let text = example()
        .replacen("channels:\n", "channels:\n  siren:\n    webhook: {url: 'https://siren.example.org', secret_file: s}\n", 1)
        .replacen("  leads: [carl]\n", "  leads: [carl]\n  board: [dora]\n", 1)
        .replacen("rota:\n", "rota:\n  nights:\n    zone: UTC\n    shifts: [{start: 2026-01-05, handover: '09:00', people: [emil]}]\n", 1);
    let told = checked(&text).unwrap().rules.everybody;
    let channels: Vec<_> = told.channels.iter().map(Id::as_str).collect();
    assert_eq!(channels, ["incidents", "mail", "oncall-chat", "platform-chat", "siren"]);
    let Some(Who::People(people)) = told.who.first() else { panic!("{told:?}") };
    let people: Vec<_> = people.iter().map(Id::as_str).collect();
    assert_eq!(people, ["anna", "ben", "carl", "dora", "emil"]);
}

#[test]
fn a_channel_of_mail_that_reaches_nobody_is_refused() {
    let said = faults(
        "
link_base: https://holdpoint.example.org
channels:
  hook: {webhook: {url: 'https://h.example.org', secret_file: s}}
  mail: {smtp: {server: mail.example.org, tls: starttls, from: x@example.org}}
routes:
  - {events: [held], channels: [hook]}
",
    );
    assert!(said.contains("`channels.mail`"), "{said}");
}

#[test]
fn the_documentation_has_every_key_and_every_event() {
    let source = include_str!("../notify.rs");
    let structs = source.split("#[serde(deny_unknown_fields)]\nstruct ").skip(1);
    let mut keys = 0;
    for body in structs.map(|text| text.split_once("\n}").unwrap().0) {
        for line in body.lines().filter(|line| line.starts_with("    ") && !line.contains("//")) {
            let Some((key, _)) = line.trim().split_once(": ") else { continue };
            let known = [
                format!("`{key}`"),
                format!(".{key}`"),
                format!("`{key}."),
                format!(".{key}."),
                format!(" {key}"),
            ];
            assert!(known.iter().any(|form| PAGE.contains(form)), "`{key}` is not documented");
            keys += 1;
        }
    }
    assert!(keys > 30, "{keys} keys were found");
    for event in Event::ALL.into_iter().filter(|event| *event != Event::Test) {
        assert!(PAGE.contains(&format!("`{}`", event.as_str())), "{}", event.as_str());
    }
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    for (place, with) in [
        ("link_base:", "links: x\nlink_base:"),
        ("url: https", "signature: none\n      url: https"),
        ("tls: starttls", "tls: starttls\n      insecure: true"),
        ("{url_file: secrets/slack}", "{url_file: secrets/slack, channel: x}"),
        ("email: ben@example.org", "email: ben@example.org, phone: '1'"),
        ("zone: Europe/Berlin", "zone: Europe/Berlin\n    who: x"),
        ("every_days: 7", "every_days: 7, hours: 9"),
        ("until: 2026-08-10T09:00", "until: 2026-08-10T09:00, why: x"),
        ("environments: [production]", "environment: [production]"),
        ("{after_minutes: 3,", "{after_minutes: 3, approve: true,"),
        ("slack: {url", "pager: {url"),
        ("events: [held]", "events: [held, hold]"),
        ("{rota: platform}", "{team: platform}"),
    ] {
        let text = example().replacen(place, with, 1);
        assert_ne!(text, example(), "{place}");
        assert!(checked(&text).is_err(), "{with} is taken");
    }
}

#[test]
fn all_faults_are_named_together() {
    let said = faults(
        "
link_base: http://holdpoint.example.org
channels:
  mail: {smtp: {server: mail.example.org, tls: starttls, from: x@example.org}}
people:
  anna: {email: 'anna', slack: '@anna'}
  ben: {}
rota:
  nights: {zone: Europe/Atlantis, shifts: [{start: 2026-01-05, handover: '09:00', people: [ben]}]}
routes:
  - {events: [], channels: [mail, pager], tell: [{group: leads}, {person: zoe}]}
  - {events: [held], channels: [mail], tell: [{rota: nights}]}
  - {events: [held], channels: [mail]}
  - {events: [succeeded, test], channels: [], escalate: [{after_minutes: 0, channels: [mail], tell: [{rota: days}]}]}
",
    );
    for word in [
        "`link_base`",
        "`people.anna.email`",
        "`people.anna.slack`",
        "Europe/Atlantis",
        "`routes` 1: `events`",
        "no channel `pager`",
        "no group `leads`",
        "`zoe` is told over `mail` and has no",
        "`ben` is told over `mail` and has no",
        "`routes` 3: `tell`",
        "`test` is nothing that happens",
        "waits for anybody",
        "`after_minutes`",
        "no rota `days`",
    ] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

#[test]
fn t15_a_link_base_is_nothing_that_a_format_reads_as_its_own() {
    let with = |base: &str| {
        let (_, rest) = example().split_once("link_base: https://holdpoint.example.org").unwrap();
        checked(&format!("link_base: {}{rest}", serde_json::to_string(base).unwrap()))
    };
    assert!(with("http://localhost:7070/").is_ok());
    for bad in [
        "https://h.example|Approve",
        "https://h.example>",
        "https://h.example/)[x](https://evil.example",
        "https://user:password@h.example",
        "https://h.example/?token=1",
        "https://h.example/\r\nBcc:x",
        "javascript:alert(1)",
        "http://h.example",
        "",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn t40_channels_without_their_secrets_are_refused_all_together() {
    let dir = tempfile::tempdir().unwrap();
    let config = |text: &str| {
        let file = serde_saphyr::from_str::<NotifyFile>(text).unwrap();
        NotifyConfig::check(file, dir.path().to_owned(), None).unwrap()
    };
    let said = config(example()).channels().unwrap_err().to_string();
    for name in ["incidents", "mail", "oncall-chat", "platform-chat"] {
        assert!(said.contains(&format!("`channels.{name}`")), "{name} is not in:\n{said}");
    }
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    let put = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join("secrets").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    put("incidents", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", 0o600);
    put("mail", "password\n", 0o600);
    put("slack", "https://hooks.slack.example/services/T0/B0/x\n", 0o600);
    put("teams", "https://teams.example/x\n", 0o600);
    assert_eq!(config(example()).channels().unwrap().len(), 4);
    put("mail", "", 0o600);
    put("slack", "http://hooks.slack.example/canary\n", 0o600);
    put("teams", "https://teams.example/canary\n", 0o644);
    let said = config(example()).channels().unwrap_err().to_string();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(!said.contains("canary"), "{said}");
}
