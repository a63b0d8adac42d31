//! Runs guests on its host.
//!
//! Orders come over the bus, go into the ledger (SQLite) before they are acknowledged, and are carried out by
//! one task per guest. Whatever is unfinished when the agent dies is done by its next start.

mod change;
mod files;
mod host;
mod metadata;
mod metrics;
mod migrate;
mod moves;
mod orders;
mod outbox;
mod perform;
pub mod policy;
mod reports;
mod returning;
pub mod routes;
mod snapshot;
mod start;
mod store;
mod view;

pub use start::{RunningAgent, start, start_with};
