//! Steps: every durable write and every effect on the world that a gate makes, by name.
//!
//! An effect is made inside [`Step::take`], and nowhere else: what writes, starts, signals or sends in a function of its own
//! asks for a [`Taken`], which only a step hands out, and `cargo xtask tidy` refuses the words that make effects anywhere
//! else. So the list of the places where a crash can come between an effect and the knowledge of it is complete, and the
//! crash tests kill the gate at each of them, with a [`Drill`].
//!
//! In a gate without a drill a step costs one load of an atomic.

mod drill;

pub use drill::{Drill, DrillError, Moment};

/// An effect. For each one its line says what the world looks like if the process stops right *before* and right *after* it,
/// and who goes on from there; `docs/steps.md` has the same as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A key file gets its name. Before: the name is free, and the next `init` makes another key. After: the key is whole.
    KeyFile,
    /// A file of `init` gets its name. Before: the next `init` writes it. After: it is whole, and stays as it is.
    InitFile,
    /// The tables of a new store are committed. Before: the next start makes them. After: the log is empty and signed.
    StoreCreate,
    /// Projections that differ from the records are made anew. Before, after: the next start compares again.
    StoreMend,
    /// At a start the write-ahead log is written into the database, synced. Before, after: the next start does it again.
    StoreAnew,
    /// A batch of records is committed and synced. Before: nothing happened, and nobody was told. After: start-up finds the
    /// batch, and `app::recover` goes on from its records.
    StoreCommit,
    /// The write-ahead log is carried over. Before, after: the next start reads what is left of it.
    StoreCarry,
    /// The head is remembered beside the store. Before: the memory is one batch older than the store, which is no fault.
    /// After: a store older than this head is refused.
    HeadWrite,
    /// The remembered head is synced. Before, after: as for the write; only a crash of the machine tells them apart.
    HeadSync,
    /// Room is set aside. Before: the next start, or the next ordinary record, sets it aside. After: it is there.
    ReserveFill,
    /// The reserved room is given to what must be recorded. Before: the reserve stands. After: the next start sets it aside
    /// again, or takes nothing new on.
    ReserveRelease,
    /// The latch file of a halt is put in place. Before: the halt was promised to nobody. After: it halts the next start, which
    /// records it.
    LatchWrite,
    /// The latch file is removed after a resume was recorded. Before: somebody resumes once more. After: it goes on.
    LatchClear,
    /// The text of an activated control input is written where the configuration has it. Before: the next start finds the
    /// activated text beside the ledger and writes it. After: disk and ledger agree.
    ControlFile,
    /// A head that is cosigned takes the place of the last one. Before: nobody saw the cosignature, and whoever asked asks again.
    /// After: whoever asks is told the new size, and goes on from there.
    CosignHead,
    /// A signed head that contradicts the last one is kept. Before: the next request with it is refused, and keeps it. After: it
    /// is there for people.
    CosignEvidence,
    /// A cosigner is asked. Before, after: the next head is submitted, from the size that the cosigner names.
    CosignAsk,
    /// The newest cosigned head is kept beside the store. Before, after: the next one that is cosigned takes its place.
    CosignKeep,
    /// A message is sent to people. Before, after: it is sent by the next start, with the same id.
    NotifySend,
    /// What people were told is remembered. Before: what came since is planned once more, with the same ids. After: it is not.
    NotifyKeep,
    /// An issuer in a process of its own writes down which permit some consents became. Before: nothing was leased. After: the same
    /// permit is leased for again, and no other.
    ConsentKeep,
    /// A role in a process of its own is asked. Before: it knows of nothing. After: the records say what it was asked for; what has
    /// an effect is never asked for again, and what is left of it is looked at.
    RoleAsk,
    /// A lease is minted. Before: there is no credential. After: it died with the process, and its recorded id is revoked.
    LeaseMint,
    /// A lease is ended. Before, after: the sweep ends it again, until a failed use proves it.
    LeaseEnd,
    /// The claims of a bearer lease are noted by its issuer. Before: no token left the process. After: the note is found, and the end
    /// of its token is proven.
    BearerNote,
    /// The note of a bearer lease that is proven dead is removed. Before: it is proven once more. After: nothing is left.
    BearerForget,
    /// A task's role is made at a database server. Before: there is none. After: its name is its lease's id, and the sweep drops it.
    RoleMint,
    /// A task's role may not log in any more. Before, after: the sweep ends the lease again.
    RoleBar,
    /// The sessions of a task's role are ended. Before, after: as above.
    RoleSessions,
    /// What a task's role owns in a database is dropped. Before, after: as above.
    RoleDropOwned,
    /// A task's role is dropped. Before: as above. After: the sweep finds none, and proves it.
    RoleDrop,
    /// A role definition is written at OpenBao. Before: there is none. After: its name is its lease's id, and the sweep ends it.
    BaoDefine,
    /// OpenBao makes credentials by a definition. Before: as above. After: so, and nobody has the password.
    BaoCreds,
    /// The leases of a definition are revoked, or a role that OpenBao forgot is ended. Before, after: the sweep ends the lease again.
    BaoRevoke,
    /// A role definition is removed. Before: as above. After: the sweep finds none, and proves it.
    BaoForget,
    /// The issuer's own token is renewed. Before, after: the next look at it says whether it is time.
    BaoRenew,
    /// A target's memory says `begun`. Before: nothing happened. After: nothing happened, and the version says so: without a
    /// lease nobody applies any more, and the run is over or in doubt.
    MemoryBegin,
    /// A rotation's memory says that the consumer moved. Before: in doubt. After: in doubt, and both tokens are valid.
    MemoryMoved,
    /// A target's memory says `applied` or `undone`. Before: the effect is made and announced; the version tells, or the run is
    /// in doubt. After: recovery finds the effect complete.
    MemoryFinish,
    /// A target's memory takes an announcement back, after it was proven that nothing is left of the effect. Before: in doubt.
    /// After: the run failed.
    MemoryRetract,
    /// A unit is marked as about to be started by the supervisor. Before, after: the next start finds no process with the mark,
    /// and starts it.
    UnitMark,
    /// A unit's process is started. Before: the mark finds nothing. After: the mark finds the process.
    UnitSpawn,
    /// A unit's processes get a signal. Before: they run. After: they end by themselves; a run that asked for it is in doubt.
    UnitSignal,
    /// The supervisor writes down which process it started. Before: the mark finds it. After: it is known.
    UnitKnown,
    /// The supervisor writes down the process that the mark found. Before, after: the next start finds it again.
    UnitAdopt,
    /// A content is staged beside a target's file. Before: nothing happened. After: it lies aside, and the next write drops it.
    PlaceStage,
    /// The staged content and the file change places. Before: the file is as it was. After: the version says that it happened,
    /// and what came out lies aside.
    PlaceSwap,
    /// The folder of a target's file is synced. Before, after: as after the exchange.
    PlaceSync,
    /// What lies aside is removed. Before, after: the next write drops it.
    PlaceClear,
    /// Whoever reads a target's file is told. Before: they read the old one until somebody tells them: in doubt. After: the
    /// version says that it happened.
    PlaceTell,
    /// A job is started at its runner. Before: the runner knows no run of the key: in doubt. After: the observer finds the run by
    /// its key.
    JobStart,
    /// A job that takes too long is cancelled. Before, after: the observer asks the runner what became of the run.
    JobCancel,
    /// nginx tests its configuration. Before, after: nothing was touched by it.
    NginxTest,
    /// An edited include file is staged. Before: nothing happened. After: it lies aside, and the next write drops it.
    NginxStage,
    /// The edited include file takes its place. Before: nothing happened. After: nginx does not know it yet: in doubt.
    NginxSwap,
    /// The folder of the include file is synced. Before, after: as after the exchange.
    NginxSync,
    /// nginx is told to load its configuration. Before, after: the version says which file is there: in doubt.
    NginxReload,
    /// A session of a database is cancelled or ended. Before: begun, and nothing was sent: in doubt. After: the observer looks at
    /// the session.
    BackendSignal,
}

