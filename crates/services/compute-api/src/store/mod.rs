//! All SQL, one module a noun.

pub mod flavors;
pub mod hosts;
pub mod keypairs;
mod numbers;
pub mod quota;
