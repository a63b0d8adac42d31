//! Nova policy rules that our routes enforce.

pub mod resources;
pub mod servers;

use ferrostack_policy::Rule;

/// The default rules, from Nova 34.
pub fn rules() -> Vec<Rule> {
    [resources::RULES, servers::RULES].concat()
}
