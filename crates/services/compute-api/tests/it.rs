//! The compute API over HTTP, on SQLite and (where `FERROSTACK_TEST_POSTGRES` is set) PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "it/support.rs"]
mod support;

#[path = "it/flavors.rs"]
mod flavors;
#[path = "it/hosts.rs"]
mod hosts;
#[path = "it/jobs.rs"]
mod jobs;
#[path = "it/keypairs.rs"]
mod keypairs;
#[path = "it/matrix.rs"]
mod matrix;
#[path = "it/protocol.rs"]
mod protocol;
#[path = "it/quotas.rs"]
mod quotas;
#[path = "it/servers.rs"]
mod servers;
#[path = "it/usage.rs"]
mod usage;
#[path = "it/world.rs"]
mod world;
