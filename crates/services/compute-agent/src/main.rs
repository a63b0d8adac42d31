//! Runs guests on its host.

use anyhow::anyhow;
use clap::Parser;
use ferrostack_client::{LocalVerifier, ServiceClient};
use ferrostack_settings::Settings;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Runs guests on its host.
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
    let shown = |e: ferrostack_model::Error| anyhow!(e.for_log());
    let stop = CancellationToken::new();
    let bus = ferrostack_bus::connect(&settings.bus.url, "agent").await.map_err(shown)?;
    let client = ServiceClient::new(&settings.credentials).map_err(shown)?;
    let verifier = LocalVerifier::start(client, &settings.tokens, stop.clone());
    let running =
        ferrostack_compute_agent::start(&settings, bus, verifier, stop.clone()).await.map_err(shown)?;
    tracing::info!(address = %running.address, "agent started");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
    running.wait().await;
    Ok(())
}
