//! From credentials to a token and back.

mod context;
pub mod delegation;
mod ec2;
mod find;
mod issue;
pub mod login;
mod methods;
mod request;
pub mod roles;
mod signature;
pub mod trust;

pub use context::{Context, Scope};
pub use delegation::Delegation;
pub use ec2::{Signed, redeem};
pub use issue::{issue, subject_of};
pub use request::schema;
pub use roles::{ancestors, closure};
