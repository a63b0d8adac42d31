//! An import: fetch (or take what is staged), unpack, check, convert, store in each store, finish.
//!
//! Every object that the job writes has a name of its own and is claimed in the database before its first byte, so
//! a worker that lost its lease writes to what nobody names any more. Data becomes an image's only with the sha512
//! that was measured when it arrived.

mod check;
mod convert;
mod fetch;
mod finish;
mod read;
mod remote;
mod store;
mod writing;

use crate::{app::App, store::import};
use async_trait::async_trait;
use ferrostack_db::Tx;
use ferrostack_jobs::{Job, JobKind, Step};
use ferrostack_model::{Error, Result};
use serde::{Deserialize, Serialize};

/// The job kind.
pub const KIND: &str = "import";
/// Its first step.
pub const FIRST: &str = "fetch";
/// Runs of a step that may end in a passing error.
const ATTEMPTS: i64 = 6;

/// Where the data comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// It is staged.
    GlanceDirect,
    /// From an address.
    WebDownload {
        /// The address.
        uri: String,
    },
    /// From an image of another region, as the caller.
    GlanceDownload {
        /// Id of the image there.
        image_id: String,
        /// Region of the catalog's endpoint.
        region: String,
        /// `public`, `internal` or `admin`.
        interface: String,
    },
    /// From where the image is stored already.
    CopyImage,
}

/// What the image was like before the import changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    disk_format: Option<String>,
    container_format: Option<String>,
    /// Former values of the properties that were set; `None` for those that were not there.
    properties: Vec<(String, Option<String>)>,
}

impl Original {
    /// Only the formats will change.
    fn formats(image: &crate::image::Image) -> Self {
        Self {
            disk_format: image.disk_format.clone(),
            container_format: image.container_format.clone(),
            properties: Vec::new(),
        }
    }
}

/// What the steps know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The task.
    pub task_id: String,
    /// Where the data comes from.
    pub method: Method,
    /// Ids of all stores to be filled.
    pub stores: Vec<String>,
    /// One store that fails fails the import.
    pub all_must_succeed: bool,
    /// The stores that are still to be filled, in order.
    pub left: Vec<String>,
    /// Ids of the locations made so far.
    pub made: Vec<String>,
    /// Bytes of the disk inside.
    pub virtual_size: Option<i64>,
    /// What the import changed.
    pub original: Option<Original>,
    /// Whether the operator's properties are added.
    pub inject: bool,
    /// The image was made by the task and goes with it if it fails.
    pub own_image: bool,
}

impl Data {
    /// What a new import knows.
    pub fn new(task_id: &str, method: Method, stores: Vec<String>, all_must_succeed: bool) -> Self {
        Self {
            task_id: task_id.to_owned(),
            method,
            left: stores.clone(),
            stores,
            all_must_succeed,
            made: Vec::new(),
            virtual_size: None,
            original: None,
            inject: false,
            own_image: false,
        }
    }
}

/// The kind for the runner.
pub fn kind() -> Box<dyn JobKind<App>> {
    Box::new(Import(vec![
        Box::new(fetch::Fetch),
        Box::new(convert::Unpack),
        Box::new(check::Check),
        Box::new(convert::Convert),
        Box::new(store::Store),
        Box::new(finish::Finish),
    ]))
}

struct Import(Vec<Box<dyn Step<App>>>);

#[async_trait]
impl JobKind<App> for Import {
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
        let why = job.failure.as_ref().map_or("The import failed.", |error| &error.public);
        app.callers.forget(&data.task_id);
        // Where the stores are not spoken of they have no names.
        let stores = if app.stores.named() { data.stores.as_slice() } else { &[] };
        // Of several stores the first that is left is the one that failed; before any was tried, all did.
        let failed = if data.made.is_empty() { stores } else { &data.left[..data.left.len().min(1)] };
        import::failed(
            tx,
            &import::Failure {
                image_id: &job.target,
                task_id: &data.task_id,
                why,
                expires_at: app.task_expiry(),
                stores: failed,
                keep: data.method == Method::CopyImage,
                delete: data.own_image,
            },
        )
        .await
    }
}

/// The image of the job; an error if it is deleted.
async fn image(app: &App, job: &Job) -> Result<crate::image::Image> {
    crate::store::image::get(&app.db, &job.target).await?.ok_or_else(import::lost)
}

/// An import that cannot go on, for a reason that its owner may know.
fn refused(why: impl Into<String>) -> Error {
    Error::bad_request(why)
}
