//! Domain types, errors, state machines and every bus message.
//!
//! Nothing here does I/O or is async, so every crate may depend on it.

pub mod action;
pub mod auth;
pub mod diagnostics;
pub mod error;
pub mod guest;
pub mod guest_change;
pub mod guest_hardware;
pub mod guest_move;
pub mod host;
pub mod id;
pub mod image;
pub mod image_properties;
pub mod live_migration;
pub mod message;
pub mod microversion;
pub mod migration;
pub mod network;
pub mod placement;
pub mod returning;
pub mod revocation;
pub mod server;
pub mod snapshot;
pub mod time;

pub use auth::{
    AccessRule, AppCredRef, Caller, DomainRef, ProjectRef, RevocationEvent, TokenClaims, TrustRef,
};
pub use error::{Error, ErrorKind, Result};
pub use microversion::{Feature, Microversion};
pub use revocation::RevocationSet;
pub use time::Timestamp;
