//! Filter-and-weigh scheduler.

fn main() {}