/// The proof that a step is being taken; a function that makes an effect asks for it.
#[derive(Debug)]
pub struct Taken(());

impl Step {
    /// All of them, in the order in which a gate comes to them.
    pub const ALL: [Self; 58] = [
        Self::KeyFile,
        Self::InitFile,
        Self::StoreCreate,
        Self::StoreMend,
        Self::StoreAnew,
        Self::StoreCommit,
        Self::StoreCarry,
        Self::HeadWrite,
        Self::HeadSync,
        Self::ReserveFill,
        Self::ReserveRelease,
        Self::LatchWrite,
        Self::LatchClear,
        Self::ControlFile,
        Self::CosignHead,
        Self::CosignEvidence,
        Self::CosignAsk,
        Self::CosignKeep,
        Self::NotifySend,
        Self::NotifyKeep,
        Self::ConsentKeep,
        Self::RoleAsk,
        Self::LeaseMint,
        Self::LeaseEnd,
        Self::BearerNote,
        Self::BearerForget,
        Self::RoleMint,
        Self::RoleBar,
        Self::RoleSessions,
        Self::RoleDropOwned,
        Self::RoleDrop,
        Self::BaoDefine,
        Self::BaoCreds,
        Self::BaoRevoke,
        Self::BaoForget,
        Self::BaoRenew,
        Self::MemoryBegin,
        Self::MemoryMoved,
        Self::MemoryFinish,
        Self::MemoryRetract,
        Self::UnitMark,
        Self::UnitSpawn,
        Self::UnitSignal,
        Self::UnitKnown,
        Self::UnitAdopt,
        Self::PlaceStage,
        Self::PlaceSwap,
        Self::PlaceSync,
        Self::PlaceClear,
        Self::PlaceTell,
        Self::JobStart,
        Self::JobCancel,
        Self::NginxTest,
        Self::NginxStage,
        Self::NginxSwap,
        Self::NginxSync,
        Self::NginxReload,
        Self::BackendSignal,
    ];

