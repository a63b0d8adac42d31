//! `ferrostack-scheduler`: the scheduler as a process of its own.

use clap::Parser;
use ferrostack_client::{Process, startup};
use std::path::PathBuf;

/// Chooses hosts for servers.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Settings file (TOML); FERROSTACK__SECTION__KEY variables win
    #[arg(long, value_name = "FILE", env = "FERROSTACK_CONFIG")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let process = Process::begin("scheduler", Cli::parse().config).await?;
    let running = ferrostack_scheduler::start(&process.settings, process.bus.clone(), process.stop.clone())
        .await
        .map_err(|e| startup("scheduler", e))?;
    tracing::info!(address = %running.address, "listening");
    running.wait().await;
    Ok(())
}
