//! One value of a database, read as a role that cannot write, in a transaction that cannot either.

use std::error::Error;

use tokio_postgres::{
    Row,
    error::SqlState,
    types::{FromSql, ToSql, Type},
};

use super::{Login, Server, SessionError};

/// Whether the role could write: through what it is, what it is a member of, or a right on a single column. Readers of the server's
/// files and starters of its programs count as well.
const MAY_WRITE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles p WHERE (p.rolsuper OR p.rolcreaterole OR p.rolname IN \
     ('pg_write_all_data', 'pg_write_server_files', 'pg_read_server_files', 'pg_execute_server_program', 'pg_signal_backend')) \
     AND pg_catalog.pg_has_role(session_user, p.oid, 'MEMBER')) \
     OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'f') \
     AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) \
     AND (pg_catalog.has_any_column_privilege(session_user, c.oid, 'INSERT, UPDATE') \
     OR pg_catalog.has_table_privilege(session_user, c.oid, 'DELETE, TRUNCATE')))";

/// What a row's one column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell {
    /// A number.
    Number(f64),
    /// Yes or no.
    Bool(bool),
    /// Nothing.
    Null,
}

/// Why there is no value. Words of the server are in none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// No connection, or one that broke.
    Broken,
    /// The server does not let the login in, or refuses the statement.
    Rejected,
    /// The statement took too long.
    TimedOut,
    /// The role could write.
    MayWrite,
    /// No row.
    NoRow,
    /// More than one row.
    Rows,
    /// Not one column, or one of another type.
    Type,
}

impl Server {
    /// Runs one statement with these texts for its parameters. It ends with its session, whatever becomes of it.
    pub(crate) async fn value(
        &self,
        login: &Login,
        statement: &str,
        params: &[String],
        limit_ms: u64,
    ) -> Result<Cell, Unread> {
        let mut session = self.connect(login).await.map_err(|err| match err {
            SessionError::NoLogin(_) => Unread::Rejected,
            SessionError::Unreachable(_) | SessionError::Refused(_) | SessionError::Broken(_) => {
                Unread::Broken
            }
        })?;
        // Whoever waits here has a limit, too; this one ends the work at the server.
        let settings = format!(
            "SET statement_timeout = {limit_ms}; SET lock_timeout = {limit_ms}; SET default_transaction_read_only = on"
        );
        session.client.batch_execute(&settings).await.map_err(|err| unread(&err))?;
        let transaction = session.client.build_transaction().read_only(true).start().await;
        let transaction = transaction.map_err(|err| unread(&err))?;
        let row = transaction.query_one(MAY_WRITE, &[]).await.map_err(|err| unread(&err))?;
        if row.try_get::<_, bool>(0).map_err(|_| Unread::Broken)? {
            return Err(Unread::MayWrite);
        }
        // The extended protocol: several statements in one text are refused by the server, and parameters are never part of the text.
        let types = vec![Type::TEXT; params.len()];
        let prepared = transaction.prepare_typed(statement, &types).await.map_err(|err| unread(&err))?;
        if prepared.columns().len() != 1 {
            return Err(Unread::Type);
        }
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let portal = transaction.bind(&prepared, &params).await.map_err(|err| unread(&err))?;
        let rows = transaction.query_portal(&portal, 2).await.map_err(|err| unread(&err))?;
        match rows.as_slice() {
            [] => Err(Unread::NoRow),
            [row] => cell(row),
            _ => Err(Unread::Rows),
        }
    }
}

fn unread(err: &tokio_postgres::Error) -> Unread {
    match err.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => Unread::TimedOut,
        Some(_) => Unread::Rejected,
        None => Unread::Broken,
    }
}

fn cell(row: &Row) -> Result<Cell, Unread> {
    let column = row.columns().first().ok_or(Unread::Type)?;
    if *column.type_() == Type::BOOL {
        let value: Option<bool> = row.try_get(0).map_err(|_| Unread::Broken)?;
        return Ok(value.map_or(Cell::Null, Cell::Bool));
    }
    if !<Number as FromSql<'_>>::accepts(column.type_()) {
        return Err(Unread::Type);
    }
    let value: Option<Number> = row.try_get(0).map_err(|_| Unread::Broken)?;
    Ok(value.map_or(Cell::Null, |Number(value)| Cell::Number(value)))
}

/// A number of any of PostgreSQL's types, as the nearest double.
struct Number(f64);

impl<'a> FromSql<'a> for Number {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let value = match *of {
            Type::INT2 => i16::from_sql(of, raw).map(f64::from)?,
            Type::INT4 => i32::from_sql(of, raw).map(f64::from)?,
            Type::INT8 => {
                #[allow(clippy::cast_precision_loss, reason = "compared with a double anyway")]
                let value = i64::from_sql(of, raw)? as f64;
                value
            }
            Type::FLOAT4 => f32::from_sql(of, raw).map(f64::from)?,
            Type::FLOAT8 => f64::from_sql(of, raw)?,
            _ => numeric(raw).ok_or("no numeric")?,
        };
        Ok(Self(value))
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC)
    }
}

/// A `numeric` in PostgreSQL's binary form: four 16-bit numbers (how many digits, the power of 10000 of the first, the sign, the digits
/// that are shown), and the digits to the base of 10000. <https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/numeric.c>
/// (`numeric_send`).
fn numeric(raw: &[u8]) -> Option<f64> {
    let mut words = raw.chunks_exact(2).map(|pair| <[u8; 2]>::try_from(pair).map(u16::from_be_bytes));
    let mut word = || words.next()?.ok();
    let (count, weight, sign, _shown) = (word()?, word()?.cast_signed(), word()?, word()?);
    if raw.len() != usize::from(count).checked_mul(2)?.checked_add(8)? {
        return None;
    }
    let mut text = String::from(match sign {
        0x0000 => "0",
        0x4000 => "-0",
        0xC000 => return Some(f64::NAN),
        0xD000 => return Some(f64::INFINITY),
        0xF000 => return Some(f64::NEG_INFINITY),
        _ => return None,
    });
    // Read as text, so that it is rounded once.
    for _ in 0..count {
        let digit = word().filter(|digit| *digit < 10_000)?;
        text.push_str(&format!("{digit:04}"));
    }
    let shift = i32::from(weight).checked_add(1)?.checked_sub(i32::from(count))?.checked_mul(4)?;
    format!("{text}e{shift}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_is_read_as_it_is_sent() {
        let raw = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
        let cases: &[(&[u16], Option<f64>)] = &[
            (&[0, 0, 0, 0], Some(0.0)),
            (&[1, 0, 0, 0, 7], Some(7.0)),
            (&[2, 0, 0x4000, 1, 12, 5000], Some(-12.5)),
            (&[1, 0xFFFF, 0, 4, 1], Some(0.0001)),
            (&[1, 2, 0, 0, 3], Some(300_000_000.0)),
            (&[3, 1, 0, 2, 1, 2345, 6700], Some(12_345.67)),
            (&[0, 0, 0xD000, 0], Some(f64::INFINITY)),
            (&[1, 0x7FFF, 0, 0, 1], Some(f64::INFINITY)),
            (&[1, 0, 0, 0], None),
            (&[0, 0, 0, 0, 1], None),
            (&[1, 0, 0, 0, 10_000], None),
            (&[1, 0, 1, 0, 1], None),
            (&[], None),
        ];
        for (words, want) in cases {
            assert_eq!(numeric(&raw(words)), *want, "{words:?}");
        }
        assert!(numeric(&raw(&[0, 0, 0xC000, 0])).is_some_and(f64::is_nan));
    }
}
