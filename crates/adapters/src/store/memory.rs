//! The projections in memory: what the fold of the log builds, and what the tables are compared with and rewritten from.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use holdpoint_app::port::PlanRow;
use holdpoint_domain::{Id, id::kind, lease::LeaseInfo};
use rusqlite::Connection;

use super::apply::{NonceRow, Rows, Stop};
use super::rows::{PLAN_COLUMNS, Tables, lease_row, parsed, plan_row};

type BadOutcome = (Id<kind::Agent>, Id<kind::Action>, Id<kind::Plan>);

/// All projections that stand in tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    plans: HashMap<Id<kind::Plan>, PlanRow>,
    nonces: HashMap<Id<kind::Nonce>, NonceRow>,
    decisions: HashSet<(Id<kind::Hold>, Id<kind::Person>)>,
    locks: HashMap<Id<kind::Target>, Id<kind::Plan>>,
    leases: HashMap<Id<kind::Lease>, (Id<kind::Plan>, LeaseInfo)>,
    bad_outcomes: HashSet<BadOutcome>,
}

impl Rows for Memory {
    fn plan(&mut self, id: &Id<kind::Plan>) -> Result<Option<PlanRow>, Stop> {
        // Taken out, not copied: `apply` always puts it back, and a fold that `apply` refuses is thrown away.
        Ok(self.plans.remove(id))
    }

    fn put_plan(&mut self, row: PlanRow) -> Result<(), Stop> {
        self.plans.insert(row.id.clone(), row);
        Ok(())
    }

    fn nonce(&mut self, nonce: &Id<kind::Nonce>) -> Result<Option<NonceRow>, Stop> {
        Ok(self.nonces.get(nonce).cloned())
    }

    fn put_nonce(&mut self, nonce: &Id<kind::Nonce>, row: NonceRow) -> Result<(), Stop> {
        self.nonces.insert(nonce.clone(), row);
        Ok(())
    }

    fn add_decision(&mut self, hold: &Id<kind::Hold>, person: &Id<kind::Person>) -> Result<bool, Stop> {
        Ok(self.decisions.insert((hold.clone(), person.clone())))
    }

    fn holder(&mut self, target: &Id<kind::Target>) -> Result<Option<Id<kind::Plan>>, Stop> {
        Ok(self.locks.get(target).cloned())
    }

    fn lock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Stop> {
        self.locks.insert(target.clone(), plan.clone());
        Ok(())
    }

    fn unlock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Stop> {
        if self.locks.get(target) == Some(plan) {
            self.locks.remove(target);
        }
        Ok(())
    }

    fn put_lease(&mut self, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> Result<(), Stop> {
        self.leases.insert(lease.id.clone(), (plan.clone(), lease.clone()));
        Ok(())
    }

    fn end_lease(&mut self, lease: &Id<kind::Lease>) -> Result<(), Stop> {
        self.leases.remove(lease);
        Ok(())
    }

    fn add_bad_outcome(&mut self, row: &PlanRow) -> Result<(), Stop> {
        self.bad_outcomes.insert((row.agent.clone(), row.action.clone(), row.id.clone()));
        Ok(())
    }
}

impl Memory {
    /// What the tables say.
    fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut memory = Self::default();
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
        each(conn, "SELECT target, plan FROM locks", |row| {
            memory.locks.insert(parsed(row, 0)?, parsed(row, 1)?);
            Ok(())
        })?;
        each(conn, "SELECT plan, info, lease FROM leases", |row| {
            memory.leases.insert(parsed(row, 2)?, lease_row(row)?);
            Ok(())
        })?;
        each(conn, "SELECT agent, action, plan FROM bad_outcomes", |row| {
            memory.bad_outcomes.insert((parsed(row, 0)?, parsed(row, 1)?, parsed(row, 2)?));
            Ok(())
        })?;
        Ok(memory)
    }

    /// Whether the tables, and the indexes over them, say exactly this. Damage counts as "no".
    pub(super) fn is_in(&self, conn: &Connection) -> bool {
        Self::load(conn).is_ok_and(|loaded| loaded == *self) && is_sound(conn)
    }

    /// Replaces what the tables say by this. Call it inside a transaction.
    pub(super) fn rewrite(self, conn: &Connection) -> Result<(), Stop> {
        // Rows that point to plans go first.
        for table in PROJECTIONS.iter().rev() {
            conn.execute(&format!("DELETE FROM {table}"), [])?;
        }
        let mut tables = Tables::new(conn);
        self.plans.into_values().try_for_each(|row| tables.put_plan(row))?;
        tables.finish()?;
        let mut tables = Tables::new(conn);
        for (nonce, row) in sorted(self.nonces) {
            tables.put_nonce(&nonce, row)?;
        }
        for (hold, person) in self.decisions {
            tables.add_decision(&hold, &person)?;
        }
        for (target, plan) in self.locks {
            tables.lock(&target, &plan)?;
        }
        for (plan, lease) in self.leases.into_values() {
            tables.put_lease(&plan, &lease)?;
        }
        let mut bad =
            conn.prepare_cached("INSERT INTO bad_outcomes (agent, action, plan) VALUES (?1, ?2, ?3)")?;
        for (agent, action, plan) in self.bad_outcomes {
            bad.execute([agent.as_str(), action.as_str(), plan.as_str()])?;
        }
        Ok(())
    }
}

/// The tables of projections; those that others point to come first.
const PROJECTIONS: [&str; 6] = ["plans", "nonces", "decisions_on_hold", "locks", "leases", "bad_outcomes"];

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
