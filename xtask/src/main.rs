//! One command per developer habit.

fn main() {}
