//! Rules of servers.

use ferrostack_policy::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
