//! Filter-and-weigh scheduler.

use anyhow::anyhow;
use clap::Parser;
use ferrostack_settings::Settings;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Chooses hosts for servers.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Settings file (TOML); the environment FERROSTACK__SECTION__KEY overrides it.
    #[arg(long, short, env = "FERROSTACK_CONFIG")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::load(Args::parse().config.as_deref())?;
    ferrostack_settings::init_telemetry(&settings.log)?;
    let stop = CancellationToken::new();
    let bus =
        ferrostack_bus::connect(&settings.bus.url, "scheduler").await.map_err(|e| anyhow!(e.for_log()))?;
    let running =
        ferrostack_scheduler::start(&settings, bus, stop.clone()).await.map_err(|e| anyhow!(e.for_log()))?;
    tracing::info!(address = %running.address, "scheduler started");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
    running.wait().await;
    Ok(())
}
