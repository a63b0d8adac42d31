//! The whole cloud in one process, through HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod boot;
mod revocation;
mod security_docs;

use ferrostack_testkit::{Database, Options, TestCloud};

/// Runs a test on SQLite, and on PostgreSQL where there is one.
pub async fn on_both<F, Fut>(test: F)
where
    F: Fn(TestCloud) -> Fut,
    Fut: Future<Output = ()>,
{
    for database in [Database::Sqlite, Database::Postgres] {
        let options = Options { database, ..Options::default() };
        match TestCloud::with(options).await {
            Some(cloud) => test(cloud).await,
            None => eprintln!("skipped on {database:?}: FERROSTACK_TEST_POSTGRES is not set"),
        }
    }
}
