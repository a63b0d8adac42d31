//! The image service over HTTP, on SQLite and (where `FERROSTACK_TEST_POSTGRES` is set) PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "it/support.rs"]
mod support;

#[path = "it/corpus.rs"]
mod corpus;
#[path = "it/data.rs"]
mod data;
#[path = "it/inspect.rs"]
mod inspect;
#[path = "it/lifecycle.rs"]
mod lifecycle;
