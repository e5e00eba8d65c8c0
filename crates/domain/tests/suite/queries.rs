//! Queries of the catalogue: where a parameter may stand, what its value becomes, and what is refused when it is loaded.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Digest,
    target::{
        Address, AddressFault, Criticality, DatabaseAddress, Endpoint, LabelValue, MAX_LABEL, Service, Target,
    },
    trigger::{
        AlertExpect, AlertMatcher, AlertmanagerCheck, Check, CheckFault, Comparison, Expected, JsonPath,
        Param, Promql, PromqlCheck, QueryFault, Scalar, SqlCheck, Subject, Why, template::MAX_QUERY,
    },
};
use proptest::prelude::*;

use super::support::{id, ms};

fn service() -> Service {
    Service {
        id: id("web"),
        environment: id("production"),
        owner: id("sre"),
        criticality: Criticality::Medium,
        data_classes: [].into(),
        data_domain: None,
        backup_of: [].into(),
        stateless: true,
        depends_on: [].into(),
        dependents: [].into(),
    }
}

fn target(label: &str) -> Target {
    let labels = BTreeMap::from([(id("node"), LabelValue::try_from(label.to_owned()).unwrap())]);
    Target {
        id: id("web-1"),
        service: id("web"),
        executor: id("process"),
        endpoints: BTreeMap::new(),
        labels,
        shares: BTreeMap::new(),
    }
}

/// A query about target `web-1`, whose label `node` is this.
fn about(query: &str, label: &str) -> Option<String> {
    Promql::parse(query).unwrap().about(Subject { target: &target(label), service: &service() })
}

#[test]
fn parameters_become_what_they_stand_for() {
    let cases = [
        ("up", "up"),
        ("up{a=\"${target}\"}", "up{a=\"web-1\"}"),
        ("up{a='${service}',b!=\"${environment}\"}", "up{a='web',b!=\"production\"}"),
        ("up{a=\"${label.node}:9100\"}", "up{a=\"n.1:9100\"}"),
        ("up{a=~\"${label.node}:.*\"}", "up{a=~\"n\\\\.1:.*\"}"),
        ("up{a !~ '${label.node}'}", "up{a !~ 'n\\\\.1'}"),
        ("up{a=\"}{\",b=\"${target}\"}", "up{a=\"}{\",b=\"web-1\"}"),
        ("up{a=\"\\\"\",b=\"${target}\"}", "up{a=\"\\\"\",b=\"web-1\"}"),
        ("up # it's up\n{a=\"${target}\"}", "up # it's up\n{a=\"web-1\"}"),
        ("up{a=`}`,b=\"${target}\"}", "up{a=`}`,b=\"web-1\"}"),
        ("sum by (a) (rate(x_total{a=\"${target}\"}[5m]))", "sum by (a) (rate(x_total{a=\"web-1\"}[5m]))"),
        ("up{a=\"$target\",b=\"$\",c=~\"a$\"}", "up{a=\"$target\",b=\"$\",c=~\"a$\"}"),
    ];
    for (query, want) in cases {
        assert_eq!(about(query, "n.1").as_deref(), Some(want), "{query}");
    }
    assert_eq!(about("up{a=\"${label.other}\"}", "n"), None, "a label that the target has not");
}

