//! Narrowing: what is passed on of a permit is never more than what was held.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signer as _, SigningKey};
use holdpoint_domain::{
    Digest, Rung,
    narrow::{Chain, Holding, MAX_LINKS, NarrowError, Narrowing, Widened, extended},
    permit::PermitError,
    plan::MAX_STEPS,
    signature::{PublicKey, Signature},
};

use super::support::{NOW, at, executor, gate, grant, id, jws, key, public};

/// A permit as the gate signs it.
fn permit() -> String {
    jws(&grant(Rung::T1, &[]).unwrap(), &gate())
}

/// A link behind `parent` by `holder`, to `to`, that grants what the permit of [`permit`] grants, all but a step.
fn link(parent: &str, holder: &SigningKey, to: &SigningKey) -> Narrowing {
    Narrowing {
        parent: Digest::of_bytes(parent.as_bytes()),
        by: public(holder),
        executor: id("process"),
        key: public(to).thumbprint(),
        steps: (0..3).collect(),
        start_before_ms: at(NOW + 31_000),
        undo_until_ms: at(NOW + 91_000),
    }
}

fn signed(parent: &str, holder: &SigningKey, link: &Narrowing) -> String {
    let signature = holder.sign(link.signing_input().unwrap().as_bytes());
    extended(parent, link, &Signature::from_bytes(signature.to_bytes())).unwrap()
}

fn open(text: &str) -> Result<Option<Holding>, NarrowError> {
    Chain::open(text, &public(&gate()).into()).map(|chain| chain.holding(&id("process")))
}

