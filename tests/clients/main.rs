//! The real command-line clients against six real processes on PostgreSQL and RabbitMQ, with a real guest; and the
//! middleware of OpenStack's services.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod course_report;
mod identity;
mod image;
mod image_data;
