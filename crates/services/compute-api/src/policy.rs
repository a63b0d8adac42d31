//! Nova policy rules that our routes enforce.

pub mod resources;
pub mod servers;

use ferrostack_policy::{Rule, ScopeType};

/// The default rules, from Nova 34. All but those that others are made of are for tokens of projects.
pub fn rules() -> Vec<Rule> {
    let mut rules = [resources::RULES, servers::RULES].concat();
    for rule in rules.iter_mut().filter(|rule| rule.name.contains(':')) {
        rule.scope_types = &[ScopeType::Project];
    }
    rules
}
