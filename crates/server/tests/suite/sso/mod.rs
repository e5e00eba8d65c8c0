//! Single sign-on at a real provider, under Node.js.

mod console;
mod provider;
mod real;

pub(crate) use console::Scene;
