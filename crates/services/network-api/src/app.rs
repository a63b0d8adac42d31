//! What every handler shares.

use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_http::HealthCheck;
use ferrostack_model::Result;
use ferrostack_settings::{Network, Settings};
use std::sync::Arc;

/// The service's state.
pub struct App {
    /// Tables.
    pub db: Db,
    /// `[network]`
    pub settings: Network,
    /// The one availability zone: networks are realised on every host of the compute zone.
    pub zone: String,
    bus: Arc<dyn Bus>,
}

impl App {
    pub(crate) fn new(settings: &Settings, db: Db, bus: Arc<dyn Bus>) -> Self {
        Self {
            db,
            settings: settings.network.clone(),
            zone: settings.compute.default_availability_zone.clone(),
            bus,
        }
    }
}

#[async_trait]
impl HealthCheck for App {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        vec![("database", self.db.ping().await), ("bus", self.bus.ping().await)]
    }
}
