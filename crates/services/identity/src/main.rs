//! `ferrostack-identity`: Keystone v3 as a process of its own.

use clap::Parser;
use ferrostack_client::{Process, startup};
use std::path::PathBuf;

/// Identity service: Keystone v3, tokens that the other services verify by themselves.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Settings file (TOML); FERROSTACK__SECTION__KEY variables win
    #[arg(long, value_name = "FILE", env = "FERROSTACK_CONFIG")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let process = Process::begin("identity", Cli::parse().config).await?;
    let running = ferrostack_identity::start(&process.settings, process.bus.clone(), process.stop.clone())
        .await
        .map_err(|e| startup("identity", e))?;
    process.end(running).await;
    Ok(())
}
