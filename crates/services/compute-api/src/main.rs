//! `ferrostack-compute-api`: the Nova API as a process of its own.

use clap::Parser;
use ferrostack_client::{Process, startup};
use std::path::PathBuf;

/// Nova v2.1 API and the jobs behind it.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Settings file (TOML); FERROSTACK__SECTION__KEY variables win
    #[arg(long, value_name = "FILE", env = "FERROSTACK_CONFIG")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let process = Process::begin("compute-api", Cli::parse().config).await?;
    let verifier = process.verifier().await?;
    let running =
        ferrostack_compute_api::start(&process.settings, process.bus.clone(), verifier, process.stop.clone())
            .await
            .map_err(|e| startup("compute", e))?;
    process.end(running).await;
    Ok(())
}
