//! Durable jobs: what takes longer than a request.

pub mod import;
pub mod location;

use crate::app::App;
use ferrostack_jobs::JobKind;

/// Every kind of job of this service.
pub fn kinds() -> Vec<Box<dyn JobKind<App>>> {
    vec![import::kind(), location::kind()]
}
