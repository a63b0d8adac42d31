//! Domain types as JSON at a microversion, one module a noun.

pub mod flavors;
pub mod keypairs;
pub mod links;
pub mod versions;
