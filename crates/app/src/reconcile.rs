//! Reconciliation: what people did outside of Holdpoint while the gate was down is put on record. A record and nothing else: no plan
//! is made, no permit, no lease, and nothing is started, undone or counted.

use holdpoint_domain::{
    Digest,
    actor::Identity,
    agent::Person,
    digest::Salt,
    reconcile::{Account, Due, Part, ReconcileStatement, Words},
    record::{Body, Record, Request},
    signed::Signed,
};

use crate::{
    gate::{Gate, after},
    port::{KeptText, Txn},
    projection::AccountRow,
    propose::record_refusal,
    refusal::{Blame, Refusal, internal},
    statement::{looks_after, signer},
};

/// What a report brings along: the words that its account commits to, and the salt that opens them.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The words.
    pub words: Words,
    /// The salt.
    pub salt: Salt,
}

/// An account with its words, where they are still kept.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The account, and who said what about it.
    pub row: AccountRow,
    /// What it commits to.
    pub opened: Option<Opened>,
}

/// Takes a person's statement about what was done outside. A report brings its words; every other part is about one that is recorded.
pub async fn reconcile(
    gate: &Gate,
    identity: &Identity,
    signed: Signed<ReconcileStatement>,
    opened: Option<Opened>,
) -> Result<AccountRow, Refusal> {
    match attempt(gate, identity, signed, opened).await {
        Ok(row) => Ok(row),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Reconcile, &refusal).await?;
            Err(refusal)
        }
    }
}

/// What is recorded, newest first.
pub async fn list(gate: &Gate, limit: u32) -> Result<Vec<Shown>, Refusal> {
    let mut all = Vec::new();
    for row in gate.ports.store.accounts(limit).await? {
        let kept = gate.ports.store.text(&row.account.words).await?;
        let opened = kept.and_then(|kept| {
            let words = serde_json::from_str(&kept.text).ok()?;
            Some(Opened { words, salt: kept.salt })
        });
        all.push(Shown { row, opened });
    }
    Ok(all)
}

async fn attempt(
    gate: &Gate,
    identity: &Identity,
    signed: Signed<ReconcileStatement>,
    opened: Option<Opened>,
) -> Result<AccountRow, Refusal> {
    let person = signer(gate, identity, &signed)?;
    let about = &signed.statement;
    if about.account.origin != gate.ports.store.head().origin {
        let fact = "the statement is for another log";
        return Err(Refusal::new(Blame::Forbidden, "other-log", fact, "sign it for the log of this gate"));
    }
    let digest = about.account.digest()?;
    let known = gate.ports.store.account(&digest).await?;
    let (due, texts) = match (about.part, opened) {
        (Part::Reported, Some(opened)) => {
            if let Some(row) = &known {
                return Err(reported_before(row, person));
            }
            report(gate, person, &about.account, opened)?
        }
        (Part::Reported, None) => {
            let fact = "a report without the words that its account commits to";
            return Err(Refusal::new(Blame::Caller, "no-words", fact, "send them with their salt"));
        }
        (Part::Confirmed | Part::Reviewed | Part::Disputed, Some(_)) => {
            let fact = "the words are sent once, with the report";
            return Err(Refusal::new(Blame::Caller, "words-again", fact, "send the statement alone"));
        }
        (part @ (Part::Confirmed | Part::Reviewed | Part::Disputed), None) => {
            let row = known.ok_or_else(|| {
                let fact = format!("no account {digest} is recorded");
                let next = "one of those who did it must report it first: `holdpoint reconcile FILE`";
                Refusal::new(Blame::NotFound, "no-such-account", fact, next)
            })?;
            if part == Part::Confirmed {
                confirms(&row, person)?
            } else {
                looks(gate, &row, person)?
            }
            (None, Vec::new())
        }
    };
    let body = Body::Reconciled { statement: Box::new(signed), due };
    let records = vec![Record::new(gate.now(), identity.actor(), None, body)];
    // If we stop before this returns, nothing is recorded, and the same statement is taken again.
    gate.ports
        .store
        .append(Txn { records, texts, expect_inputs: Some(gate.inputs), ..Txn::default() })
        .await?;
    let row = gate.ports.store.account(&digest).await?;
    row.ok_or_else(|| internal("an account that was recorded is not there"))
}

