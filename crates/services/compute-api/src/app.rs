//! What every handler and job reaches.

use ferrostack_bus::Bus;
use ferrostack_client::ServiceClient;
use ferrostack_db::Db;
use ferrostack_model::Result;
use ferrostack_settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

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
    /// Ends every background task.
    pub stop: CancellationToken,
}

impl App {
    /// Puts the parts together.
    pub fn new(settings: &Settings, db: Db, bus: Arc<dyn Bus>, stop: CancellationToken) -> Result<Arc<Self>> {
        let client = ServiceClient::new(&settings.credentials)?;
        Ok(Arc::new(Self { settings: settings.clone(), db, bus, client, stop }))
    }
}
