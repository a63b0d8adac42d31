//! Nova v2.1.

fn main() {}
