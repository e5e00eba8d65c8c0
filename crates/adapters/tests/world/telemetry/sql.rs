//! Values of a real PostgreSQL, as a role that cannot write.

use std::sync::Arc;

use holdpoint_adapters::{
    probe::{ProbeLogin, WorldProber},
    system::SystemClock,
};
use holdpoint_domain::{
    target::{Address, DatabaseAddress},
    trigger::{Check, Expected, Param, SqlCheck, Truth, Why},
};

use super::{ANSWERS_MS, said, target_at};
use crate::corpora::attacks;
use crate::world::{
    postgres::server::{ADMIN, Postgres, secret},
    probe_network::{condition, measure, probe},
    server::{Server, refusing},
    support::id,
};

use Truth::{DoesNotHold as No, Holds as Yes, Indeterminate as Unknown};

/// A password that must never be seen anywhere but in its file.
const PROBER: &str = "canary-prober-5f1e";

fn sql(statement: &str, params: &[Param], is: Expected) -> SqlCheck {
    SqlCheck { statement: statement.to_owned(), params: params.to_vec(), is }
}

fn address(port: u16, login: &str) -> Address {
    let host = "127.0.0.1".to_owned();
    Address::Postgres(DatabaseAddress { host, port, database: "shop".to_owned(), login: id(login) })
}

struct Scene {
    postgres: Postgres,
    prober: WorldProber,
}

impl Scene {
    async fn new() -> Self {
        let postgres = Postgres::start().await;
        let admin = postgres.admin("shop").await;
        for statement in [
            "CREATE ROLE prober LOGIN PASSWORD 'canary-prober-5f1e'",
            "CREATE ROLE writer LOGIN PASSWORD 'canary-prober-5f1e'",
            "CREATE ROLE sneaky LOGIN NOINHERIT PASSWORD 'canary-prober-5f1e'",
            "GRANT pg_write_all_data TO sneaky",
            "CREATE TABLE orders (shard text, waiting int, share numeric, stuck boolean)",
            "INSERT INTO orders VALUES ('web-1', 7, 0.125, true), ('a', 1, 'NaN', NULL), ('b', 2, 'Infinity', false)",
            "GRANT SELECT ON orders TO prober, writer",
            "GRANT INSERT ON orders TO writer",
            "CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'canary-prober-5f1e'",
            "CREATE ROLE columnist LOGIN PASSWORD 'canary-prober-5f1e'",
            "GRANT SELECT, UPDATE (waiting) ON orders TO columnist",
            "CREATE SEQUENCE numbers",
            "GRANT ALL ON numbers TO prober",
        ] {
            admin.run(statement).await.unwrap();
        }
        secret(&postgres.path("prober"), PROBER);
        secret(&postgres.path("wrong"), "canary-wrong");
        secret(&postgres.path("postgres"), ADMIN);
        let login = |user: &str, file: &str| ProbeLogin {
            user: user.to_owned(),
            password_file: postgres.path(file),
            ca_file: None,
        };
        let logins = [
            (id("prober"), login("prober", "prober")),
            (id("writer"), login("writer", "prober")),
            (id("sneaky"), login("sneaky", "prober")),
            (id("maker"), login("maker", "prober")),
            (id("columnist"), login("columnist", "prober")),
            (id("admin"), login("postgres", "postgres")),
            (id("wrong"), login("prober", "wrong")),
            (id("no-file"), login("prober", "nowhere")),
        ];
        let prober = WorldProber::new(Arc::new(SystemClock::new()), None).unwrap();
        Self { postgres, prober: prober.with_logins(logins.into()) }
    }

    async fn ask(&self, check: SqlCheck, login: &str, label: &str) -> (Truth, Why, Option<f64>) {
        self.ask_at(check, address(self.postgres.port, login), label, ANSWERS_MS).await
    }

    async fn ask_at(
        &self,
        check: SqlCheck,
        at: Address,
        label: &str,
        limit_ms: u64,
    ) -> (Truth, Why, Option<f64>) {
        let check = Check::Sql(check);
        check.check().unwrap_or_else(|fault| panic!("{check:?}: {fault}"));
        let labels: &[_] = if label.is_empty() { &[] } else { &[("shard", label)] };
        let asked = condition(1, vec![probe("e", limit_ms, check)]);
        let reading = measure(&self.prober, &asked, &target_at(at, labels)).await.remove(0);
        (reading.truth, reading.why, reading.value)
    }
}

