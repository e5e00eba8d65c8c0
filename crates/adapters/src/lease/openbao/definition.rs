//! What OpenBao is told to do in the database for one lease: the same role, grants and warrants as without it, and its end.

use serde::Serialize;

use crate::{
    lease::sql,
    postgres::{Warrant, quote_identifier, quote_literal},
};

/// The words by which a refusal of ours is known in an answer.
pub(super) const PLAIN: &str = "holdpoint: passwords come in plain text";
/// A connection that hands over plain passwords would write them into the server's log of statements. What fails here made no role.
const IS_VERIFIER: &str = "DO $check$ BEGIN IF '{{password}}' NOT LIKE 'SCRAM-SHA-256$%' THEN \
     RAISE EXCEPTION 'holdpoint: passwords come in plain text'; END IF; END $check$";
/// What was done so far holds for others too from here on, whatever becomes of the rest: nobody logs in while sessions are ended.
const FOR_GOOD: &str = "COMMIT; BEGIN";

/// A role definition of OpenBao's database engine. Each statement is sent for itself, in one transaction.
#[derive(Debug, Serialize)]
pub(super) struct Definition<'a> {
    db_name: &'a str,
    credential_type: &'static str,
    default_ttl: u64,
    max_ttl: u64,
    creation_statements: Vec<String>,
    revocation_statements: Vec<String>,
    /// A lease is never made longer: who renews one, by whatever token, bars its role.
    renew_statements: Vec<String>,
}

impl<'a> Definition<'a> {
    /// Makes the role of a lease, and ends it.
    pub(super) fn of(connection: &'a str, role: &str, life_ms: u64, warrants: &[Warrant]) -> Self {
        let mut creation = vec![IS_VERIFIER.to_owned()];
        creation.extend(sql::made(role, "'{{password}}'", life_ms, warrants));
        Self::with(connection, role, seconds(life_ms), creation)
    }

    /// Ends a role that OpenBao made and then forgot: whoever asks for its credentials takes the role down.
    pub(super) fn to_end(connection: &'a str, role: &str) -> Self {
        Self::with(connection, role, 1, ended(role))
    }

    fn with(connection: &'a str, role: &str, ttl_secs: u64, creation_statements: Vec<String>) -> Self {
        Self {
            db_name: connection,
            credential_type: "password",
            default_ttl: ttl_secs,
            max_ttl: ttl_secs,
            creation_statements,
            revocation_statements: ended(role),
            renew_statements: vec![sql::bar(role)],
        }
    }
}

/// A life in the whole seconds that OpenBao counts, never longer. The shortest life of a lease is one second.
pub(super) const fn seconds(life_ms: u64) -> u64 {
    life_ms / 1_000
}

/// Runs a statement where the role is there: an end that is tried again finds less than the first time.
fn where_there(role: &str, statement: &str) -> String {
    let text = quote_literal(role);
    format!(
        "DO $there$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = {text}) THEN {statement}; END IF; END $there$"
    )
}

/// No login any more, for good; sessions ended; nothing left in this database; dropped.
fn ended(role: &str) -> Vec<String> {
    let (name, text) = (quote_identifier(role), quote_literal(role));
    vec![
        where_there(role, &sql::bar(role)),
        FOR_GOOD.to_owned(),
        sql::end_sessions(role),
        // The view is one picture a transaction.
        format!(
            "DO $left$ BEGIN PERFORM pg_stat_clear_snapshot(); \
             IF EXISTS (SELECT FROM pg_stat_activity WHERE usename = {text}) THEN \
             RAISE EXCEPTION 'holdpoint: sessions do not end'; END IF; END $left$"
        ),
        sql::ONE_AT_A_TIME.to_owned(),
        where_there(role, &format!("DROP OWNED BY {name} CASCADE")),
        format!("DELETE FROM holdpoint.warrant WHERE role = {text}"),
        format!("DROP ROLE IF EXISTS {name}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_never_rounded_up_and_never_to_none() {
        let cases = [(1_000, 1), (1_999, 1), (2_000, 2), (900_000, 900)];
        for (life_ms, secs) in cases {
            assert_eq!(seconds(life_ms), secs);
        }
    }

    #[test]
    fn a_plain_password_is_refused_before_anything_else_is_done() {
        let definition = Definition::of("orders", "hp_0_1", 5_000, &[]);
        assert!(definition.creation_statements[0].contains(PLAIN));
        assert_eq!((definition.default_ttl, definition.max_ttl), (5, 5));
    }

    #[test]
    fn inv08_no_login_holds_for_good_before_sessions_are_ended() {
        let ended = ended("hp_0_1");
        let place = |word: &str| ended.iter().position(|statement| statement.contains(word)).unwrap();
        let order = ["NOLOGIN", "COMMIT", "pg_terminate_backend", "DROP OWNED", "DROP ROLE"].map(place);
        assert!(order.is_sorted(), "{ended:?}");
    }
}