#[test]
fn inv10_t33_a_value_can_neither_end_its_quotes_nor_match_more_than_itself() {
    // The value; inside double quotes; inside single ones; as a regular expression inside double quotes.
    let cases = [
        (
            r#""} or vector(1) #"#,
            r#"\"} or vector(1) #"#,
            r#""} or vector(1) #"#,
            r#"\"\\} or vector\\(1\\) #"#,
        ),
        ("'", "'", r"\'", "'"),
        (r"\", r"\\", r"\\", r"\\\\"),
        ("${target}", "${target}", "${target}", r"\\$\\{target\\}"),
        (".*|^$", ".*|^$", ".*|^$", r"\\.\\*\\|\\^\\$"),
    ];
    for (value, double, single, regex) in cases {
        assert_eq!(about("m{a=\"${label.node}\"}", value), Some(format!("m{{a=\"{double}\"}}")));
        assert_eq!(about("m{a='${label.node}'}", value), Some(format!("m{{a='{single}'}}")));
        assert_eq!(about("m{a=~\"${label.node}\"}", value), Some(format!("m{{a=~\"{regex}\"}}")));
    }
}

#[test]
fn a_parameter_stands_inside_the_quotes_of_a_matcher_or_nowhere() {
    let long = "x".repeat(MAX_QUERY + 1);
    let unknown = |word: &str| QueryFault::UnknownParam(format!("`{word}`"));
    let cases = [
        ("", QueryFault::Size(0)),
        (" \n", QueryFault::Size(2)),
        (long.as_str(), QueryFault::Size(MAX_QUERY + 1)),
        ("up > ${target}", QueryFault::Outside),
        ("${target}", QueryFault::Outside),
        ("up{${target}=\"a\"}", QueryFault::Outside),
        ("up{a=${target}}", QueryFault::Outside),
        ("up # ${target}", QueryFault::Outside),
        ("label_replace(up, \"a\", \"${target}\", \"b\", \"c\")", QueryFault::Outside),
        ("count_values(\"${target}\", up)", QueryFault::Outside),
        ("up{a=\"b\"} == \"${target}\"", QueryFault::Outside),
        ("up{a=`${target}`}", QueryFault::Raw),
        ("up{a=\"${agent}\"}", unknown("agent")),
        ("up{a=\"${label.}\"}", unknown("label.")),
        ("up{a=\"${label.A}\"}", unknown("label.A")),
        ("up{a=\"${}\"}", unknown("")),
        ("up{a=\"${ target}\"}", unknown(" target")),
        ("up{a=\"${target\"", QueryFault::Unterminated),
        ("up{a=\"b", QueryFault::Unterminated),
        ("up{a=\"b\\", QueryFault::Unterminated),
        ("up{a='b\n'}", QueryFault::Unterminated),
        ("up{a=`b", QueryFault::Unterminated),
        ("{__name__=\"x_total\"}", QueryFault::Nameless),
        ("count({__name__=~\".+\"})", QueryFault::Nameless),
    ];
    for (query, fault) in cases {
        assert_eq!(Promql::parse(query), Err(fault), "{query}");
    }
}

fn check(query: &str, data: &str) -> PromqlCheck {
    PromqlCheck {
        query: query.into(),
        is: Comparison::Above(1.0),
        data: data.into(),
        max_age_ms: ms(60_000),
        for_ms: None,
        step_ms: None,
        at_most_series: 1,
    }
}

fn fault(check: PromqlCheck) -> Option<CheckFault> {
    Check::Promql(check).check().err()
}

#[test]
fn a_counter_is_compared_by_its_rate_and_data_is_a_selector() {
    let bare = |name: &str| {
        Some(CheckFault::Query { field: "query", fault: QueryFault::BareCounter(name.to_owned()) })
    };
    for query in [
        "x_total",
        "x_total{a=\"b\"}",
        " ( x_total {a=\"}\"} ) ",
        "x_total # now",
        "x_total offset 5m",
        "x_total @ start()",
    ] {
        assert_eq!(fault(check(query, "up")), bare("x_total"), "{query}");
    }
    for name in ["x_count", "x_sum", "a:x_bucket"] {
        assert_eq!(fault(check(name, "up")), bare(name));
    }
    for query in ["up", "rate(x_total[5m])", "increase(x_total{a=\"b\"}[5m])", "total_x", "count(x_total)"] {
        assert_eq!(fault(check(query, "x_total")), None, "{query}");
    }
    let no_selector = Some(CheckFault::Query { field: "data", fault: QueryFault::NotASelector });
    for data in [
        "rate(x_total[5m])",
        "up[5m]",
        "up offset 1m",
        "up + up",
        "1",
        "vector(1)",
        "{a=\"b\"}",
        "up{a=\"b\"} or up",
    ] {
        assert_eq!(fault(check("up", data)), no_selector, "{data}");
    }
}

#[test]
fn limits_of_a_promql_check() {
    let with = |change: fn(&mut PromqlCheck)| {
        let mut check = check("up", "up");
        change(&mut check);
        fault(check)
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|c| c.max_age_ms = ms(0)), Some(CheckFault::Age(ms(0))));
    assert_eq!(with(|c| c.max_age_ms = ms(86_400_001)), Some(CheckFault::Age(ms(86_400_001))));
    assert_eq!(with(|c| c.at_most_series = 0), Some(CheckFault::Series(0)));
    assert_eq!(with(|c| c.at_most_series = 21), Some(CheckFault::Series(21)));
    assert_eq!(with(|c| c.for_ms = Some(ms(15_000))), None);
    assert_eq!(with(|c| c.for_ms = Some(ms(14_999))), Some(CheckFault::Steps), "no step at all");
    assert_eq!(with(|c| c.for_ms = Some(ms(501 * 15_000))), Some(CheckFault::Steps));
    assert_eq!(with(|c| c.step_ms = Some(ms(1000))), Some(CheckFault::Steps), "a step of nothing");
    assert_eq!(with(|c| (c.for_ms, c.step_ms) = (Some(ms(10_000)), Some(ms(99)))), Some(CheckFault::Steps));
    assert_eq!(with(|c| (c.for_ms, c.step_ms) = (Some(ms(10_000)), Some(ms(0)))), Some(CheckFault::Steps));
    assert_eq!(
        with(|c| c.is = Comparison::Below(f64::INFINITY)),
        Some(CheckFault::NotFinite("query".into()))
    );
}

