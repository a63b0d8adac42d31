//! Guests that move to another host while they run.

use crate::Guest;
use async_trait::async_trait;
use ferrostack_model::{
    Error, Result,
    live_migration::{Offer, Progress},
    server::PowerState,
};

/// Both ends of live migrations. Every call may be repeated after a crash of the caller at any point.
#[async_trait]
pub trait LiveMigration: Send + Sync {
    /// At the source: refuses (`Conflict`) a guest that cannot leave, and leaves `marker`, a file name, among its files.
    async fn check(&self, server_id: &str, marker: &str) -> Result<()>;

    /// At the destination: brings the guest's networks and disks into being, but not the guest. `block` says whether its
    /// disks are to be copied; `None`: if the marker is not seen here.
    ///
    /// `BadRequest` if that is not what these hosts can do, `Conflict` if the guest runs here.
    async fn receive(&self, guest: &Guest, marker: &str, block: Option<bool>) -> Result<Offer>;

    /// At the source: sends the guest; `NoState` once it is gone from here, an error if it stays. One that is on its way
    /// is only waited for, and dropping the call does not stop it. `force` pauses it.
    async fn send(&self, server_id: &str, offer: &Offer, force: bool) -> Result<PowerState>;

    /// How far the sending is; `None` if there is none.
    async fn progress(&self, server_id: &str) -> Result<Option<Progress>>;

    /// At the source: stops the sending and waits for its end; `resume`: a guest that is paused goes on. The power state of the guest that stayed, or `NoState` if
    /// it is not here any more.
    async fn abort(&self, server_id: &str, resume: bool) -> Result<PowerState>;

    /// At the destination: the power state of the guest if it has arrived, with its definition as its own from now on;
    /// else `NoState`, and nothing is left of the preparations. Files that the hosts share are left alone.
    async fn settle(&self, guest: &Guest) -> Result<PowerState>;
}

/// `BadRequest` in Nova's words if disks are to be copied that the hosts share, or not to be copied though they do not.
///
/// # Errors
/// As said.
pub fn block_fits(block: Option<bool>, shared: bool) -> Result<()> {
    match (block, shared) {
        (Some(true), true) => Err(Error::bad_request("Block migration can not be used with shared storage.")),
        (Some(false), false) => Err(Error::bad_request(
            "Live migration can not be used without shared storage except a booted from volume VM which does not have a local disk.",
        )),
        _ => Ok(()),
    }
}