#[tokio::test]
async fn t33_a_real_database_answers_one_value_to_a_role_that_cannot_write() {
    let scene = Scene::new().await;
    let above = || Expected::Above(5.0);
    let cases = [
        ("SELECT waiting FROM orders WHERE shard = 'web-1'", above(), Yes, Why::Measured, Some(7.0)),
        ("SELECT count(*) FROM orders", above(), No, Why::Measured, Some(3.0)),
        (
            "SELECT sum(waiting)::numeric / 4 FROM orders",
            Expected::Equals(2.5),
            Yes,
            Why::Measured,
            Some(2.5),
        ),
        (
            "SELECT share FROM orders WHERE shard = 'web-1'",
            Expected::Below(0.2),
            Yes,
            Why::Measured,
            Some(0.125),
        ),
        ("SELECT 7.5::float4", above(), Yes, Why::Measured, Some(7.5)),
        ("SELECT 7::smallint", above(), Yes, Why::Measured, Some(7.0)),
        ("SELECT bool_or(stuck) FROM orders", Expected::Bool(true), Yes, Why::Measured, None),
        ("SELECT bool_and(stuck) FROM orders", Expected::Bool(true), No, Why::Measured, None),
        ("SELECT share FROM orders WHERE shard = 'a'", above(), Unknown, Why::NotANumber, None),
        ("SELECT share FROM orders WHERE shard = 'b'", above(), Unknown, Why::NotANumber, None),
        ("SELECT stuck FROM orders WHERE shard = 'a'", Expected::Bool(true), Unknown, Why::NotANumber, None),
        ("SELECT NULL::int", above(), Unknown, Why::NotANumber, None),
        ("SELECT waiting FROM orders WHERE shard = 'x'", above(), Unknown, Why::NoData, None),
        ("SELECT waiting FROM orders", above(), Unknown, Why::Ambiguous, None),
        ("SELECT 6 FROM generate_series(1, 100000000)", above(), Unknown, Why::Ambiguous, None),
        ("SELECT waiting, waiting FROM orders LIMIT 1", above(), Unknown, Why::WrongType, None),
        ("SELECT '6'", above(), Unknown, Why::WrongType, None),
        ("SELECT true", above(), Unknown, Why::WrongType, None),
        ("SELECT 1", Expected::Bool(true), Unknown, Why::WrongType, None),
        ("SELECT now()", above(), Unknown, Why::WrongType, None),
        ("SELECT 6; SELECT 7", above(), Unknown, Why::Rejected, None),
        ("SELECT 6 FROM nowhere", above(), Unknown, Why::Rejected, None),
        ("SELEKT 6", above(), Unknown, Why::Rejected, None),
        ("COPY (SELECT 6) TO PROGRAM 'true'", above(), Unknown, Why::WrongType, None),
        ("SELECT 6 / 0", above(), Unknown, Why::Rejected, None),
        ("SELECT nextval('numbers')", above(), Unknown, Why::Rejected, None),
        (
            "INSERT INTO orders VALUES ('c', 6, 6, true) RETURNING waiting",
            above(),
            Unknown,
            Why::Rejected,
            None,
        ),
        (
            "WITH s AS (SELECT set_config('transaction_read_only', 'off', false)) SELECT 6 FROM s",
            above(),
            Unknown,
            Why::Rejected,
            None,
        ),
    ];
    for (statement, is, truth, why, value) in cases {
        assert_eq!(
            scene.ask(sql(statement, &[], is), "prober", "").await,
            (truth, why, value),
            "{statement}"
        );
    }
    let count = sql("SELECT count(*) FROM orders", &[], Expected::Equals(3.0));
    assert_eq!(scene.ask(count.clone(), "prober", "").await.0, Yes, "nothing was written");

    for login in ["writer", "sneaky", "maker", "columnist", "admin"] {
        assert_eq!(scene.ask(count.clone(), login, "").await, (Unknown, Why::MayWrite, None), "{login}");
    }
    assert_eq!(scene.ask(count.clone(), "wrong", "").await, (Unknown, Why::Rejected, None));
    for login in ["no-file", "nobody"] {
        assert_eq!(scene.ask(count.clone(), login, "").await, (Unknown, Why::OurFault, None), "{login}");
    }
    let slow = sql("SELECT 6 FROM pg_sleep(60)", &[], above());
    let slow = scene.ask_at(slow, address(scene.postgres.port, "prober"), "", 1500).await;
    assert_eq!(slow, (Unknown, Why::TimedOut, None));

    parameters(&scene).await;
    texts_beside_values(&scene).await;
    assert!(!scene.postgres.log().contains("canary-prober-5f1e' "), "t29: a password in the log");
}

