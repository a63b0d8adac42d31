//! Nova policy rules that our routes enforce.

use ferrostack_policy::Rule;

/// The default rules, from Nova 34.
pub const RULES: &[Rule] = &[];
