//! The reader of upstream blocks, case by case.

use super::*;

/// Finds server `a:1` of upstream `reports`.
fn find(text: &str) -> Result<Upstream<'_>, UpstreamError> {
    Upstream::find(text.as_bytes(), "reports", "a:1")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn isolating_changes_one_line_and_restoring_gives_every_byte_back() {
    let files = [
        ("upstream reports { server a:1; server b:2; }", "upstream reports { server a:1 down; server b:2; }"),
        ("upstream reports{server a:1;}", "upstream reports{server a:1 down;}"),
        (
            "# upstream reports { server a:1; }\nupstream reports {\n\tserver a:1 weight=2 ;# a:1\n}\n",
            "# upstream reports { server a:1; }\nupstream reports {\n\tserver a:1 weight=2 down ;# a:1\n}\n",
        ),
        (
            "upstream other { server a:1; }\r\nupstream reports {\r\n  server a:1;\r\n}\r\n",
            "upstream other { server a:1; }\r\nupstream reports {\r\n  server a:1 down;\r\n}\r\n",
        ),
        (
            "http { upstream reports { zone z 64k; server a:1 # why; }\n; } map $x ${y} { \"a;{\" 'b}'; }}",
            "http { upstream reports { zone z 64k; server a:1 down # why; }\n; } map $x ${y} { \"a;{\" 'b}'; }}",
        ),
    ];
    for (before, after) in files {
        let found = find(before).unwrap();
        assert!(!found.is_down(), "{before}");
        assert_eq!(text(found.with_down()), after);
        let isolated = find(after).unwrap();
        assert!(isolated.is_down() && isolated.digest() != found.digest(), "{after}");
        assert_eq!(text(isolated.without_down()), before);
        assert_eq!(text(isolated.with_line(found.line().unwrap()).unwrap()), before);
    }
}

#[test]
fn a_comment_before_the_word_down_stays_a_comment() {
    let found =
        find("upstream reports { server a:1 # c\n down weight=1; }").map(|found| found.without_down());
    assert_eq!(text(found.unwrap()), "upstream reports { server a:1 # c\n  weight=1; }");
}

#[test]
fn only_what_follows_the_address_takes_a_server_down() {
    assert!(!find("upstream reports { server a:1 weight=1; # down\n }").unwrap().is_down());
    let named = Upstream::find(b"upstream reports { server down; }", "reports", "down").unwrap();
    assert!(!named.is_down());
}

#[test]
fn the_others_that_take_traffic_are_counted() {
    let cases = [
        ("upstream reports { server a:1; }", 0),
        ("upstream reports { server a:1; server b:2 down; }", 0),
        ("upstream reports { server a:1 down; server b:2; server c:3 backup; }", 2),
        ("upstream reports { server a:1; # server b:2;\n}", 0),
    ];
    for (file, live) in cases {
        assert_eq!(find(file).unwrap().others_live(), live, "{file}");
    }
}

#[test]
fn the_digest_is_of_this_block_alone() {
    let one = "upstream reports { server a:1; }";
    let two = format!("server {{ listen 1; }}\n{one}\n# end");
    assert_eq!(find(one).unwrap().digest(), find(&two).unwrap().digest());
    let other = find("upstream reports { server a:1; server b:2; }").unwrap().digest();
    assert_ne!(find(one).unwrap().digest(), other);
}

#[test]
fn what_is_not_clear_is_refused() {
    use UpstreamError::{Blocks, Foreign, Lines, Syntax};
    let cases = [
        ("", Blocks(0)),
        ("upstream other { server a:1; }", Blocks(0)),
        ("upstream reports { server a:1; } upstream reports { server a:1; }", Blocks(2)),
        ("upstream \"reports\" { server a:1; }", Blocks(0)),
        ("upstream reports { server b:2; }", Lines(0)),
        ("upstream reports { server a:1; server a:1 backup; }", Lines(2)),
        ("upstream reports { server a:10; server \"a:1\"; }", Lines(0)),
        ("upstream reports { server a:1; include more; }", Foreign),
        ("upstream reports { server a:1; balancer_by_lua_block { x } }", Syntax),
        ("upstream reports { server a:1; match { x; } }", Foreign),
        ("upstream reports { server a:1; ", Syntax),
        ("upstream reports { server a:1; } }", Syntax),
        ("upstream reports { server a:1 }", Syntax),
        ("upstream reports { server a:1; } # }\n'", Syntax),
        ("upstream reports { ; server a:1; }", Syntax),
    ];
    for (file, want) in cases {
        assert_eq!(find(file).map(|_| ()), Err(want), "{file}");
    }
}

#[test]
fn only_a_line_of_the_same_server_is_put_back() {
    let file = "upstream reports { server a:1 down; }";
    let found = find(file).unwrap();
    assert!(found.with_line("server a:1 weight=3;").is_ok());
    let bad = [
        "",
        "server a:1",
        "server b:2;",
        "server a:1; server b:2;",
        " server a:1;",
        "server a:1; } upstream y { server a:1;",
        "server a:1; include more;",
    ];
    for line in bad {
        assert_eq!(found.with_line(line), Err(UpstreamError::Snapshot), "{line}");
    }
}
