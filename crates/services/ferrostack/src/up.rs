//! `ferrostack up`: every service in this process.

use crate::{cli::StateArgs, ports, state::StateDir};
use ferrostack::Cloud;
use ferrostack_bus::LocalBus;
use std::{sync::Arc, time::Instant};
use tokio::signal::unix::{SignalKind, signal};

/// `ferrostack prepare`.
pub fn prepare(args: StateArgs) -> anyhow::Result<()> {
    let dir = StateDir::prepare(&args)?;
    println!("{}", dir.path.display());
    Ok(())
}

/// `ferrostack up`.
pub async fn run(args: StateArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    anyhow::ensure!(
        args.bus_url.is_none(),
        "--bus-url is for `ferrostack prepare`: up uses the bus in its process"
    );
    let mut dir = StateDir::prepare(&args)?;
    let _lock = dir.lock()?;
    dir.settings.identity.v2_api.get_or_insert(true);
    dir.settings.image.v1_api.get_or_insert(true);
    let settings = &dir.settings;
    ferrostack_settings::init_telemetry(&settings.log)?;
    for file in ferrostack_settings::exposed(settings, args.config.as_deref()) {
        file.warn();
    }
    ports::check_free(settings)?;

    let cloud = Cloud::start(settings, Arc::new(LocalBus::new())).await?;
    for (service, _, address) in ports::all(settings) {
        println!("{service:<10} http://{address}");
    }
    println!("openrc     {}", dir.path.join("openrc").display());
    println!("ready ({:.1} s)", started.elapsed().as_secs_f64());

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("stopping; guests go on running");
    cloud.stop().await;
    Ok(())
}
