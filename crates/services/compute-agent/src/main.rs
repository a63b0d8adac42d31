//! Runs guests on its host.

fn main() {}
