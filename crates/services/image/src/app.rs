//! What every handler and reconciler reaches.

use crate::{fetch::Fetcher, protections::Protections, stores::Stores};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_client::ServiceClient;
use ferrostack_db::{Db, Dialect};
use ferrostack_http::{HealthCheck, actix_web::http::Method};
use ferrostack_jobs::Runner;
use ferrostack_model::{Caller, Error, Result, Timestamp};
use ferrostack_settings::Settings;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Requests under way for each connection to the database. More would wait for connections longer than they work.
const TURNS: usize = 4;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_millis(600);

/// The callers of imports that read as them elsewhere, by task. Tokens are kept nowhere else, and not for longer.
#[derive(Default)]
pub struct Callers(Mutex<HashMap<String, Arc<Caller>>>);

impl Callers {
    /// Keeps the caller of a task that begins.
    pub fn keep(&self, task_id: &str, caller: &Arc<Caller>) {
        self.0.lock().insert(task_id.to_owned(), caller.clone());
    }
    /// The task's caller, if this process was asked.
    pub fn get(&self, task_id: &str) -> Option<Arc<Caller>> {
        self.0.lock().get(task_id).cloned()
    }
    /// The task needs it no more.
    pub fn forget(&self, task_id: &str) {
        self.0.lock().remove(task_id);
    }
    /// Forgets those whose tokens have expired.
    pub fn sweep(&self, now: Timestamp) {
        self.0.lock().retain(|_, caller| caller.claims.exp_us > now);
    }
}

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
    /// Quotas of projects.
    pub quota: crate::quota::Quota,
    /// Uploads that may still begin: `image.transfers.uploads`.
    pub uploads: Arc<Semaphore>,
    /// Who may do what to which custom properties.
    pub protections: Protections,
    /// Fetches from addresses of users.
    pub fetcher: Fetcher,
    /// Calls to other services.
    pub client: ServiceClient,
    /// Who asked for imports that need that.
    pub callers: Callers,
    /// Requests that may be under way; without bound on SQLite, which is never slow for all and has one writer.
    turns: Option<Arc<Semaphore>>,
    runner: OnceLock<Weak<Runner<App>>>,
}

impl App {
    /// Puts the parts together.
    pub fn new(settings: &Settings, db: Db, bus: Arc<dyn Bus>) -> Result<Arc<Self>> {
        if let Some(format) = &settings.image.import.convert_to
            && crate::convert::Target::parse(format).is_none()
        {
            return Err(Error::internal(format!(
                "image.import.convert_to: {format} is not raw, qcow2 or vmdk"
            )));
        }
        let turns = (db.dialect() == Dialect::Postgres)
            .then(|| Arc::new(Semaphore::new(settings.database.max_connections as usize * TURNS)));
        Ok(Arc::new(Self {
            settings: settings.image.clone(),
            db,
            stores: Stores::open(&settings.image)?,
            bus,
            work: Notify::default(),
            quota: crate::quota::Quota::new(settings)?,
            uploads: Arc::new(Semaphore::new(settings.image.transfers.uploads)),
            protections: Protections::open(
                settings.image.property_protection_file.as_deref(),
                settings.image.property_protection_rule_format,
            )?,
            fetcher: Fetcher::new(&settings.image.fetch)?,
            client: ServiceClient::new(&settings.credentials)?,
            callers: Callers::default(),
            turns,
            runner: OnceLock::new(),
        }))
    }

    /// Who is poked when there is a job.
    pub fn set_runner(&self, runner: &Arc<Runner<Self>>) {
        let _ = self.runner.set(Arc::downgrade(runner));
    }

    /// Says that a job may be due.
    pub fn poke(&self) {
        if let Some(runner) = self.runner.get().and_then(Weak::upgrade) {
            runner.poke();
        }
    }

    /// Where imports work on files.
    pub fn work_directory(&self) -> PathBuf {
        self.settings.store_directory.join(".work")
    }

    /// When a task that ends now is forgotten.
    pub fn task_expiry(&self) -> Timestamp {
        Timestamp::now().plus_seconds(self.settings.import.task_time_to_live_hours.clamp(1, 87_600) * 3600)
    }

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

    async fn turn(&self, method: &Method, path: &str) -> Result<Option<OwnedSemaphorePermit>> {
        // Bytes come for as long as their sender likes; how many may do so has its own limit.
        let takes_data = path.starts_with("/v1/")
            || (method == Method::PUT && (path.ends_with("/file") || path.ends_with("/stage")));
        let Some(turns) = self.turns.as_ref().filter(|_| !takes_data) else { return Ok(None) };
        let turn = tokio::time::timeout(PATIENCE, turns.clone().acquire_owned()).await;
        match turn {
            Ok(turn) => Ok(turn.ok()),
            Err(_) => Err(Error::unavailable("too many requests wait for the database").retry_after(1)),
        }
    }
}