/// Everything that makes a report count; returns the look that it owes, and the text to keep.
fn report(
    gate: &Gate,
    person: &Person,
    account: &Account,
    opened: Opened,
) -> Result<(Option<Due>, Vec<KeptText>), Refusal> {
    let wrong = |rule, fact: String, next: &'static str| Refusal::new(Blame::Caller, rule, fact, next);
    account.check(gate.now()).map_err(|err| {
        let next = "correct the file: when it began and ended, and who did it";
        wrong("bad-account", err.to_string(), next)
    })?;
    opened
        .words
        .check()
        .map_err(|err| wrong("bad-words", err.to_string(), "say what whoever reviews must know"))?;
    let text = opened.words.text()?;
    if !account.words.opens_to(&opened.salt, &text) {
        let fact = "the account commits to other words than those sent".to_owned();
        return Err(wrong("other-words", fact, "sign the words that you send"));
    }
    let registry = &gate.controls.registry;
    if let Some(stranger) = account.people.iter().find(|named| registry.person(named).is_none()) {
        let fact = format!("`{stranger}` is named as one of those who did it, and is not in the registry");
        return Err(wrong("unknown-person", fact, "name people of the registry"));
    }
    one_of(account, person)?;
    if let Some(action) = &account.action
        && gate.controls.catalogue.action(action).is_none()
    {
        return Err(crate::preview::no_such_action(action));
    }
    let (_, service) = gate.controls.inventory.target(&account.target).ok_or_else(|| {
        let fact = format!("target `{}` is not in the inventory", account.target);
        Refusal::new(Blame::NotFound, "unknown-target", fact, "name the target as the inventory has it")
    })?;
    let due = Due { due_at_ms: after(gate.now(), gate.settings.review_ms)?, owner: service.owner.clone() };
    let text = String::from_utf8(text).map_err(internal)?;
    Ok((Some(due), vec![KeptText { commitment: account.words, salt: opened.salt, text }]))
}

fn one_of(account: &Account, person: &Person) -> Result<(), Refusal> {
    if account.people.contains(&person.id) {
        return Ok(());
    }
    let fact = format!("`{}` is none of those whom the account names", person.id);
    Err(Refusal::new(Blame::Forbidden, "was-not-there", fact, "one of those who did it must sign"))
}

fn reported_before(row: &AccountRow, person: &Person) -> Refusal {
    if row.reported_by == person.id {
        let fact = format!("`{}` reported this before", person.id);
        return Refusal::new(
            Blame::Conflict,
            "same-person",
            fact,
            "another one whom it names must confirm it",
        );
    }
    let fact = format!("`{}` reported this before", row.reported_by);
    Refusal::new(Blame::Conflict, "reported-before", fact, "confirm it instead")
}

fn confirms(row: &AccountRow, person: &Person) -> Result<(), Refusal> {
    one_of(&row.account, person)?;
    if row.reported_by == person.id {
        return Err(reported_before(row, person));
    }
    if let Some(by) = &row.confirmed_by {
        let fact = format!("`{by}` confirmed this before");
        let next = "nothing: two have signed it, and somebody else looks at it";
        return Err(Refusal::new(Blame::Conflict, "confirmed-before", fact, next));
    }
    Ok(())
}

/// Whoever looks was not there, and looks after the target.
fn looks(gate: &Gate, row: &AccountRow, person: &Person) -> Result<(), Refusal> {
    let refuse = |blame, rule, fact: String, next: &'static str| Err(Refusal::new(blame, rule, fact, next));
    if row.account.people.contains(&person.id) {
        let fact = format!("`{}` is one of those who did it", person.id);
        return refuse(Blame::Forbidden, "was-there", fact, "somebody else must look");
    }
    if row.confirmed_by.is_none() {
        let fact = "one person alone says so yet".to_owned();
        return refuse(
            Blame::Conflict,
            "not-confirmed",
            fact,
            "another one whom it names must confirm it first",
        );
    }
    if let Some(look) = &row.look {
        let fact = format!("`{}` looked at this before", look.by);
        return refuse(Blame::Conflict, "looked-before", fact, "nothing needs to be done");
    }
    looks_after(gate, person, &gate.emergency().id, &[&row.due.owner])
}

impl AccountRow {
    /// The digest that names it.
    ///
    /// # Errors
    /// Ours: whatever is recorded has a canonical form.
    pub fn digest(&self) -> Result<Digest, Refusal> {
        Ok(self.account.digest()?)
    }
}
