//! From credentials to a token and back.

mod context;
mod find;
mod issue;
mod methods;
mod request;
mod roles;

pub use context::{Context, Scope};
pub use issue::{issue, subject_of};
pub use request::schema;
pub use roles::closure;
