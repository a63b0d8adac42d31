//! `ferrostack-image`: the Glance API as a process of its own.

use clap::Parser;
use ferrostack_client::{Process, startup};
use std::path::PathBuf;

/// The Ferrostack image service (Glance v2).
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Settings file (TOML); `FERROSTACK__SECTION__KEY` in the environment wins over it.
    #[arg(long, env = "FERROSTACK_CONFIG")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let process = Process::begin("image", Arguments::parse().config).await?;
    let verifier = process.verifier().await?;
    let running =
        ferrostack_image::start(&process.settings, process.bus.clone(), verifier, process.stop.clone())
            .await
            .map_err(|e| startup("image", e))?;
    process.end(running).await;
    Ok(())
}
