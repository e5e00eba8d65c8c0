//! The console in a real browser: people enrol, sign in and decide, and nobody else does.

mod attacks;
mod ceremonies;
mod scene;
