//! All SQL, one module a noun.

pub mod aggregates;
pub mod claims;
pub mod control_services;
pub mod flavors;
pub mod guests;
pub mod hosts;
pub mod instance_actions;
pub mod keypairs;
pub mod live_migration_wishes;
pub mod migrations;
pub mod move_claims;
pub mod notifications;
mod numbers;
pub mod origin;
pub mod quota;
pub mod server_groups;
pub mod server_nics;
pub mod server_tags;
pub mod servers;
pub mod services;
pub mod shelved;
pub mod tenant_usage;

pub use ferrostack_db::Tx;
