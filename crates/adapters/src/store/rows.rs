//! The projections as tables: reading a row, and the writer's view of them inside one transaction.

use std::collections::BTreeMap;
use std::str::FromStr;

use holdpoint_app::{
    port::PlanRow,
    projection::{
        AccountRow, ChangeRow, RunRow,
        apply::{NonceRow, Rows},
    },
};
use holdpoint_domain::{
    Digest, Id, Tier, Timestamp, enrol::InvitationState, flow::State, id::kind, lease::LeaseInfo,
    passkey::CredentialId,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, ToSql, params, types::Type};

/// The columns of [`plan_row`], in its order.
pub(super) const PLAN_COLUMNS: &str =
    "first_index, id, state, last_index, agent, action, target, tier, hold, proposed_at, deadline, next_at";

const PUT_PLAN: &str =
    "INSERT INTO plans (first_index, id, state, last_index, agent, action, target, tier, hold, proposed_at, deadline, next_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
     ON CONFLICT DO UPDATE SET state = ?3, last_index = ?4, tier = ?8, hold = ?9, deadline = ?11, next_at = ?12";

/// A number of ours as SQLite's signed one.
pub(super) fn sql_int(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|err| rusqlite::Error::ToSqlConversionFailure(Box::new(err)))
}

/// SQLite's number as ours; never negative.
pub(super) fn int(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A text column that must parse.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|err| unfit(column, err))
}

fn parsed_or_none<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => text.parse().map(Some).map_err(|err| unfit(column, err)),
        None => Ok(None),
    }
}

fn unfit(column: usize, err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, err.into())
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_ms(int(row, column)?).map_err(|err| unfit(column, err))
}

fn time_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get::<_, Option<i64>>(column)? {
        Some(_) => time(row, column).map(Some),
        None => Ok(None),
    }
}

/// Reads [`PLAN_COLUMNS`].
pub(super) fn plan_row(row: &Row<'_>) -> rusqlite::Result<PlanRow> {
    let state = row.get_ref(2)?.as_str()?;
    let tier = match row.get_ref(7)?.as_str_or_null()? {
        Some(text) => {
            let tier = Tier::ALL.into_iter().find(|tier| tier.as_str() == text);
            Some(tier.ok_or_else(|| unfit(7, "not a tier"))?)
        }
        None => None,
    };
    Ok(PlanRow {
        first_index: int(row, 0)?,
        id: parsed(row, 1)?,
        state: State::parse(state).ok_or_else(|| unfit(2, "not a state"))?,
        last_index: int(row, 3)?,
        agent: parsed(row, 4)?,
        action: parsed(row, 5)?,
        target: parsed(row, 6)?,
        tier,
        hold: parsed_or_none(row, 8)?,
        proposed_at: time(row, 9)?,
        deadline: time_or_none(row, 10)?,
        next_at: time_or_none(row, 11)?,
    })
}

/// Reads the columns `plan, info` of a lease.
pub(super) fn lease_row(row: &Row<'_>) -> rusqlite::Result<(Id<kind::Plan>, LeaseInfo)> {
    let info = serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(|err| unfit(1, err))?;
    Ok((parsed(row, 0)?, info))
}

/// Reads the columns `row, incident, last_at, open, owing, plan` of a run; what stands beside the row must be what it says.
pub(super) fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let run: RunRow = serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|err| unfit(0, err))?;
    let (incident, plan): (Option<String>, String) = (row.get(1)?, row.get(5)?);
    let same = incident.as_deref() == run.footprint.incident.as_ref().map(Id::as_str)
        && time(row, 2)? == run.last_at()
        && row.get::<_, bool>(3)? == run.state.is_running()
        && row.get::<_, bool>(4)? == run.needs_a_look()
        && plan == run.plan.as_str();
    if same { Ok(run) } else { Err(unfit(0, "the columns of a run are not its own")) }
}

/// Reads the columns `row, id, first_index` of a change of a control input.
pub(super) fn change_row(row: &Row<'_>) -> rusqlite::Result<ChangeRow> {
    let change: ChangeRow = serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|err| unfit(0, err))?;
    let same = row.get::<_, String>(1)? == change.terms.id.as_str() && int(row, 2)? == change.first_index;
    if same { Ok(change) } else { Err(unfit(0, "the columns of a change are not its own")) }
}

/// Reads the columns `row, digest, first_index` of what was done outside.
pub(super) fn account_row(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    let account: AccountRow = serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|err| unfit(0, err))?;
    let digest = account.account.digest().map_err(|err| unfit(0, err))?;
    let same = parsed::<Digest>(row, 1)? == digest && int(row, 2)? == account.first_index;
    if same { Ok(account) } else { Err(unfit(0, "the columns of an account are not its own")) }
}

/// Reads the columns `row, act` of an invitation.
pub(super) fn invitation_row(row: &Row<'_>) -> rusqlite::Result<InvitationState> {
    let state: InvitationState =
        serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|err| unfit(0, err))?;
    let same = row.get::<_, String>(1)? == state.invitation.act.as_str();
    if same { Ok(state) } else { Err(unfit(0, "the columns of an invitation are not its own")) }
}

