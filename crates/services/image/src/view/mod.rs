//! Records as JSON.

pub mod image;
pub mod member;
pub mod task;
