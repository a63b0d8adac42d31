//! `ferrostack`: the all-in-one cloud and the operator's tool.

mod admin;
mod cli;
mod ports;
mod state;
mod up;

use clap::Parser;
use cli::{Cli, Command};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::run(args).await,
            Command::Prepare(args) => up::prepare(args),
            Command::Admin { config, command } => admin::run(config.as_deref(), command).await,
        }
    })
}
