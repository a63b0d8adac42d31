//! `ferrostack-network-api`: the network service as a process of its own.

use clap::Parser;
use ferrostack_client::{Process, startup};
use std::path::PathBuf;

/// Networks, subnets and ports (Neutron v2.0).
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Settings file (TOML); the environment FERROSTACK__SECTION__KEY overrides it.
    #[arg(long, short, env = "FERROSTACK_CONFIG")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let process = Process::begin("network", Args::parse().config).await?;
    let verifier = process.verifier().await?;
    let (settings, bus, stop) = (&process.settings, process.bus.clone(), process.stop.clone());
    let running = ferrostack_network_api::start(settings, bus, verifier, stop)
        .await
        .map_err(|e| startup("network", e))?;
    process.end(running).await;
    Ok(())
}