fn json<T: serde::Serialize>(row: &T) -> rusqlite::Result<String> {
    serde_json::to_string(row).map_err(|err| rusqlite::Error::ToSqlConversionFailure(Box::new(err)))
}

/// The tables inside a transaction. A plan that one transaction moves several times is read once, and written once by
/// [`Self::finish`].
pub(super) struct Tables<'c> {
    conn: &'c Connection,
    plans: BTreeMap<Id<kind::Plan>, PlanRow>,
}

impl<'c> Tables<'c> {
    pub(super) const fn new(conn: &'c Connection) -> Self {
        Self { conn, plans: BTreeMap::new() }
    }

    /// Writes the plans that were touched.
    pub(super) fn finish(self) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare_cached(PUT_PLAN)?;
        self.plans.values().try_for_each(|row| put_plan(&mut statement, row))
    }

    fn execute(&self, sql: &str, params: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(sql)?.execute(params)
    }
}

fn put_plan(statement: &mut CachedStatement<'_>, row: &PlanRow) -> rusqlite::Result<()> {
    let time = |time: Option<Timestamp>| time.map(|time| sql_int(time.ms())).transpose();
    statement.execute(params![
        sql_int(row.first_index)?,
        row.id.as_str(),
        row.state.as_str(),
        sql_int(row.last_index)?,
        row.agent.as_str(),
        row.action.as_str(),
        row.target.as_str(),
        row.tier.map(Tier::as_str),
        row.hold.as_ref().map(Id::as_str),
        sql_int(row.proposed_at.ms())?,
        time(row.deadline)?,
        time(row.next_at)?,
    ])?;
    Ok(())
}

impl Rows for Tables<'_> {
    type Error = rusqlite::Error;

    fn plan(&mut self, id: &Id<kind::Plan>) -> rusqlite::Result<Option<PlanRow>> {
        if let Some(row) = self.plans.get(id) {
            return Ok(Some(row.clone()));
        }
        plan_by_id(self.conn, id)
    }

    fn put_plan(&mut self, row: PlanRow) -> rusqlite::Result<()> {
        // A new plan at once, since other rows point to it.
        if row.first_index == row.last_index {
            put_plan(&mut self.conn.prepare_cached(PUT_PLAN)?, &row)?;
        }
        self.plans.insert(row.id.clone(), row);
        Ok(())
    }

    fn nonce(&mut self, nonce: &Id<kind::Nonce>) -> rusqlite::Result<Option<NonceRow>> {
        let mut statement = self.conn.prepare_cached("SELECT plan, used FROM nonces WHERE nonce = ?1")?;
        let read = |row: &Row<'_>| Ok(NonceRow { plan: parsed(row, 0)?, used: row.get(1)? });
        statement.query_row([nonce.as_str()], read).optional()
    }

    fn put_nonce(&mut self, nonce: &Id<kind::Nonce>, row: NonceRow) -> rusqlite::Result<()> {
        let sql = "INSERT INTO nonces (nonce, plan, used) VALUES (?1, ?2, ?3)
                   ON CONFLICT (nonce) DO UPDATE SET used = ?3";
        self.execute(sql, &[&nonce.as_str(), &row.plan.as_str(), &row.used]).map(|_| ())
    }

    fn add_decision(&mut self, hold: &Id<kind::Hold>, person: &Id<kind::Person>) -> rusqlite::Result<bool> {
        let sql = "INSERT OR IGNORE INTO decisions_on_hold (hold, person) VALUES (?1, ?2)";
        self.execute(sql, &[&hold.as_str(), &person.as_str()]).map(|rows| rows > 0)
    }

    fn counter(&mut self, passkey: &CredentialId) -> rusqlite::Result<Option<u32>> {
        counter_of(self.conn, passkey)
    }

    fn put_counter(&mut self, passkey: &CredentialId, counter: u32) -> rusqlite::Result<()> {
        let sql = "INSERT INTO passkeys_used (passkey, counter) VALUES (?1, ?2)
                   ON CONFLICT (passkey) DO UPDATE SET counter = ?2";
        self.execute(sql, &[&passkey.to_string(), &counter]).map(|_| ())
    }

    fn invitation(&mut self, act: &Id<kind::Act>) -> rusqlite::Result<Option<InvitationState>> {
        invitation_by_act(self.conn, act)
    }

    fn put_invitation(&mut self, row: InvitationState) -> rusqlite::Result<()> {
        let sql = "INSERT INTO invitations (act, row) VALUES (?1, ?2)
                   ON CONFLICT (act) DO UPDATE SET row = ?2";
        self.execute(sql, &[&row.invitation.act.as_str(), &json(&row)?]).map(|_| ())
    }

    fn account(&mut self, digest: &Digest) -> rusqlite::Result<Option<AccountRow>> {
        account_by_digest(self.conn, digest)
    }

    fn put_account(&mut self, digest: Digest, row: AccountRow) -> rusqlite::Result<()> {
        let sql = "INSERT INTO accounts (first_index, digest, row) VALUES (?1, ?2, ?3)
                   ON CONFLICT (first_index) DO UPDATE SET row = ?3";
        self.execute(sql, &[&sql_int(row.first_index)?, &digest.to_string(), &json(&row)?]).map(|_| ())
    }

    fn holder(&mut self, target: &Id<kind::Target>) -> rusqlite::Result<Option<Id<kind::Plan>>> {
        let mut statement = self.conn.prepare_cached("SELECT plan FROM locks WHERE target = ?1")?;
        statement.query_row([target.as_str()], |row| parsed(row, 0)).optional()
    }

    fn lock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> rusqlite::Result<()> {
        let sql = "INSERT INTO locks (target, plan) VALUES (?1, ?2)";
        self.execute(sql, &[&target.as_str(), &plan.as_str()]).map(|_| ())
    }

    fn unlock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM locks WHERE target = ?1 AND plan = ?2";
        self.execute(sql, &[&target.as_str(), &plan.as_str()]).map(|_| ())
    }

    fn put_lease(&mut self, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> rusqlite::Result<()> {
        let info = json(lease)?;
        let sql = "INSERT OR REPLACE INTO leases (lease, plan, info) VALUES (?1, ?2, ?3)";
        self.execute(sql, &[&lease.id.as_str(), &plan.as_str(), &info]).map(|_| ())
    }

    fn end_lease(&mut self, lease: &Id<kind::Lease>) -> rusqlite::Result<()> {
        self.execute("DELETE FROM leases WHERE lease = ?1", &[&lease.as_str()]).map(|_| ())
    }

    fn run(&mut self, plan: &Id<kind::Plan>) -> rusqlite::Result<Option<RunRow>> {
        run_by_plan(self.conn, plan)
    }

    fn put_run(&mut self, row: RunRow) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO runs (row, incident, last_at, open, owing, plan) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT (plan) DO UPDATE SET row = ?1, last_at = ?3, open = ?4, owing = ?5";
        let incident = row.footprint.incident.as_ref().map(Id::as_str);
        let (last_at, open, owing) =
            (sql_int(row.last_at().ms())?, row.state.is_running(), row.needs_a_look());
        self.execute(sql, &[&json(&row)?, &incident, &last_at, &open, &owing, &row.plan.as_str()]).map(|_| ())
    }

    fn input_change(&mut self, id: &Id<kind::Change>) -> rusqlite::Result<Option<ChangeRow>> {
        change_by_id(self.conn, id)
    }

    fn put_input_change(&mut self, row: ChangeRow) -> rusqlite::Result<()> {
        let sql = "INSERT INTO input_changes (first_index, id, row) VALUES (?1, ?2, ?3)
                   ON CONFLICT (first_index) DO UPDATE SET row = ?3";
        let (first_index, id) = (sql_int(row.first_index)?, row.terms.id.as_str());
        self.execute(sql, &[&first_index, &id, &json(&row)?]).map(|_| ())
    }
}

