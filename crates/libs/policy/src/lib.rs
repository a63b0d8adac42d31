//! oslo.policy check strings, default rules and `policy.yaml` overrides.

mod check;
mod enforcer;

pub use check::{Check, ParseError};
pub use enforcer::{Enforcer, Rule};
