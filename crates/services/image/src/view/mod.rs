//! Records as JSON.

pub mod image;
pub mod member;
pub mod metadefs;
pub mod task;
pub mod usage;
pub mod v1;
