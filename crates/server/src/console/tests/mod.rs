//! The console over a gate of fakes: who may open what, what a page says, and what never comes out of one.

mod bench;
mod foreign;
mod matrix;
mod pages;
mod requests;
