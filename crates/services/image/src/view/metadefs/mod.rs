//! Metadata definitions as clients see them, one noun a file. What is not set is not shown.

pub mod associations;
pub mod namespaces;
pub mod objects;
pub mod properties;
pub mod resource_types;
pub mod tags;
