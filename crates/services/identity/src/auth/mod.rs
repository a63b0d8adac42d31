//! From credentials to a token and back.

mod context;
pub mod delegation;
mod ec2;
mod factors;
mod find;
mod issue;
pub mod login;
mod methods;
mod receipt;
mod request;
pub mod roles;
mod signature;
pub mod trust;

pub use context::{Context, Scope};
pub use delegation::Delegation;
pub use ec2::{Signed, redeem};
#[allow(unused_imports)] // for logins that know no receipts
pub use issue::issue;
pub use issue::{Login, login, subject_of};
pub use receipt::Partial;
pub use request::schema;
pub use roles::{ancestors, closure};
