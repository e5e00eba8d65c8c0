//! The projections in memory and in tables: what the fold of the log builds, what the tables are compared with and rewritten from.

use std::collections::HashMap;
use std::hash::Hash;

use holdpoint_app::projection::{
    apply::{NonceRow, Rows as _},
    memory::Memory,
};
use rusqlite::Connection;

use super::rows::{
    PLAN_COLUMNS, Tables, account_row, change_row, invitation_row, lease_row, parsed, plan_row, run_row,
};

/// What the tables say.
fn load(conn: &Connection) -> rusqlite::Result<Memory> {
    let mut memory = Memory::default();
    each(conn, &format!("SELECT {PLAN_COLUMNS} FROM plans"), |row| {
        let row = plan_row(row)?;
        memory.plans.insert(row.id.clone(), row);
        Ok(())
    })?;
    each(conn, "SELECT nonce, plan, used FROM nonces", |row| {
        memory.nonces.insert(parsed(row, 0)?, NonceRow { plan: parsed(row, 1)?, used: row.get(2)? });
        Ok(())
    })?;
    each(conn, "SELECT hold, person FROM decisions_on_hold", |row| {
        memory.decisions.insert((parsed(row, 0)?, parsed(row, 1)?));
        Ok(())
    })?;
    each(conn, "SELECT passkey, counter FROM passkeys_used", |row| {
        memory.counters.insert(parsed(row, 0)?, row.get(1)?);
        Ok(())
    })?;
    each(conn, "SELECT row, act FROM invitations", |row| {
        memory.invitations.insert(parsed(row, 1)?, invitation_row(row)?);
        Ok(())
    })?;
    each(conn, "SELECT row, digest, first_index FROM accounts", |row| {
        memory.accounts.insert(parsed(row, 1)?, account_row(row)?);
        Ok(())
    })?;
    each(conn, "SELECT target, plan FROM locks", |row| {
        memory.locks.insert(parsed(row, 0)?, parsed(row, 1)?);
        Ok(())
    })?;
    each(conn, "SELECT plan, info, lease FROM leases", |row| {
        memory.leases.insert(parsed(row, 2)?, lease_row(row)?);
        Ok(())
    })?;
    each(conn, "SELECT row, incident, last_at, open, owing, plan FROM runs", |row| {
        let run = run_row(row)?;
        memory.runs.insert(run.plan.clone(), run);
        Ok(())
    })?;
    each(conn, "SELECT row, id, first_index FROM input_changes", |row| {
        let change = change_row(row)?;
        memory.input_changes.insert(change.terms.id.clone(), change);
        Ok(())
    })?;
    Ok(memory)
}

/// Whether the tables, and the indexes over them, say exactly this. Damage counts as "no".
pub(super) fn is_in(memory: &Memory, conn: &Connection) -> bool {
    load(conn).is_ok_and(|loaded| loaded == *memory) && is_sound(conn)
}

/// Replaces what the tables say by this. Call it inside a transaction.
pub(super) fn rewrite(memory: Memory, conn: &Connection) -> rusqlite::Result<()> {
    // Rows that point to plans go first.
    for table in PROJECTIONS.iter().rev() {
        conn.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let mut tables = Tables::new(conn);
    memory.plans.into_values().try_for_each(|row| tables.put_plan(row))?;
    tables.finish()?;
    let mut tables = Tables::new(conn);
    for (nonce, row) in sorted(memory.nonces) {
        tables.put_nonce(&nonce, row)?;
    }
    for (hold, person) in memory.decisions {
        tables.add_decision(&hold, &person)?;
    }
    for (passkey, counter) in memory.counters {
        tables.put_counter(&passkey, counter)?;
    }
    memory.invitations.into_values().try_for_each(|row| tables.put_invitation(row))?;
    for (digest, row) in memory.accounts {
        tables.put_account(digest, row)?;
    }
    for (target, plan) in memory.locks {
        tables.lock(&target, &plan)?;
    }
    for (plan, lease) in memory.leases.into_values() {
        tables.put_lease(&plan, &lease)?;
    }
    memory.runs.into_values().try_for_each(|row| tables.put_run(row))?;
    memory.input_changes.into_values().try_for_each(|row| tables.put_input_change(row))
}

/// The tables of projections; those that others point to come first.
const PROJECTIONS: [&str; 10] = [
    "plans",
    "nonces",
    "decisions_on_hold",
    "passkeys_used",
    "invitations",
    "accounts",
    "locks",
    "leases",
    "runs",
    "input_changes",
];

/// Whether SQLite finds the projections' indexes in agreement with their tables.
fn is_sound(conn: &Connection) -> bool {
    let is_ok = |table: &&str| {
        let answer: rusqlite::Result<String> =
            conn.query_row(&format!("PRAGMA integrity_check('{table}')"), [], |row| row.get(0));
        answer.is_ok_and(|answer| answer == "ok")
    };
    PROJECTIONS.iter().all(is_ok)
}

fn each(
    conn: &Connection,
    sql: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// In key order a table grows at its end.
fn sorted<K: Ord + Hash, V>(map: HashMap<K, V>) -> Vec<(K, V)> {
    let mut rows: Vec<_> = map.into_iter().collect();
    rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    rows
}
