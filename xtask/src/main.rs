//! One command per developer habit.

mod guest_image;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "One command per developer habit.")]
enum Task {
    GuestImage(guest_image::GuestImage),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::GuestImage(task) => task.run(),
    }
}
