//! `ferrostack-compute-api`: the Nova API as a process of its own.

fn main() {}