    /// Its name, as drills and the documentation write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "key-file",
            Self::InitFile => "init-file",
            Self::StoreCreate => "store-create",
            Self::StoreMend => "store-mend",
            Self::StoreAnew => "store-anew",
            Self::StoreCommit => "store-commit",
            Self::StoreCarry => "store-carry",
            Self::HeadWrite => "head-write",
            Self::HeadSync => "head-sync",
            Self::ReserveFill => "reserve-fill",
            Self::ReserveRelease => "reserve-release",
            Self::LatchWrite => "latch-write",
            Self::LatchClear => "latch-clear",
            Self::ControlFile => "control-file",
            Self::CosignHead => "cosign-head",
            Self::CosignEvidence => "cosign-evidence",
            Self::CosignAsk => "cosign-ask",
            Self::CosignKeep => "cosign-keep",
            Self::NotifySend => "notify-send",
            Self::NotifyKeep => "notify-keep",
            Self::ConsentKeep => "consent-keep",
            Self::RoleAsk => "role-ask",
            Self::LeaseMint => "lease-mint",
            Self::LeaseEnd => "lease-end",
            Self::BearerNote => "bearer-note",
            Self::BearerForget => "bearer-forget",
            Self::RoleMint => "role-mint",
            Self::RoleBar => "role-bar",
            Self::RoleSessions => "role-sessions",
            Self::RoleDropOwned => "role-drop-owned",
            Self::RoleDrop => "role-drop",
            Self::BaoDefine => "bao-define",
            Self::BaoCreds => "bao-creds",
            Self::BaoRevoke => "bao-revoke",
            Self::BaoForget => "bao-forget",
            Self::BaoRenew => "bao-renew",
            Self::MemoryBegin => "memory-begin",
            Self::MemoryMoved => "memory-moved",
            Self::MemoryFinish => "memory-finish",
            Self::MemoryRetract => "memory-retract",
            Self::UnitMark => "unit-mark",
            Self::UnitSpawn => "unit-spawn",
            Self::UnitSignal => "unit-signal",
            Self::UnitKnown => "unit-known",
            Self::UnitAdopt => "unit-adopt",
            Self::PlaceStage => "place-stage",
            Self::PlaceSwap => "place-swap",
            Self::PlaceSync => "place-sync",
            Self::PlaceClear => "place-clear",
            Self::PlaceTell => "place-tell",
            Self::JobStart => "job-start",
            Self::JobCancel => "job-cancel",
            Self::NginxTest => "nginx-test",
            Self::NginxStage => "nginx-stage",
            Self::NginxSwap => "nginx-swap",
            Self::NginxSync => "nginx-sync",
            Self::NginxReload => "nginx-reload",
            Self::BackendSignal => "backend-signal",
        }
    }

    /// Makes an effect as this step.
    pub fn take<T>(self, effect: impl FnOnce(&Taken) -> T) -> T {
        drill::enter(self);
        let done = effect(&Taken(()));
        drill::leave(self);
        done
    }

    /// Makes an effect as this step, for one that is waited for.
    pub async fn take_async<T, F>(self, effect: impl FnOnce(Taken) -> F) -> T
    where
        F: Future<Output = T>,
    {
        drill::enter(self);
        let done = effect(Taken(())).await;
        drill::leave(self);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variants as they stand in this file: nothing else knows one that was left out of `ALL`.
    fn variants() -> Vec<String> {
        let source = include_str!("mod.rs");
        let (_, after) = source.split_once("pub enum Step {").unwrap();
        let (body, _) = after.split_once("\n}").unwrap();
        let lines = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("///"));
        lines.map(|line| line.trim_end_matches(',').to_owned()).collect()
    }

    #[test]
    fn all_are_all_and_in_order() {
        let all: Vec<_> = Step::ALL.iter().map(|step| format!("{step:?}")).collect();
        assert_eq!(all, variants());
    }

    #[test]
    fn the_documentation_has_a_row_for_each_step_in_order() {
        let page = include_str!("../../../../docs/steps.md");
        let (_, page) = page.split_once("## The steps").unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let named: Vec<_> = rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name).collect();
        assert_eq!(named, Step::ALL.map(Step::as_str));
    }

    #[test]
    fn names_are_the_variants_in_lower_case() {
        for step in Step::ALL {
            let joined: String = step.as_str().split('-').collect();
            assert_eq!(joined, format!("{step:?}").to_lowercase());
        }
    }
}
