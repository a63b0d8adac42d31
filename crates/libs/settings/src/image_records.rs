//! Settings of image records.

use serde::{Deserialize, Serialize};

/// What the file of property protections names (Glance's `property_protection_rule_format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PropertyProtectionFormat {
    /// Roles.
    #[default]
    Roles,
    /// Rules of the policy.
    Policies,
}
