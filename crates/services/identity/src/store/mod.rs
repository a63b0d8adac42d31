//! All SQL, one file a noun.

pub mod access_rule;
pub mod application_credential;
pub mod assignment;
pub mod bootstrap;
pub mod consumer;
pub mod credential;
pub mod domain;
pub mod domain_config;
pub mod endpoint;
pub mod endpoint_group;
pub mod group;
pub mod limit;
pub mod listing;
pub mod login;
pub mod password;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod plans;
pub mod policy;
pub mod policy_association;
pub mod project;
pub mod project_endpoint;
pub mod region;
pub mod registered_limit;
pub mod revocation;
pub mod role;
pub mod service;
pub mod trust;
pub mod user;

pub use listing::{After, Wanted};

use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value};

/// A pool or a transaction's connection.
pub trait Exec<'e>: sqlx::Executor<'e, Database = sqlx::Any> {}
impl<'e, T: sqlx::Executor<'e, Database = sqlx::Any>> Exec<'e> for T {}

/// The members of a stored JSON object.
pub fn members(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A JSON object as stored.
pub fn text(members: &Map<String, Value>) -> String {
    serde_json::to_string(members).unwrap_or_else(|_| "{}".into())
}

/// Keeps a user, group, project or domain as it is until the transaction ends; whether it is there. What refers to it
/// without a foreign key is written after this, so that nobody who deletes it meanwhile leaves that behind. Projects
/// and domains are held before users and groups.
pub async fn hold<'e>(tx: impl Exec<'e>, kind: &str, id: &str) -> Result<bool> {
    let statement = match kind {
        "user" => "UPDATE account SET generation = generation WHERE id = $1",
        "group" => "UPDATE user_group SET generation = generation WHERE id = $1",
        _ => "UPDATE project SET generation = generation WHERE id = $1",
    };
    run(tx, sqlx::query(statement).bind(id)).await.map(|rows| rows > 0)
}

/// `Stale` unless a conditional update hit its row.
pub(crate) fn changed(result: sqlx::any::AnyQueryResult) -> Change {
    if result.rows_affected() == 0 { Change::Stale } else { Change::Updated }
}

/// Maps a unique violation with `duplicate`, anything else as [`fault`].
pub(crate) fn unique(error: sqlx::Error, duplicate: impl FnOnce() -> Error) -> Error {
    if ferrostack_db::is_unique_violation(&error) { duplicate() } else { fault(error) }
}

/// A database error; 409 where a row that is referred to went away, or came, in between.
fn fault(error: sqlx::Error) -> Error {
    let broken = matches!(&error, sqlx::Error::Database(d)
        if d.code().is_some_and(|c| matches!(c.as_ref(), "787" | "23503")));
    if broken { faults::raced("a reference") } else { db_error(error) }
}

/// Runs a statement whose count of rows does not matter.
pub(crate) async fn run<'q, 'e, E: Exec<'e>>(
    executor: E,
    query: sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>,
) -> Result<u64>
where
    'q: 'e,
{
    query.execute(executor).await.map(|r| r.rows_affected()).map_err(fault)
}
