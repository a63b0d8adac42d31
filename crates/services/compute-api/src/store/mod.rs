//! All SQL, one module a noun.

pub mod hosts;
