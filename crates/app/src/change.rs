//! Change: a control input is replaced by people, on the record. Somebody proposes other files; other administrators read what
//! would change and sign; the last signature needed puts it in force.

use std::{collections::BTreeMap, sync::Arc};

use holdpoint_domain::{
    Id,
    actor::{Actor, Identity},
    approval::Choice,
    change::{
        Change, ChangeStatement, ChangeStatementType, ChangeTerms, Control, MAX_CHANGE_MS, approvals_needed,
    },
    id::kind,
    passkey::Passkey,
    proof::Proof,
    record::{Body, Record, Request},
    signed::Signed,
};

use crate::{
    gate::{Gate, Noted, after},
    port::{Document, KeptText, StoreError, Txn},
    projection::{ChangeRow, ChangeState},
    propose::{commit_any, record_refusal},
    refusal::{Blame, Refusal, internal},
    statement::{person, signer},
};

/// Largest document of a change: the files of a large site, in one record's text.
pub const MAX_DOCUMENT_LEN: usize = 2 * 1024 * 1024;

/// A proposed change, with what it would replace.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The change.
    pub row: ChangeRow,
    /// What is in force now.
    pub active: Document,
    /// What would be in force; none when the text was erased.
    pub proposed: Option<Document>,
}

/// What a decision on a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The change.
    pub id: Id<kind::Change>,
    /// Where it is.
    pub state: ChangeState,
    /// Administrators who approved.
    pub approvals: u32,
    /// How many it needs.
    pub needed: u32,
}

