//! What a conditional write did, and database errors as ours.

use ferrostack_model::Error;

/// The result of an update that names the generation or state it expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One row changed.
    Updated,
    /// The row exists but is not as expected any more.
    Stale,
    /// There is no such row.
    Missing,
}

/// A database error as [`Error`]: 503 if the database cannot be reached or is too busy, else 500.
/// The text goes to the log only.
pub fn db_error(error: sqlx::Error) -> Error {
    match &error {
        // A connection that breaks in the middle of a message says "protocol".
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => Error::unavailable(format!("database: {error}")),
        sqlx::Error::Database(d) if is_busy(d.as_ref()) => Error::unavailable(format!("database: {error}")),
        _ => Error::internal(format!("database: {error}")),
    }
}

fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLite BUSY and LOCKED; PostgreSQL serialization, deadlock, shutdown and connection classes.
    error.code().is_some_and(|c| {
        matches!(c.as_ref(), "5" | "6" | "517" | "261" | "40001" | "40P01")
            || c.starts_with("57P")
            || c.starts_with("08")
            || c.starts_with("53")
    })
}

/// Whether a statement failed because a unique index already holds the value.
pub fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(d)
        if d.code().is_some_and(|c| matches!(c.as_ref(), "23505" | "2067" | "1555")))
}

/// Whether a statement failed because a foreign key points at a row that is not there, or from one that is.
pub fn is_foreign_key_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(d)
        if d.code().is_some_and(|c| matches!(c.as_ref(), "23503" | "787" | "1811")))
}
