//! Single sign-on at a real provider, under Node.js.

mod provider;
mod real;
