//! Domain types as JSON at a microversion, one module a noun.

pub mod aggregates;
pub mod diagnostics;
pub mod extensions;
pub mod flavors;
pub mod hypervisors;
pub mod images;
pub mod instance_actions;
pub mod keypairs;
pub mod links;
pub mod migrations;
pub mod networks;
pub mod os_hosts;
pub mod quota_sets;
pub mod security_groups;
pub mod server_groups;
pub mod servers;
pub mod services;
pub mod tenant_usage;
pub mod usage_audit;
pub mod versions;
