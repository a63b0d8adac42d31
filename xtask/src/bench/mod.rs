//! `cargo xtask bench …`: figures of a release build on this machine.

mod identity;
mod load;
mod stage;

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
}

impl Bench {
    /// Runs it.
    pub fn run(&self) -> Result<()> {
        match &self.what {
            What::Identity(task) => task.run(),
        }
    }
}
