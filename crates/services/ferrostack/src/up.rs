//! `ferrostack up`: every service in this process.

use crate::{admin::ours, cli::StateArgs, ports, state::StateDir};
use anyhow::Context;
use ferrostack_bus::LocalBus;
use ferrostack_settings::Settings;
use std::{sync::Arc, time::Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `ferrostack prepare`.
pub fn prepare(args: StateArgs) -> anyhow::Result<()> {
    let dir = StateDir::prepare(&args)?;
    println!("{}", dir.path.display());
    Ok(())
}

/// `ferrostack up`.
pub async fn run(args: StateArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    anyhow::ensure!(args.bus_url.is_none(), "--bus-url is for `ferrostack prepare`: up uses the bus in its process");
    let dir = StateDir::prepare(&args)?;
    let _lock = dir.lock()?;
    let settings = &dir.settings;
    ferrostack_settings::init_telemetry(&settings.log)?;
    ports::check_free(settings)?;

    let stop = CancellationToken::new();
    let cloud = Cloud::start(settings, stop.clone()).await?;
    for (service, _, address) in ports::all(settings) {
        println!("{service:<10} http://{address}");
    }
    println!("openrc     {}", dir.path.join("openrc").display());
    println!("ready ({:.1} s)", started.elapsed().as_secs_f64());

    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("stopping; guests go on running");
    stop.cancel();
    cloud.stop().await;
    Ok(())
}

/// The running services.
struct Cloud(Vec<ferrostack_http::Running>);

impl Cloud {
    async fn start(settings: &Settings, stop: CancellationToken) -> anyhow::Result<Self> {
        let bus = Arc::new(LocalBus::new());
        let mut running = Vec::new();
        running.push(
            ferrostack_identity::start(settings, bus.clone(), stop.clone()).await.map_err(ours).context("identity")?,
        );
        let verifier = ferrostack_client::verifier(settings, bus.clone(), stop.clone()).await.map_err(ours)?;
        macro_rules! start {
            ($($name:literal $service:ident),+) => {$(
                running.push(
                    $service::start(settings, bus.clone(), verifier.clone(), stop.clone())
                        .await
                        .map_err(ours)
                        .context($name)?,
                );
            )+};
        }
        start!(
            "image" ferrostack_image,
            "network" ferrostack_network_api,
            "compute" ferrostack_compute_api,
            "agent" ferrostack_compute_agent
        );
        running.push(
            ferrostack_scheduler::start(settings, bus, stop).await.map_err(ours).context("scheduler")?,
        );
        Ok(Self(running))
    }

    async fn stop(self) {
        for service in self.0 {
            service.stop().await;
        }
    }
}
