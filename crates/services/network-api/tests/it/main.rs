//! The network service over HTTP, on SQLite and, where `FERROSTACK_TEST_POSTGRES` is set, on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod allocation;
mod bootstrap;
mod cloud;
mod crud;
mod hostile;
mod lists;
mod policy;
mod quota;
