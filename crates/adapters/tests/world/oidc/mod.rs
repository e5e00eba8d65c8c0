//! Single sign-on against a provider that lies: each word of its wrong, one at a time.

mod answers;
mod provider;
mod tokens;
