//! A real browser: Chromium under its own driver, with passkeys that need nobody's finger.
//!
//! Start at [`page::Browser`]. Each one is a person at a machine of their own: its cookies, its passkeys and its console are nobody
//! else's, and it is gone with all its processes when it is dropped.

pub(crate) mod authenticator;
mod driver;
pub(crate) mod page;
pub(crate) mod pictures;
mod proof;
mod site;
mod tour;
