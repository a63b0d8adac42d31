//! The part of Neutron that servers need.

fn main() {}
