//! What files are like now, and what a step would make of them: the observer that flags and settings share. It writes nothing.

use async_trait::async_trait;
use holdpoint_app::port::{Observation, ObserveError, Observer, Preview};
use holdpoint_domain::{Id, action::Action, id::kind, plan, target::Target};

use super::{
    FileReader,
    edit::Editable,
    place::{Content, Place},
    state::FileState,
};
use crate::executor::{chain, memory::ActedBy};

/// Observes files that [`FileExecutor`](super::FileExecutor) edits.
pub struct FileObserver<T> {
    reader: FileReader<T>,
}

impl<T: Editable> FileObserver<T> {
    /// An observer over a reader.
    #[must_use]
    pub const fn new(reader: FileReader<T>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl<T: Editable> Observer for FileObserver<T> {
    async fn observe(&self, action: &Action, target: &Target) -> Result<Observation, ObserveError> {
        let (reader, id, action) = (self.reader.clone(), target.id.clone(), action.id.clone());
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let looked = tokio::task::spawn_blocking(move || look(&reader, &id, &action)).await;
        let seen = looked.map_err(|err| failed(err.to_string()))?.map_err(failed)?;
        seen.ok_or_else(|| ObserveError::Unknown(target.id.clone()))
    }

    async fn preview(
        &self,
        _: &Action,
        target: &Target,
        step: &plan::Step,
    ) -> Result<Option<Preview>, ObserveError> {
        let (reader, id, step) = (self.reader.clone(), target.id.clone(), step.clone());
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let looked = tokio::task::spawn_blocking(move || preview(&reader, &id, &step)).await;
        looked.map_err(|err| failed(err.to_string()))?.map_err(failed)
    }
}

/// What a step would change in a file as it is now; touches nothing.
fn preview<T: Editable>(
    reader: &FileReader<T>,
    id: &Id<kind::Target>,
    step: &plan::Step,
) -> Result<Option<Preview>, String> {
    let Some(target) = reader.inner.targets.get(id) else { return Ok(None) };
    let place = Place::open(target.path()).map_err(|err| chain(&err))?;
    let now = place.read(T::MAX_BYTES).map_err(|err| chain(&err))?;
    let version = target.version(&now).map_err(|err| chain(&err))?;
    let changed = target.edited(&now, step).and_then(|bytes| {
        let after = Content { bytes, ..now.clone() };
        target.fields(&now, &after, step)
    });
    Ok(Some(match changed {
        Ok(fields) => Preview { version, fields, refused: None },
        Err(err) => Preview { version, fields: Vec::new(), refused: Some(err.to_string()) },
    }))
}

fn look<T: Editable>(
    reader: &FileReader<T>,
    id: &Id<kind::Target>,
    action: &Id<kind::Action>,
) -> Result<Option<Observation>, String> {
    let Some(target) = reader.inner.targets.get(id) else { return Ok(None) };
    let place = Place::open(target.path()).map_err(|err| chain(&err))?;
    // The state first: what is announced in it can only have happened by the time the file is read.
    let state = FileState::load(&reader.inner.dir, id).map_err(|err| chain(&err))?;
    let now = place.read(T::MAX_BYTES).map_err(|err| chain(&err))?;
    let version = target.version(&now).map_err(|err| chain(&err))?;
    let undo_computed = T::knows(action)
        && target.part(&now).is_ok()
        && place.could_write(now.bytes.len().saturating_mul(2)).is_ok();
    let parts = target.parts(&now).map_err(|err| chain(&err))?;
    let acted = state.acted.as_ref().map(ActedBy::acted);
    Ok(Some(Observation { version, parts, down: false, undo_computed, acted }))
}