#[test]
fn a_matcher_of_alerts_is_one_matcher() {
    let subject = |label: &str| {
        AlertMatcher::parse("a=\"${label.node}\"")
            .unwrap()
            .about(Subject { target: &target(label), service: &service() })
    };
    assert_eq!(subject("n\"1").as_deref(), Some("a=\"n\\\"1\""));
    for good in ["alertname=\"A\"", " a != \"${target}\" ", "a=~\"b|c\"", "a!~\"${label.node}.*\"", "a=\"}\""]
    {
        assert!(AlertMatcher::parse(good).is_ok(), "{good}");
    }
    let bad = [
        "a",
        "a=",
        "a=b",
        "a='b'",
        "a=`b`",
        "=\"b\"",
        "a==\"b\"",
        "a=\"b\",c=\"d\"",
        "a=\"b\"}",
        "{a=\"b\"}",
        "a=\"b\" or c=\"d\"",
        "1a=\"b\"",
        "a.b=\"c\"",
        "a=\"b\" # c",
        "a=\"b\"#\"",
    ];
    for bad in bad {
        assert_eq!(AlertMatcher::parse(bad), Err(QueryFault::NotAMatcher), "{bad}");
    }
    assert_eq!(AlertMatcher::parse("a=${target}"), Err(QueryFault::Outside));
    assert_eq!(AlertMatcher::parse("a=\"b"), Err(QueryFault::Unterminated));
}

#[test]
fn not_firing_needs_a_heartbeat_and_every_check_of_alerts_a_matcher() {
    let fault = |matchers: usize, expect: AlertExpect, heartbeat: usize| {
        let texts = |count: usize| vec!["alertname=\"A\"".to_owned(); count];
        let (matchers, heartbeat, max_age_ms) = (texts(matchers), texts(heartbeat), ms(1));
        Check::Alertmanager(AlertmanagerCheck { matchers, expect, heartbeat, max_age_ms }).check().err()
    };
    let matchers = |field: &'static str, got: usize| Some(CheckFault::Matchers { field, got });
    assert_eq!(fault(1, AlertExpect::NotFiring, 0), matchers("heartbeat", 0));
    assert_eq!(fault(1, AlertExpect::NotFiring, 1), None);
    for expect in [AlertExpect::Firing, AlertExpect::Silenced] {
        assert_eq!(fault(1, expect, 0), None);
        assert_eq!(fault(0, expect, 1), matchers("matchers", 0));
        assert_eq!(fault(17, expect, 1), matchers("matchers", 17));
        assert_eq!(fault(1, expect, 17), matchers("heartbeat", 17));
    }
}

