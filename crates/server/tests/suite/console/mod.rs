//! The console in a real browser: people enrol, sign in and decide, and nobody else does.

mod attacks;
mod ceremonies;
mod halts;
mod hostile;
mod judge;
mod lapses;
mod races;
pub(in crate::suite) mod scene;
mod texts;
mod world;