#[test]
fn a_key_has_the_thumbprint_of_rfc_8037() {
    // RFC 8037, appendix A.2 and A.3.
    let key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
    let key = PublicKey::try_from(key).unwrap();
    assert_eq!(key.x(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(key.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn inv06_a_permit_is_held_by_the_executors_that_it_names() {
    let held = open(&permit()).unwrap().unwrap();
    assert_eq!(held.key, public(&executor()).thumbprint());
    assert_eq!(held.steps.len(), MAX_STEPS);
    assert_eq!((held.start_before, held.undo_until), (at(NOW + 31_000), at(NOW + 91_000)));
    let chain = Chain::open(&permit(), &public(&gate()).into()).unwrap();
    assert_eq!(chain.holding(&id("flags")), None);
    assert_eq!(chain.permit().jws(), permit());
}

#[test]
fn inv06_a_holder_passes_on_less() {
    let (root, worker, helper) = (permit(), key(1), key(2));
    let first = link(&root, &executor(), &worker);
    let chain = signed(&root, &executor(), &first);
    let held = open(&chain).unwrap().unwrap();
    assert_eq!((held.key, &held.steps), (public(&worker).thumbprint(), &first.steps));

    let second =
        Narrowing { steps: [1].into(), start_before_ms: at(NOW + 2_000), ..link(&chain, &worker, &helper) };
    let longer = signed(&chain, &worker, &second);
    let held = open(&longer).unwrap().unwrap();
    assert_eq!((held.key, held.steps), (public(&helper).thumbprint(), BTreeSet::from([1])));
    assert_eq!((held.start_before, held.undo_until), (at(NOW + 2_000), at(NOW + 91_000)));
    assert_eq!(Chain::open(&longer, &public(&gate()).into()).unwrap().holding(&id("flags")), None);
}

#[test]
fn inv06_no_link_grants_more_than_what_it_narrows() {
    type Change = fn(&mut Narrowing);
    let cases: [(&str, Widened, Change); 8] = [
        ("another executor", Widened::Executor, |link| link.executor = id("flags")),
        ("a step more", Widened::Steps, |link| _ = link.steps.insert(3)),
        ("a step that no plan has", Widened::Steps, |link| link.steps = [u32::MAX].into()),
        ("no step", Widened::Steps, |link| link.steps.clear()),
        ("a later start", Widened::Start, |link| link.start_before_ms = at(NOW + 31_001)),
        ("a start without end", Widened::Start, |link| link.start_before_ms = at(u64::MAX >> 12)),
        ("a later end", Widened::End, |link| link.undo_until_ms = at(NOW + 91_001)),
        ("an end before the start", Widened::End, |link| link.undo_until_ms = at(NOW + 30_999)),
    ];
    let (worker, helper) = (key(1), key(2));
    let chain = signed(&permit(), &executor(), &link(&permit(), &executor(), &worker));
    for (case, what, change) in cases {
        let mut wider = link(&chain, &worker, &helper);
        change(&mut wider);
        let opened = open(&signed(&chain, &worker, &wider));
        assert_eq!(opened, Err(NarrowError::Wider { link: 1, what }), "{case}");
    }
    let stranger = Narrowing { executor: id("flags"), ..link(&permit(), &executor(), &worker) };
    let opened = open(&signed(&permit(), &executor(), &stranger));
    assert_eq!(opened, Err(NarrowError::Wider { link: 0, what: Widened::Executor }));
}

#[test]
fn inv06_only_the_holder_passes_on() {
    let (root, worker, mallory) = (permit(), key(1), key(9));
    let honest = link(&root, &executor(), &worker);
    let chain = signed(&root, &executor(), &honest);

    let forged = link(&root, &mallory, &mallory);
    assert_eq!(open(&signed(&root, &mallory, &forged)), Err(NarrowError::NotTheHolder(0)), "another key");
    let claimed = link(&root, &executor(), &mallory);
    assert_eq!(open(&signed(&root, &mallory, &claimed)), Err(NarrowError::NotTheHolder(0)), "another's name");
    let back = link(&chain, &executor(), &mallory);
    assert_eq!(
        open(&signed(&chain, &executor(), &back)),
        Err(NarrowError::NotTheHolder(1)),
        "who passed it on"
    );
    let by_the_gate = link(&chain, &gate(), &mallory);
    assert_eq!(open(&signed(&chain, &gate(), &by_the_gate)), Err(NarrowError::NotTheHolder(1)), "the gate");
}

#[test]
fn t07_a_link_belongs_to_one_chain() {
    let (root, worker, helper) = (permit(), key(1), key(2));
    let chain = signed(&root, &executor(), &link(&root, &executor(), &worker));
    let longer = signed(&chain, &worker, &link(&chain, &worker, &helper));
    let (_, last) = longer.rsplit_once('~').unwrap();
    let (_, first) = chain.split_once('~').unwrap();

    let mut other = grant(Rung::T1, &[]).unwrap();
    other.epoch += 1;
    let other = jws(&other, &gate());
    assert_eq!(open(&format!("{other}~{first}")), Err(NarrowError::OtherParent(0)), "another permit");
    assert_eq!(open(&format!("{root}~{last}")), Err(NarrowError::OtherParent(0)), "a link left out");
    assert_eq!(open(&format!("{root}~{last}~{first}")), Err(NarrowError::OtherParent(0)), "another order");
    assert_eq!(open(&format!("{chain}~{first}")), Err(NarrowError::OtherParent(1)), "twice");
    // Whoever cuts a link off has what they had before, and is not bound to the key of it.
    assert_eq!(open(&chain).unwrap().unwrap().key, public(&worker).thumbprint());
}

#[test]
fn t19_a_link_has_one_spelling() {
    let (root, worker) = (permit(), key(1));
    let honest = link(&root, &executor(), &worker);
    let chain = signed(&root, &executor(), &honest);
    for bad in ["~", "~~", "~a", "~a.b", "~a.b.c", "~..", "~e30.e30.e30", ".x", "=", "\n"] {
        assert!(open(&format!("{chain}{bad}")).is_err(), "{bad:?} was let through");
    }
    for (at, byte) in chain.bytes().enumerate() {
        let mut bytes = chain.clone().into_bytes();
        bytes[at] = if byte == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(open(&changed).is_err(), "byte {at} can be changed");
    }
    // A payload with a name more, signed by the holder: not what it would write.
    let input = honest.signing_input().unwrap();
    let (header, _) = input.split_once('.').unwrap();
    let payload = serde_json::to_string(&honest).unwrap();
    let loose = payload.replacen('{', "{\"all\":true,", 1);
    for (case, payload) in [("a name more", loose), ("white space", payload.replacen(':', ": ", 1))] {
        let signed = format!("{header}.{}", super::support::base64url(payload.as_bytes()));
        let signature = Signature::from_bytes(executor().sign(signed.as_bytes()).to_bytes());
        let text = format!("{root}~{}", holdpoint_domain::permit::compact(&signed, &signature));
        assert_eq!(open(&text), Err(NarrowError::Malformed(0)), "{case}");
    }
    // A permit is no link, and a link no permit, whoever signed it.
    assert_eq!(open(&format!("{root}~{root}")), Err(NarrowError::Malformed(0)));
    let by_gate = signed(&root, &gate(), &link(&root, &gate(), &worker));
    let (_, alone) = by_gate.split_once('~').unwrap();
    assert_eq!(open(alone), Err(NarrowError::Permit(PermitError::Malformed)));
}

#[test]
fn t30_a_chain_has_a_largest_length() {
    let mut chain = permit();
    let mut holder = executor();
    for number in 0..MAX_LINKS {
        let next = key(u8::try_from(number).unwrap());
        chain = signed(&chain, &holder, &link(&chain, &holder, &next));
        holder = next;
    }
    assert!(open(&chain).is_ok());
    let longer = signed(&chain, &holder, &link(&chain, &holder, &holder.clone()));
    assert_eq!(open(&longer), Err(NarrowError::TooLong));
    assert_eq!(open(&"~".repeat(1 << 20)), Err(NarrowError::TooLong));
}

/// Numbers from a seed (xorshift64*): a million cases must be cheap.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

/// A million random chains, against a second reading of the rule that knows sets of bits and numbers only: what a chain grants is
/// within everything before it, and a link that is within what it narrows is never refused.
#[test]
fn inv06_no_chain_widens_anything_in_a_million_cases() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let root = grant(Rung::T1, &[]).unwrap();
    let names = [id("process"), id("flags")];
    let keys: Vec<_> = (0..4).map(|seed| public(&key(seed))).collect();
    let steps: Vec<BTreeSet<u32>> =
        (0..32_u32).map(|bits| (0..5).filter(|step| bits & (1 << step) != 0).collect()).collect();
    let (mut links, mut refused) = (0_u32, BTreeMap::<_, u32>::new());
    for _ in 0..1_000_000 {
        let mut held = Holding::of(&root, &names[0]).unwrap();
        let (mut bits, mut start, mut end) = (0b1111_u64, NOW + 31_000, NOW + 91_000);
        for _ in 0..=numbers.below(4) {
            // Mostly near the bounds: far off, every case would be the same.
            let near = |numbers: &mut Numbers, bound: u64| (bound + 2).saturating_sub(numbers.below(8));
            let (less, kept) = (numbers.below(32), numbers.below(4) == 0);
            let wanted = if kept { less } else { less & bits };
            let (wanted_start, wanted_end) = (near(&mut numbers, start), near(&mut numbers, end));
            let name = usize::from(numbers.below(16) == 0);
            let by = numbers.below(4) as usize;
            let link = Narrowing {
                parent: Digest::of_bytes(b"parent"),
                by: keys[by].clone(),
                executor: names[name].clone(),
                key: keys[(by + 1) % 4].thumbprint(),
                steps: steps[wanted as usize].clone(),
                start_before_ms: at(wanted_start),
                undo_until_ms: at(wanted_end),
            };
            let within = name == 0
                && wanted != 0
                && wanted & !bits == 0
                && wanted_start <= start
                && wanted_end <= end
                && wanted_start <= wanted_end;
            match held.narrowed(&link) {
                Ok(less) => {
                    assert!(within, "{link:?} widens {held:?}");
                    assert!(less.steps.is_subset(&held.steps) && !less.steps.is_empty());
                    assert!(less.start_before <= held.start_before && less.undo_until <= held.undo_until);
                    assert!(less.executor == held.executor && less.key == link.key);
                    (bits, start, end) = (wanted, wanted_start, wanted_end);
                    held = less;
                    links += 1;
                }
                Err(what) => {
                    assert!(!within, "{link:?} is within {held:?} and was refused: {what}");
                    *refused.entry(format!("{what:?}")).or_default() += 1;
                    break;
                }
            }
        }
    }
    // Evidence that the cases were of every kind.
    assert!(
        links > 100_000 && refused.len() == 4 && refused.values().all(|count| *count > 10_000),
        "{refused:?}"
    );
}
