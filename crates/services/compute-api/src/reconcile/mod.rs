//! What keeps the tables and the world the same without being asked: on messages and on timers, idempotent.

pub mod feed;
pub mod guests;
pub mod history;
pub mod interfaces;
pub mod notifications;
pub mod ports;
pub mod reclaim;
pub mod resizes;
pub mod returning;
pub mod service_reports;
pub mod shelved;
