//! Keystone v3.

fn main() {}