/// An invitation to register a passkey.
pub(super) fn invitation_by_act(
    conn: &Connection,
    act: &Id<kind::Act>,
) -> rusqlite::Result<Option<InvitationState>> {
    let sql = "SELECT row, act FROM invitations WHERE act = ?1";
    conn.prepare_cached(sql)?.query_row([act.as_str()], invitation_row).optional()
}

/// What was done outside, by the digest of its account.
pub(super) fn account_by_digest(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<AccountRow>> {
    let sql = "SELECT row, digest, first_index FROM accounts WHERE digest = ?1";
    conn.prepare_cached(sql)?.query_row([digest.to_string()], account_row).optional()
}

/// The last counter of a passkey; none where it signed nothing yet.
pub(super) fn counter_of(conn: &Connection, passkey: &CredentialId) -> rusqlite::Result<Option<u32>> {
    let sql = "SELECT counter FROM passkeys_used WHERE passkey = ?1";
    conn.prepare_cached(sql)?.query_row([passkey.to_string()], |row| row.get(0)).optional()
}

/// The projection of one plan.
pub(super) fn plan_by_id(conn: &Connection, id: &Id<kind::Plan>) -> rusqlite::Result<Option<PlanRow>> {
    let sql = format!("SELECT {PLAN_COLUMNS} FROM plans WHERE id = ?1");
    conn.prepare_cached(&sql)?.query_row([id.as_str()], plan_row).optional()
}

/// The columns of [`run_row`], in its order.
pub(super) const RUN_COLUMNS: &str = "row, incident, last_at, open, owing, plan";

/// The run of one plan.
pub(super) fn run_by_plan(conn: &Connection, plan: &Id<kind::Plan>) -> rusqlite::Result<Option<RunRow>> {
    let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE plan = ?1");
    conn.prepare_cached(&sql)?.query_row([plan.as_str()], run_row).optional()
}

/// One change of a control input.
pub(super) fn change_by_id(conn: &Connection, id: &Id<kind::Change>) -> rusqlite::Result<Option<ChangeRow>> {
    let sql = "SELECT row, id, first_index FROM input_changes WHERE id = ?1";
    conn.prepare_cached(sql)?.query_row([id.as_str()], change_row).optional()
}
