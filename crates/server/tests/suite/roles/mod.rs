//! The four roles in processes of their own. See `scene` for what the tests stand on.

mod doors;
mod scene;
mod story;
mod thief;
