//! The all-in-one cloud.

fn main() {}
