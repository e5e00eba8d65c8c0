//! The statements that make and end a task's role.

use crate::postgres::{Warrant, quote_identifier, quote_literal};

/// Grants on one object, and their ends, are not made side by side: the server fails one of the two. So tasks of one database come
/// one after the other. Whoever is to be kept out could hold an advisory lock for ever; this one takes a right that only the
/// issuer has.
pub(super) const ONE_AT_A_TIME: &str = "LOCK TABLE holdpoint.warrant IN SHARE ROW EXCLUSIVE MODE";
/// Most sessions of a task: one at work, and one that looks.
const CONNECTIONS: u32 = 4;

/// What a role is allowed. `name` and `text` are the role's name as identifier and as literal: quoted by whoever calls.
fn grants(name: &str, text: &str, warrants: &[Warrant]) -> Vec<String> {
    let mut sql = vec![
        // For a holder that minds them; one that does not is ended by the issuer, or by the reaper.
        format!("ALTER ROLE {name} SET statement_timeout = '15s'"),
        format!("ALTER ROLE {name} SET lock_timeout = '5s'"),
        format!("ALTER ROLE {name} SET idle_in_transaction_session_timeout = '10s'"),
        format!("ALTER ROLE {name} SET idle_session_timeout = '60s'"),
        // A member may end the role's sessions and drop what it owns.
        format!("GRANT {name} TO CURRENT_USER"),
        format!("GRANT USAGE ON SCHEMA holdpoint TO {name}"),
        format!("GRANT EXECUTE ON FUNCTION holdpoint.look(integer, bigint) TO {name}"),
    ];
    for warrant in warrants {
        let (verb, function) = (warrant.verb.as_str(), warrant.verb.function());
        sql.push(format!("GRANT EXECUTE ON FUNCTION {function}(integer, bigint) TO {name}"));
        sql.push(format!(
            "INSERT INTO holdpoint.warrant VALUES ({text}, '{verb}', {}, {})",
            warrant.pid, warrant.started_us
        ));
    }
    sql
}

/// Makes a role, all or nothing.
pub(super) fn create(role: &str, verifier: &str, life_ms: u64, warrants: &[Warrant]) -> String {
    format!("BEGIN;\n{};\nCOMMIT", made(role, &quote_literal(verifier), life_ms, warrants).join(";\n"))
}

/// What makes a role, one statement each. `password` is a literal of SQL. Its end is counted by the server's own clock.
pub(super) fn made(role: &str, password: &str, life_ms: u64, warrants: &[Warrant]) -> Vec<String> {
    let (name, text) = (quote_identifier(role), quote_literal(role));
    let made = format!(
        "CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         CONNECTION LIMIT {CONNECTIONS} PASSWORD {password}"
    );
    // VALID UNTIL takes a literal alone, so the server writes it itself. From the begin of the transaction: whoever waits for the
    // lock lives no longer for it.
    let until = format!(
        "DO $until$ BEGIN EXECUTE format('ALTER ROLE %I VALID UNTIL %L', {text}, \
         transaction_timestamp() + {life_ms} * interval '1 millisecond'); END $until$"
    );
    let mut sql = vec![ONE_AT_A_TIME.to_owned(), made, until];
    sql.extend(grants(&name, &text, warrants));
    sql
}

/// Keeps a role from logging in.
pub(super) fn bar(role: &str) -> String {
    format!("ALTER ROLE {} NOLOGIN", quote_identifier(role))
}

/// Ends the sessions of a role, each waited for.
pub(super) fn end_sessions(role: &str) -> String {
    format!(
        "SELECT pg_terminate_backend(pid, 2000)::text FROM pg_stat_activity WHERE usename = {}",
        quote_literal(role)
    )
}

/// How many sessions a role has.
pub(super) fn sessions(role: &str) -> String {
    format!("SELECT count(*)::text FROM pg_stat_activity WHERE usename = {}", quote_literal(role))
}

/// The databases in which something belongs to a role, or is allowed to it.
pub(super) fn databases(role: &str) -> String {
    format!(
        "SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid \
         JOIN pg_roles r ON r.oid = s.refobjid \
         WHERE s.refclassid = 'pg_authid'::regclass AND d.datallowconn AND r.rolname = {}",
        quote_literal(role)
    )
}

/// Drops what a role owns in the database of the grants, and takes back what it was allowed there.
pub(super) fn drop_owned(role: &str) -> String {
    format!("BEGIN; {ONE_AT_A_TIME}; {}; COMMIT", drop_owned_elsewhere(role))
}

/// The same in another database, where nothing of ours is made beside it.
pub(super) fn drop_owned_elsewhere(role: &str) -> String {
    format!("DROP OWNED BY {} CASCADE", quote_identifier(role))
}

/// Drops a role and its warrants.
pub(super) fn drop_role(role: &str) -> String {
    let (name, text) = (quote_identifier(role), quote_literal(role));
    format!("BEGIN; DELETE FROM holdpoint.warrant WHERE role = {text}; DROP ROLE IF EXISTS {name}; COMMIT")
}

/// Whether a role is there.
pub(super) fn is_there(role: &str) -> String {
    format!("SELECT count(*)::text FROM pg_roles WHERE rolname = {}", quote_literal(role))
}

/// The roles whose names begin like ours.
pub(super) fn all(prefix: &str) -> String {
    format!("SELECT rolname FROM pg_roles WHERE starts_with(rolname, {})", quote_literal(prefix))
}
