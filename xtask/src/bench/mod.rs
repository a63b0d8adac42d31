//! `cargo xtask bench …`: figures of a release build on this machine.

mod identity;
mod image;
mod image_stage;
mod limit;
mod load;
mod stage;
mod transfer;

use anyhow::Result;

/// Measures a release build; see docs/benchmarks.md.
#[derive(Debug, clap::Args)]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Identity(identity::Identity),
    Image(image::Image),
}

impl Bench {
    /// Runs it.
    pub fn run(&self) -> Result<()> {
        match &self.what {
            What::Identity(task) => task.run(),
            What::Image(task) => task.run(),
        }
    }
}
