//! The hash of data that was added as a location: read whole, compared with what was said of it.

use crate::{
    app::App,
    download, locations,
    store::{self, import, place, task},
    verify::Hasher,
};
use async_trait::async_trait;
use ferrostack_db::Tx;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{Error, Result};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The job kind.
pub const KIND: &str = "location";
/// Its one step.
pub const FIRST: &str = "hash";
/// Runs that may end in a passing error (Glance's `http_retries` and the first).
const ATTEMPTS: i64 = 4;
/// How often the job looks whether the image is still there.
const LOOK: Duration = Duration::from_secs(1);

/// What the step knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The task.
    pub task_id: String,
    /// The location.
    pub location_id: String,
    /// Its store.
    pub store: String,
    /// Its URL.
    pub url: String,
    /// Name of the hash.
    pub algorithm: String,
    /// What it has to be, hex; `None` if nobody has said.
    pub expected: Option<String>,
}

/// The kind for the runner.
pub fn kind() -> Box<dyn JobKind<App>> {
    Box::new(Kind([Box::new(Hash)]))
}

struct Kind([Box<dyn Step<App>>; 1]);

#[async_trait]
impl JobKind<App> for Kind {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.0
    }

    fn max_attempts(&self) -> i64 {
        ATTEMPTS
    }

    async fn failed(&self, app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let why = job.failure.as_ref().map_or("Hash calculation failed.", |error| &error.public);
        place::unhashed(tx, &job.target, &data.location_id).await?;
        task::finish(tx, &data.task_id, Some(why), app.task_expiry()).await
    }
}

struct Hash;

#[async_trait]
impl Step<App> for Hash {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let found = read(app, &job.target, &data).await?;
        if data.expected.as_ref().is_some_and(|hash| !hash.eq_ignore_ascii_case(&found.value)) {
            return Err(Error::bad_request(format!(
                "os_hash_value: ({}) not matched with actual os_hash_value: ({})",
                data.expected.unwrap_or_default(),
                found.value
            )));
        }
        let mut tx = app.db.begin_write().await?;
        place::hashed(&mut tx, &job.target, &data.location_id, &found).await?;
        task::finish(&mut tx, &data.task_id, None, app.task_expiry()).await?;
        tracing::info!(image = job.target, size = found.size, "location hashed");
        Ok(Outcome::next().in_tx(tx))
    }
}

/// Reads all of it; an error soon after the image is deleted.
async fn read(app: &App, image_id: &str, data: &Data) -> Result<place::Hashed> {
    let store = app.stores.get(&data.store);
    let store = store.ok_or_else(|| Error::unavailable(format!("there is no store {}", data.store)))?;
    let unknown = || Error::bad_request(format!("There is no hash {}.", data.algorithm));
    let mut hashers =
        [Hasher::new(&data.algorithm).ok_or_else(unknown)?, Hasher::new("md5").ok_or_else(unknown)?];
    let opened = locations::open(store, &data.url).await?;
    let whole = 0..opened.size();
    let mut blocks = download::blocks(opened, whole);
    let (mut size, mut looked) = (0_i64, Instant::now());
    loop {
        let next = tokio::time::timeout(LOOK, blocks.next()).await;
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if store::image::get(&app.db, image_id).await?.is_none() {
                return Err(import::lost());
            }
        }
        let block = match next {
            Err(_) => continue,
            Ok(None) => break,
            Ok(Some(block)) => block.map_err(|e| Error::unavailable(format!("reading a location: {e}")))?,
        };
        size += i64::try_from(block.len()).unwrap_or(0);
        let work = move || {
            hashers.iter_mut().for_each(|hasher| hasher.update(&block));
            hashers
        };
        hashers = app.blocking(work).await?;
    }
    let [hash, md5] = hashers;
    Ok(place::Hashed {
        size,
        checksum: md5.finish(),
        algorithm: data.algorithm.clone(),
        value: hash.finish(),
    })
}