#[test]
fn t33_a_statement_has_its_parameters_and_a_path_means_one_place() {
    let sql = |statement: &str, params: &[Param], is: Expected| {
        let (statement, params) = (statement.to_owned(), params.to_vec());
        Check::Sql(SqlCheck { statement, params, is }).check().err()
    };
    let (one, above) = ([Param::Target], || Expected::Above(1.0));
    assert_eq!(sql("SELECT 1", &[], above()), None);
    assert_eq!(sql("SELECT count(*) FROM a WHERE b = $1", &one, Expected::Bool(true)), None);
    assert_eq!(sql("SELECT 1", &one, above()), Some(CheckFault::Params(1)), "one that is not in it");
    assert_eq!(
        sql("SELECT '${target}'", &[], above()),
        Some(CheckFault::Params(0)),
        "it would be a part of the text"
    );
    assert_eq!(sql(" ", &[], above()), Some(CheckFault::Statement(1)));
    assert_eq!(sql("SELECT 1\0", &[], above()), Some(CheckFault::Statement(9)));
    assert_eq!(sql("SELECT 1", &[], Expected::Text("a".into())), Some(CheckFault::SqlText));
    assert_eq!(sql("SELECT 1", &[], Expected::Below(f64::NAN)), Some(CheckFault::NotFinite("is".into())));

    for good in ["$", "$.a", "$.a_1.ä", "$['a b'][0]", "$[\"'\"]", "$[10].b", "$['']"] {
        assert!(JsonPath::parse(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "a",
        ".a",
        "$a",
        "$.",
        "$..a",
        "$.*",
        "$[*]",
        "$[0:1]",
        "$[-1]",
        "$[01]",
        "$[ 0]",
        "$[0,1]",
        "$[?@.a]",
        "$['a'",
        "$['a\\'b']",
        "$.1a",
        "$.a b",
        "$.a-b",
        "$[]",
        "$['a']x",
        "$ ",
    ] {
        assert_eq!(JsonPath::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_value_is_compared_with_its_own_kind_alone() {
    let numbers = [Expected::Above(1.0), Expected::Below(1.0), Expected::Equals(1.0)];
    for expected in &numbers {
        assert_eq!(expected.holds(Scalar::Bool(true)), Err(Why::WrongType));
        assert_eq!(expected.holds(Scalar::Text("1")), Err(Why::WrongType));
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(expected.holds(Scalar::Number(odd)), Err(Why::NotANumber));
        }
    }
    assert_eq!(numbers[0].holds(Scalar::Number(2.0)), Ok(true));
    assert_eq!(numbers[1].holds(Scalar::Number(2.0)), Ok(false));
    assert_eq!(Expected::Bool(false).holds(Scalar::Bool(false)), Ok(true));
    assert_eq!(Expected::Bool(false).holds(Scalar::Number(0.0)), Err(Why::WrongType));
    assert_eq!(Expected::Text("a".into()).holds(Scalar::Text("A")), Ok(false));
}

#[test]
fn labels_are_short_and_can_be_printed() {
    let value = |text: &str| LabelValue::try_from(text.to_owned());
    for good in ["a", "web.1:9100", "\\", "\"", "Ünïcödé 漢字", &"x".repeat(MAX_LABEL)] {
        assert_eq!(value(good).map(String::from).as_deref(), Ok(good));
    }
    for bad in ["", "a\nb", "a\tb", "\0", "a\u{202e}b", "\u{200b}", &"x".repeat(MAX_LABEL + 1)] {
        assert!(value(bad).is_err(), "{bad:?}");
    }
    for word in ["target", "service", "environment", "label.node"] {
        assert_eq!(Param::parse(word).unwrap().to_string(), word);
    }
}

#[test]
fn addresses_hold_no_secret_and_read_the_same_for_everybody() {
    let url = |url: &str| Address::Url(url.to_owned()).check();
    for good in ["http://a", "https://a:1/b?c=d@e", "HTTP://[::1]:9090/prometheus"] {
        assert_eq!(url(good), Ok(()), "{good}");
    }
    for bad in ["http://u@a", "https://u:p@a/", "http://@a", "http://a@b?"] {
        assert_eq!(url(bad), Err(AddressFault::UserInfo), "{bad}");
    }
    for bad in ["", "a", "ftp://a", "http:a", "http://", "http:///a", "file:///etc/passwd"] {
        assert_eq!(url(bad), Err(AddressFault::Scheme), "{bad}");
    }
    let pinned = |at: Address| {
        let pin = Some(Digest::of_bytes(b"key"));
        Endpoint { source: id("s"), at, pin }.check()
    };
    assert_eq!(pinned(Address::Url("https://a".into())), Ok(()));
    assert_eq!(pinned(Address::Url("http://a".into())), Err(AddressFault::Pin));
    assert_eq!(pinned(Address::Tcp("a:1".into())), Err(AddressFault::Pin));
    let database = |host: &str, port: u16, database: &str| {
        let (host, database) = (host.to_owned(), database.to_owned());
        Address::Postgres(DatabaseAddress { host, port, database, login: id("l") }).check()
    };
    assert_eq!(database("10.0.0.7", 5432, "shop"), Ok(()));
    for (host, port, name) in
        [("", 1, "a"), ("a", 0, "a"), ("a", 1, ""), ("a\n", 1, "a"), ("a", 1, &"x".repeat(64))]
    {
        assert_eq!(database(host, port, name), Err(AddressFault::Database), "{host} {port} {name}");
    }
    for bad in ["http://a\\@b", "http://a b", "http://a\n", " http://a"] {
        assert_eq!(url(bad), Err(AddressFault::Characters), "{bad:?}");
    }
}

proptest! {
    /// Whatever a label is, the literal that it stands in ends where the catalogue ends it, and reads back as the label.
    #[test]
    fn inv10_a_literal_reads_back_as_its_value(value in "[ -~äß漢]{1,40}") {
        let query = about("m{a=\"${label.node}\"}", &value).unwrap();
        let inside = query.strip_prefix("m{a=\"").unwrap().strip_suffix("\"}").unwrap();
        let (mut read, mut chars) = (String::new(), inside.chars());
        while let Some(c) = chars.next() {
            prop_assert_ne!(c, '"', "the literal ends early: {}", query);
            read.push(if c == '\\' { chars.next().unwrap() } else { c });
        }
        prop_assert_eq!(read, value);
    }
}
