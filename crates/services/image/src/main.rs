//! Glance v2.

fn main() {}
