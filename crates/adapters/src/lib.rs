//! Holdpoint's adapters: the only crate that touches the world
