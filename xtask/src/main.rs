//! One command per developer habit: `cargo xtask --help`.

mod api_ref;
mod bench;
mod guest_image;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "One command per developer habit.")]
enum Task {
    ApiRef(api_ref::ApiRef),
    Bench(bench::Bench),
    GuestImage(guest_image::GuestImage),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::ApiRef(task) => api_ref::run(task.check),
        Task::Bench(task) => task.run(),
        Task::GuestImage(task) => task.run(),
    }
}
