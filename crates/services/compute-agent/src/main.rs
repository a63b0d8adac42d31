//! `ferrostack-compute-agent`: guests of one host (or many fake ones) as a process of its own.

use clap::Parser;
use ferrostack_client::{Process, startup};
use std::path::PathBuf;

/// Runs guests on its host.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Settings file (TOML); FERROSTACK__SECTION__KEY variables win
    #[arg(long, value_name = "FILE", env = "FERROSTACK_CONFIG")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let process = Process::begin("agent", Cli::parse().config).await?;
    let verifier = process.verifier().await?;
    let stop = process.stop.clone();
    let running = ferrostack_compute_agent::start(&process.settings, process.bus.clone(), verifier, stop)
        .await
        .map_err(|e| startup("agent", e))?;
    tracing::info!(address = %running.address, "listening");
    running.wait().await;
    Ok(())
}
