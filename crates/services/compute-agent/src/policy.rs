//! Who may ask an agent.

use ferrostack_policy::Rule;

/// Reading a guest's console from its agent: compute-api on behalf of its users, and admins.
pub const CONSOLE: &str = "agent:console";

/// Asking something of a guest: compute-api on behalf of its users, and admins.
pub const GUEST: &str = "agent:guest";
/// Reading a guest's disks from its agent: the agents of other hosts.
pub const DISKS: &str = "agent:disks";

/// The rules of the agent's own endpoint.
pub const RULES: &[Rule] = &[
    Rule::new(CONSOLE, "role:service or role:admin"),
    Rule::new(GUEST, "role:service or role:admin"),
    Rule::new(DISKS, "role:service"),
];
