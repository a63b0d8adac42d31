//! The contract on both buses, and what only a broker can do to us.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod amqp;
mod broker;
mod local;
