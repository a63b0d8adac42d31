//! Who may ask an agent.

use ferrostack_policy::Rule;

/// Reading a guest's console from its agent: compute-api on behalf of its users, and admins.
pub const CONSOLE: &str = "agent:console";

/// The rules of the agent's own endpoint.
pub const RULES: &[Rule] = &[Rule::new(CONSOLE, "role:service or role:admin")];
