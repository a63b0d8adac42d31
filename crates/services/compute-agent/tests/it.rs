//! The agent as compute-api meets it: over the bus, with fake hosts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "it/cloud.rs"]
mod cloud;
#[path = "it/orders.rs"]
mod orders;
