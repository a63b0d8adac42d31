//! `ferrostack-image`: the Glance API as a process of its own.

use anyhow::anyhow;
use clap::Parser;
use ferrostack_settings::Settings;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

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
    let settings = Settings::load(Arguments::parse().config.as_deref())?;
    ferrostack_settings::init_telemetry(&settings.log)?;
    let stop = CancellationToken::new();
    let fail = |e: ferrostack_model::Error| anyhow!(e.for_log());
    let bus = ferrostack_bus::connect(&settings.bus.url, "image").await.map_err(fail)?;
    let verifier =
        ferrostack_client::verifier_with_feed(&settings, &bus, stop.clone()).await.map_err(fail)?;
    let running = ferrostack_image::start(&settings, bus, verifier, stop.clone()).await.map_err(fail)?;
    tracing::info!(address = %running.address, "image service listens");
    ferrostack_settings::until_asked_to_stop().await;
    stop.cancel();
    running.stop().await;
    Ok(())
}
