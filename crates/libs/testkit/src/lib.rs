//! `TestCloud`: every service in one process for tests, on a fresh database, either bus, with fake hosts.
//!
//! For tests only, so it may panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod cloud;
mod eventually;
mod postgres;

pub use api::{Answer, Api};
pub use cloud::{Database, Options, TestCloud};
pub use eventually::{eventually, eventually_for};
pub use postgres::TestDatabase;
