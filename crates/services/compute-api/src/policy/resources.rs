//! Rules of flavors, keypairs, quotas, services and hypervisors.

use ferrostack_policy::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
