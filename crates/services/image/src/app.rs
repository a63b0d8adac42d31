//! What every handler and reconciler reaches.

use crate::stores::Stores;
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_http::HealthCheck;
use ferrostack_model::{Error, Result, Timestamp};
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};

/// The service's parts.
pub struct App {
    /// `[image]`
    pub settings: ferrostack_settings::Image,
    /// Our tables.
    pub db: Db,
    /// Image data.
    pub stores: Stores,
    /// For `/healthcheck`.
    pub bus: Arc<dyn Bus>,
    /// Wakes the reconciler.
    pub work: Notify,
    /// Uploads that may still begin: `image.transfers.uploads`.
    pub uploads: Arc<Semaphore>,
}

impl App {
    /// Until when an upload that is renewed now counts as alive.
    pub fn lease(&self) -> Timestamp {
        Timestamp::now().plus_seconds(self.settings.upload_lease_seconds.max(1))
    }

    /// Runs what blocks away from the async threads.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("blocking task: {e}")))
    }

    /// Whether all stores can be reached; the error names the one that cannot.
    async fn ping_stores(&self) -> Result<()> {
        for store in self.stores.iter() {
            let done = store.run(|store| store.ping()).await;
            done.map_err(|e| Error::unavailable(format!("image store {}: {e}", store.id)))?;
        }
        Ok(())
    }
}

#[async_trait]
impl HealthCheck for App {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        vec![
            ("database", self.db.ping().await),
            ("bus", self.bus.ping().await),
            ("store", self.ping_stores().await),
        ]
    }
}
