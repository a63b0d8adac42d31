//! The real command-line clients against six real processes on PostgreSQL and RabbitMQ, with a real guest.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod course_report;
