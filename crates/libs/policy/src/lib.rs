//! oslo.policy check strings, default rules, overrides.

mod check;
mod enforcer;
mod file;

pub use check::{Check, ParseError};
pub use enforcer::{Enforcer, Rule, ScopeType};
pub use file::FileError;