/// Proposes other files for a control input. Files that are not named stay as they are. It must load beside everything else that
/// is in force, as a start of the gate would load it.
pub async fn propose(
    gate: &Gate,
    identity: &Identity,
    control: Control,
    files: BTreeMap<String, String>,
) -> Result<ChangeTerms, Refusal> {
    match attempt_propose(gate, identity, control, files).await {
        Ok(terms) => Ok(terms),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Change, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt_propose(
    gate: &Gate,
    identity: &Identity,
    control: Control,
    files: BTreeMap<String, String>,
) -> Result<ChangeTerms, Refusal> {
    let Draft { terms, records, texts } = draft(gate, identity, control, files, None).await?;
    gate.ports
        .store
        .append(Txn { records, texts, expect_inputs: Some(gate.inputs), ..Txn::default() })
        .await?;
    Ok(terms)
}

/// A change that is not recorded yet.
pub(crate) struct Draft {
    /// What administrators will be asked to sign.
    pub(crate) terms: ChangeTerms,
    /// Its records.
    pub(crate) records: Vec<Record>,
    /// Texts that are kept beside the ledger.
    pub(crate) texts: Vec<KeptText>,
}

/// Checks other files for a control input, and says what would be recorded. `enrolled` is the passkey of an invitation that the
/// change redeems: no other change brings one.
pub(crate) async fn draft(
    gate: &Gate,
    identity: &Identity,
    control: Control,
    files: BTreeMap<String, String>,
    enrolled: Option<&Passkey>,
) -> Result<Draft, Refusal> {
    let author = person(gate, identity)?;
    let bad = |fact: String, next: &'static str| Refusal::new(Blame::Caller, "bad-change", fact, next);
    let (mut document, known) = (gate.ports.inputs.active(control), gate.ports.inputs.names(control));
    for (name, text) in files {
        if !known.contains(&name) {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            let shown = holdpoint_domain::text::quoted(&name, 200);
            let fact = format!("the {control} has no file {shown}: expected {}", known.join(" or "));
            return Err(bad(fact, "name a file as the configuration does"));
        }
        document.files.insert(name, text);
    }
    let text = document.text()?;
    if text.len() > MAX_DOCUMENT_LEN {
        let fact = format!("expected at most {MAX_DOCUMENT_LEN} bytes of files, got {}", text.len());
        return Err(bad(fact, "split what is in them"));
    }
    let loaded = gate.ports.inputs.load(gate, control, &document).await.map_err(|faults| {
        bad(format!("the {control} does not load: {}", faults.join("; ")), "correct the files")
    })?;
    only_enrolled(gate, &loaded.gate, &author.id, enrolled)?;
    let old = control.of(&gate.inputs);
    if loaded.digest == old {
        return Err(bad(format!("the {control} would stay as it is"), "nothing needs to be done"));
    }
    let needed = approvals_needed(&gate.controls.registry, &author.id).map_err(|err| {
        let next = "a change needs an administrator beside its author";
        Refusal::new(Blame::Forbidden, "nobody-else", err.to_string(), next)
    })?;
    let now = gate.now();
    let mut texts = Vec::new();
    let content = commit_any(gate, &text, &mut texts);
    let terms = ChangeTerms {
        id: gate.fresh("change")?,
        head: gate.tree_head(),
        control,
        old,
        new: loaded.digest,
        content,
        author: author.id.clone(),
        needed,
        nonce: gate.fresh("once")?,
        expires_at_ms: after(now, holdpoint_domain::Millis::new(MAX_CHANGE_MS).map_err(internal)?)?,
    };
    let body = Body::ChangeProposed { terms: Box::new(terms.clone()) };
    let records = vec![Record::new(now, identity.actor(), None, body)];
    Ok(Draft { terms, records, texts })
}

/// Refuses a passkey that nobody enrolled: what an act of enrolment is worth is that it was one.
fn only_enrolled(
    gate: &Gate,
    after: &Gate,
    author: &Id<kind::Person>,
    enrolled: Option<&Passkey>,
) -> Result<(), Refusal> {
    for person in after.controls.registry.people() {
        let known = gate.controls.registry.person(&person.id);
        let known = |passkey: &Passkey| known.is_some_and(|person| person.passkeys.contains(passkey));
        let theirs = |passkey: &Passkey| person.id == *author && enrolled == Some(passkey);
        if let Some(passkey) = person.passkeys.iter().find(|passkey| !known(passkey) && !theirs(passkey)) {
            let fact =
                format!("`{}` would have passkey {}, which no invitation brought", person.id, passkey.id);
            let next = "have them invited: `holdpoint people invite`; a change may take passkeys away";
            return Err(Refusal::new(Blame::Forbidden, "not-enrolled", fact, next));
        }
    }
    Ok(())
}

/// Takes an administrator's statement on a change. The last approval needed puts it in force before this returns.
pub async fn decide(
    gate: &Gate,
    identity: &Identity,
    id: &Id<kind::Change>,
    signed: Signed<ChangeStatement>,
) -> Result<Decided, Refusal> {
    match attempt_decide(gate, identity, id, signed).await {
        Ok(decided) => Ok(decided),
        Err(refusal) => {
            record_refusal(gate, identity, Request::DecideChange, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt_decide(
    gate: &Gate,
    identity: &Identity,
    id: &Id<kind::Change>,
    signed: Signed<ChangeStatement>,
) -> Result<Decided, Refusal> {
    let row = find(gate, id).await?;
    eligible(gate, identity, &row, &signed)?;
    let (terms, now) = (&row.terms, gate.now());
    let approves = signed.statement.choice == Choice::Approve;
    let body = Body::ChangeDecided { statement: Box::new(signed) };
    let records = vec![Record::new(now, identity.actor(), None, body)];
    // Earlier approvals count only of those who are administrators still, with the key that they signed with.
    let approvals =
        u32::try_from(still_approve(gate, &row)).unwrap_or(u32::MAX).saturating_add(u32::from(approves));
    let mut decided = Decided { id: id.clone(), state: ChangeState::Open, approvals, needed: terms.needed };
    if !approves {
        decided.state = ChangeState::Rejected;
    }
    if !approves || approvals < terms.needed {
        gate.ports.store.append(Txn { records, expect_inputs: Some(gate.inputs), ..Txn::default() }).await?;
        // Two who approve at the same moment each see themselves as the first: whoever comes to this line last puts it in force.
        let row = find(gate, id).await?;
        decided.approvals = u32::try_from(still_approve(gate, &row)).unwrap_or(u32::MAX);
        decided.state = row.state;
        if row.state == ChangeState::Open && decided.approvals >= terms.needed {
            match put_in_force(gate, terms, Vec::new()).await {
                Ok(()) => decided.state = ChangeState::Activated,
                // The other one was faster.
                Err(PutError::Store(StoreError::NotOpen(_) | StoreError::StaleInputs)) => {
                    decided.state = find(gate, id).await?.state;
                }
                Err(err) => return Err(err.into()),
            }
        }
        return Ok(decided);
    }
    put_in_force(gate, terms, records).await?;
    decided.state = ChangeState::Activated;
    Ok(decided)
}

/// Why a change was not put in force.
enum PutError {
    Store(StoreError),
    Refused(Refusal),
}

impl From<Refusal> for PutError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<PutError> for Refusal {
    fn from(err: PutError) -> Self {
        match err {
            PutError::Store(err) => err.into(),
            PutError::Refused(refusal) => refusal,
        }
    }
}

/// Puts a change in force that has its approvals, in one transaction with `records`.
async fn put_in_force(gate: &Gate, terms: &ChangeTerms, mut records: Vec<Record>) -> Result<(), PutError> {
    let document = document(gate, terms).await?;
    // As it loads now, beside what is in force now: another change may have come since it was proposed.
    let loaded = gate.ports.inputs.load(gate, terms.control, &document).await.map_err(|faults| {
        let fact = format!("the {} does not load any more: {}", terms.control, faults.join("; "));
        Refusal::new(Blame::Conflict, "stale-change", fact, "propose it anew")
    })?;
    if loaded.digest != terms.new {
        let fact = format!("it would be {} now, {} was approved", loaded.digest, terms.new);
        return Err(Refusal::new(Blame::Conflict, "stale-change", fact, "propose it anew").into());
    }
    // Whoever reads the ledger alone must see which passkeys sign no more: it has only the digest of the registry's text.
    let (before, after) = (&gate.controls.registry, &loaded.gate.controls.registry);
    let retired = (terms.control == Control::Registry).then(|| before.passkeys_gone_in(after));
    let body = Body::Changed { change: change(terms), retired };
    records.push(Record::new(gate.now(), Actor::Gate, None, body));
    // If we stop before this returns, nothing changed. If after it, the next start finds the activated text beside the ledger and
    // puts it on disk.
    // Only beside the inputs that it was loaded with: two changes at once would else put a gate in force that nobody loaded.
    let txn = Txn { records, expect_inputs: Some(gate.inputs), ..Txn::default() };
    gate.ports.store.append(txn).await.map_err(PutError::Store)?;
    gate.ports.inputs.activate(terms.control, &document, loaded.gate).await;
    Ok(())
}

/// How many of those who approved are administrators still, and have the key still that they signed with.
fn still_approve(gate: &Gate, row: &ChangeRow) -> usize {
    let holds = |(approver, signature): &(&Id<kind::Person>, &Proof)| {
        let person = gate.controls.registry.person(approver).filter(|person| person.administrator);
        let statement = ChangeStatement {
            r#type: ChangeStatementType::V1,
            terms: row.terms.clone(),
            approver: (*approver).clone(),
            choice: Choice::Approve,
        };
        let signed = Signed { statement, signature: (*signature).clone() };
        person.is_some_and(|person| signed.check(&person.credentials()).is_ok())
    };
    row.approvals.iter().zip(&row.signatures).filter(holds).count()
}

fn change(terms: &ChangeTerms) -> Change {
    Change {
        id: terms.id.clone(),
        control: terms.control,
        old: terms.old,
        new: terms.new,
        author: terms.author.clone(),
    }
}

/// Everything that makes a statement on a change count.
fn eligible(
    gate: &Gate,
    identity: &Identity,
    row: &ChangeRow,
    signed: &Signed<ChangeStatement>,
) -> Result<(), Refusal> {
    let person = signer(gate, identity, signed)?;
    let refuse = |blame, rule, fact: String, next: &'static str| Err(Refusal::new(blame, rule, fact, next));
    if signed.statement.terms != row.terms {
        let fact = "the statement is about other terms than the change's".to_owned();
        return refuse(Blame::Forbidden, "statement-refused", fact, "read the change again and sign anew");
    }
    if !person.administrator {
        let fact = format!("`{}` is not an administrator", person.id);
        return refuse(Blame::Forbidden, "not-an-administrator", fact, "an administrator must decide");
    }
    if person.id == row.terms.author {
        let fact = format!("`{}` wrote this change", person.id);
        return refuse(Blame::Forbidden, "author-approves", fact, "another administrator must decide");
    }
    // Approved is a difference: between what is in force and what would be.
    let active = row.terms.control.of(&gate.inputs);
    if signed.statement.choice == Choice::Approve && active != row.terms.old {
        let fact = format!("it replaces {}, but {active} is in force", row.terms.old);
        return refuse(Blame::Conflict, "stale-change", fact, "propose it anew");
    }
    let open = row.state == ChangeState::Open && gate.now() < row.terms.expires_at_ms;
    if !open || row.approvals.contains(&person.id) {
        let fact = format!("change `{}` is not open to this any more", row.terms.id);
        return refuse(Blame::Conflict, "not-open", fact, "look at the change as it is now");
    }
    Ok(())
}

/// A change.
async fn find(gate: &Gate, id: &Id<kind::Change>) -> Result<ChangeRow, Refusal> {
    gate.ports.store.input_change(id).await?.ok_or_else(|| {
        let fact = format!("there is no change `{id}`");
        Refusal::new(Blame::NotFound, "no-such-change", fact, "list the changes to find its id")
    })
}

async fn document(gate: &Gate, terms: &ChangeTerms) -> Result<Document, Refusal> {
    let kept = gate.ports.store.text(&terms.content).await?;
    kept.and_then(|kept| Document::parse(&kept.text)).ok_or_else(|| {
        let fact = "the files of the change are not kept any more";
        Refusal::new(Blame::Conflict, "erased", fact, "propose it anew")
    })
}

/// A change with the files that it would replace.
pub async fn show(gate: &Gate, id: &Id<kind::Change>) -> Result<Shown, Refusal> {
    let row = find(gate, id).await?;
    let active = gate.ports.inputs.active(row.terms.control);
    let proposed = document(gate, &row.terms).await.ok();
    Ok(Shown { row, active, proposed })
}

/// The gate as it would be with a change in force. Only of a change that is open, of what is in force now.
pub(crate) async fn would_be(gate: &Gate, id: &Id<kind::Change>) -> Result<Arc<Gate>, Refusal> {
    let row = find(gate, id).await?;
    let terms = &row.terms;
    let stale = |fact: String| Refusal::new(Blame::Conflict, "stale-change", fact, "propose it anew");
    if row.state != ChangeState::Open || terms.control.of(&gate.inputs) != terms.old {
        return Err(stale(format!("change `{id}` is not open, or replaces what is not in force any more")));
    }
    let document = document(gate, terms).await?;
    let loaded = gate.ports.inputs.load(gate, terms.control, &document).await;
    let loaded = loaded.map_err(|faults| {
        stale(format!("the {} does not load any more: {}", terms.control, faults.join("; ")))
    })?;
    Ok(loaded.gate)
}

/// Changes, newest first.
pub async fn list(gate: &Gate, limit: u32) -> Result<Vec<ChangeRow>, Refusal> {
    Ok(gate.ports.store.input_changes(limit).await?)
}

/// Notes what is on disk for a control input: what is in force (`Ok`), or something else, with its digest if it loads. While
/// anything else is there, T1 and T2 are suspended, and what is in force stays so.
pub async fn saw_on_disk(
    gate: &Gate,
    control: Control,
    found: Result<(), Option<holdpoint_domain::Digest>>,
) -> Result<(), StoreError> {
    let body = {
        let mut refused = gate.refused();
        let noted = refused.get(&control).copied();
        match (found, noted) {
            (Ok(()), Some(_)) => Body::InputRestored { control },
            (Err(found), None | Some(Noted::NotRecorded)) => {
                refused.insert(control, Noted::NotRecorded);
                Body::InputRefused { control, found }
            }
            (Ok(()), None) | (Err(_), Some(Noted::Recorded)) => return Ok(()),
        }
    };
    let restored = matches!(body, Body::InputRestored { .. });
    tracing::warn!("the {control} on disk: {}", body.word());
    let record = Record::new(gate.now(), Actor::Gate, None, body);
    // If this fails, T1 and T2 stay suspended, and the next look tries again.
    gate.ports.store.append(Txn { records: vec![record], ..Txn::default() }).await?;
    let mut refused = gate.refused();
    if restored {
        refused.remove(&control)
    } else {
        refused.insert(control, Noted::Recorded)
    };
    Ok(())
}
