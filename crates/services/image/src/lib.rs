//! Glance v2.
