//! The agent as compute-api meets it: over the bus, with fake hosts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "it/cloud.rs"]
mod cloud;
#[path = "it/console.rs"]
mod console;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/image_safety.rs"]
mod image_safety;
#[path = "it/images.rs"]
mod images;
#[path = "it/linux.rs"]
mod linux;
#[path = "it/metadata.rs"]
mod metadata;
#[path = "it/moves.rs"]
mod moves;
#[path = "it/orders.rs"]
mod orders;
#[path = "it/reports.rs"]
mod reports;
#[path = "it/snapshots.rs"]
mod snapshots;
#[path = "it/store.rs"]
mod store;
