//! What every handler and job reaches.

use crate::{image::ImageApi, network::NetworkApi, notify, reconcile::feed::HostsFeed};
use ferrostack_bus::Bus;
use ferrostack_client::ServiceClient;
use ferrostack_db::Db;
use ferrostack_jobs::Runner;
use ferrostack_model::Result;
use ferrostack_settings::Settings;
use std::sync::{Arc, OnceLock, Weak};
use tokio_util::sync::CancellationToken;

/// How long jobs wait for others, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For the scheduler's answer before it is asked again.
    pub schedule_ms: i64,
    /// For an agent's word on an order before it is asked what became of it.
    pub inquiry_ms: i64,
    /// Questions an agent of a living host may leave unanswered before its host is given up.
    pub inquiries: u32,
    /// Before hosts are sought again after every choice was taken by others.
    pub lost_claim_ms: i64,
}

impl Timing {
    fn of(settings: &Settings) -> Self {
        Self {
            schedule_ms: 10_000,
            inquiry_ms: settings.compute.build_inquiry_seconds.clamp(1, 3600) * 1000,
            inquiries: 10,
            lost_claim_ms: 250,
        }
    }
}

/// The service's parts.
pub struct App {
    /// Settings of the cloud; ours is `settings.compute`.
    pub settings: Settings,
    /// Our tables.
    pub db: Db,
    /// Messages.
    pub bus: Arc<dyn Bus>,
    /// Calls to other services with our own credentials.
    pub client: ServiceClient,
    /// Ports and networks.
    pub network: NetworkApi,
    /// Images.
    pub image: ImageApi,
    /// Tells the schedulers about hosts.
    pub hosts: HostsFeed,
    /// How long jobs wait.
    pub timing: Timing,
    /// Ends every background task.
    pub stop: CancellationToken,
    runner: OnceLock<Weak<Runner<App>>>,
}

impl App {
    /// Puts the parts together.
    pub fn new(settings: &Settings, db: Db, bus: Arc<dyn Bus>, stop: CancellationToken) -> Result<Arc<Self>> {
        let timing = Timing::of(settings);
        Self::with_timing(settings, db, bus, stop, timing)
    }

    /// [`Self::new`] with other waiting times: for tests that lose messages.
    pub fn with_timing(
        settings: &Settings,
        db: Db,
        bus: Arc<dyn Bus>,
        stop: CancellationToken,
        timing: Timing,
    ) -> Result<Arc<Self>> {
        notify::enable(settings.compute.notifications.enabled);
        let client = ServiceClient::new(&settings.credentials)?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            db,
            bus,
            network: NetworkApi::new(client.clone(), settings.compute.network_url.clone()),
            image: ImageApi::new(client.clone(), settings.compute.image_url.clone()),
            client,
            hosts: HostsFeed::default(),
            timing,
            stop,
            runner: OnceLock::new(),
        }))
    }

    /// Names the runner that [`Self::poke`] wakes.
    pub fn set_runner(&self, runner: &Arc<Runner<App>>) {
        // A second runner of one process would poll for itself.
        let _ = self.runner.set(Arc::downgrade(runner));
    }

    /// Says that a job may be due. Call it after the commit.
    pub fn poke(&self) {
        if let Some(runner) = self.runner.get().and_then(Weak::upgrade) {
            runner.poke();
        }
    }
}
