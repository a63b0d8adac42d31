//! The ledger: what is wanted of each guest and what was ordered, on this host's disk.

pub mod guests;
pub mod orders;

use ferrostack_db::{Db, sqlx};
use ferrostack_model::{Error, Result, Timestamp};
use std::path::Path;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Connections that read the ledger.
const READERS: u32 = 2;
/// Closed orders and tombstones are kept for so long, seconds.
const KEPT: i64 = 7 * 86_400;

/// The ledger of one agent process.
#[derive(Clone)]
pub struct Ledger {
    db: Db,
}

impl Ledger {
    /// Opens or makes the ledger in `directory`, which nobody else may read: it holds guests' passwords.
    pub async fn open(directory: &Path) -> Result<Self> {
        crate::files::private_directory(directory)?;
        let url = directory
            .to_str()
            .map(|d| format!("sqlite:{d}"))
            .ok_or_else(|| Error::internal("agent.state_directory is not UTF-8"))?;
        Ok(Self { db: Db::open(&url, "agent", READERS, &MIGRATIONS).await? })
    }

    /// Fails if the ledger cannot be read.
    pub async fn ping(&self) -> Result<()> {
        self.db.ping().await
    }

    /// Forgets closed and answered orders and tombstones after some days.
    pub async fn prune(&self) -> Result<()> {
        let before = Timestamp::now().plus_seconds(-KEPT);
        orders::prune(&self.db, before).await?;
        guests::prune(&self.db, before).await
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }
}
