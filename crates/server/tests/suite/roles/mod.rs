//! The four roles in processes of their own. See `scene` for what the tests stand on.

mod doors;
mod emergency;
mod halts;
pub(super) mod scene;
mod story;
mod thief;

fn id<K: holdpoint_domain::id::Kind>(text: &str) -> holdpoint_domain::Id<K> {
    holdpoint_domain::Id::parse(text).unwrap()
}