/// What the inventory adds is a value and never a part of the statement.
async fn parameters(scene: &Scene) {
    let label = || Param::Label(id("shard"));
    let waiting =
        |param: Param| sql("SELECT waiting FROM orders WHERE shard = $1", &[param], Expected::Above(5.0));
    assert_eq!(scene.ask(waiting(Param::Target), "prober", "").await.0, Yes);
    for hostile in ["' OR '1'='1", "x'; DROP TABLE orders; --", "$1", "\\", "web-1' --"] {
        let read = scene.ask(waiting(label()), "prober", hostile).await;
        assert_eq!(read, (Unknown, Why::NoData, None), "{hostile}");
        let same = sql("SELECT $1 = $2", &[label(), label()], Expected::Bool(true));
        assert_eq!(scene.ask(same, "prober", hostile).await.0, Yes, "{hostile}");
        let length = u32::try_from(hostile.len()).unwrap();
        let long = sql("SELECT length($1)", &[label()], Expected::Equals(f64::from(length)));
        assert_eq!(scene.ask(long, "prober", hostile).await.0, Yes, "{hostile}");
    }
    assert_eq!(scene.ask(waiting(label()), "prober", "").await, (Unknown, Why::NoEndpoint, None));
    let all = [Param::Target, Param::Service, Param::Environment];
    let words = sql("SELECT $1 || $2 || $3 = 'web-1webproduction'", &all, Expected::Bool(true));
    assert_eq!(scene.ask(words, "prober", "").await.0, Yes);
}

/// Whatever stands in the text columns of a row, the value beside it is read the same; PostgreSQL has no text with a NUL.
async fn texts_beside_values(scene: &Scene) {
    let admin = scene.postgres.admin("shop").await;
    admin.run("CREATE TABLE notes (waiting int, note text, \"why\" text)").await.unwrap();
    admin.run("GRANT SELECT ON notes TO prober").await.unwrap();
    let asked = "SELECT max(waiting) FROM (SELECT waiting, note, why FROM notes) AS all_of_it";
    for attack in attacks().into_iter().filter(|attack| !attack.text.contains('\0')) {
        let text = attack.text.replace('\'', "''");
        admin.run("DELETE FROM notes").await.unwrap();
        admin.run(&format!("INSERT INTO notes VALUES (7, '{text}', '{text}')")).await.unwrap();
        let read = scene.ask(sql(asked, &[], Expected::Above(5.0)), "prober", "").await;
        assert_eq!(read, (Yes, Why::Measured, Some(7.0)), "{:?}", attack.text);
    }
}

#[tokio::test]
async fn t32_a_server_that_speaks_nonsense_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    secret(&dir.path().join("prober"), PROBER);
    let login =
        ProbeLogin { user: "prober".to_owned(), password_file: dir.path().join("prober"), ca_file: None };
    let prober = WorldProber::new(Arc::new(SystemClock::new()), None).unwrap();
    let prober = prober.with_logins([(id("prober"), login)].into());
    // It lets everybody in, and answers the first question with a row that is shorter than it says.
    let short = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05ID\0\0\0\x06\0\x09".to_vec();
    let speaks = |bytes: Vec<u8>| {
        Server::start(move |mut stream| {
            use std::io::{Read as _, Write as _};
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&bytes);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    };
    let cases = [
        ("hangs", Server::hang().address, Why::TimedOut),
        ("a page", speaks(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).address, Why::TimedOut),
        ("a short row", speaks(short).address, Why::TimedOut),
        ("a large message", speaks(b"D\x7f\xff\xff\xff".to_vec()).address, Why::TimedOut),
        ("nobody", refusing(), Why::Broken),
    ];
    for (what, address, why) in cases {
        let check = Check::Sql(sql("SELECT 6", &[], Expected::Above(5.0)));
        let asked = condition(1, vec![probe("e", 700, check)]);
        let target = target_at(self::address(address.port(), "prober"), &[]);
        let reading = measure(&prober, &asked, &target).await.remove(0);
        assert_eq!(said(&reading).0, Unknown, "{what}");
        assert!([why, Why::Broken, Why::Garbage].contains(&reading.why), "{what}: {:?}", reading.why);
    }
}
