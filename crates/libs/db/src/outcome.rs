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

/// The name of an error that says: the database gave the transaction up for the sake of others, and it may be run again.
/// As oslo.db has it.
pub const GAVE_UP: &str = "DBDeadlock";

/// A database error as [`Error`]: 503 if the database cannot be reached, is too busy or cannot write, else 500.
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
        sqlx::Error::Database(d) => match d.code().as_deref().map(class) {
            Some(Class::GaveUp) => Error::unavailable(format!("database: {error}")).named(GAVE_UP),
            Some(Class::Passing) => Error::unavailable(format!("database: {error}")),
            _ => Error::internal(format!("database: {error}")),
        },
        _ => Error::internal(format!("database: {error}")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Rolled back; the same again may succeed at once.
    GaveUp,
    /// Nothing of ours: busy, shutting down, full, read-only.
    Passing,
    Other,
}

/// What a SQLSTATE, or an (extended) result code of SQLite, says.
fn class(code: &str) -> Class {
    if code.len() == 5 {
        return match code {
            // Serialization failure, deadlock, lock not available.
            "40001" | "40P01" | "55P03" => Class::GaveUp,
            // Read-only transaction, statement timeout, input or output error.
            "25006" | "57014" | "58030" => Class::Passing,
            // Connections, resources (disk full, too many connections), shutdown.
            _ if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Class::Passing,
            _ => Class::Other,
        };
    }
    match code.parse::<u32>() {
        // BUSY_SNAPSHOT
        Ok(517) => Class::GaveUp,
        // BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN
        Ok(code) if matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14) => Class::Passing,
        _ => Class::Other,
    }
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

#[cfg(test)]
mod tests {
    use super::{Class, class};

    #[test]
    fn codes_of_both_databases() {
        for (code, what) in [
            ("40001", Class::GaveUp),
            ("40P01", Class::GaveUp),
            ("517", Class::GaveUp),
            ("5", Class::Passing),
            ("261", Class::Passing),
            ("8", Class::Passing),
            ("1032", Class::Passing),
            ("778", Class::Passing),
            ("13", Class::Passing),
            ("14", Class::Passing),
            ("53100", Class::Passing),
            ("53300", Class::Passing),
            ("25006", Class::Passing),
            ("57P01", Class::Passing),
            ("08006", Class::Passing),
            ("11", Class::Other),
            ("1", Class::Other),
            ("2067", Class::Other),
            ("787", Class::Other),
            ("23505", Class::Other),
            ("42P01", Class::Other),
            ("", Class::Other),
        ] {
            assert_eq!(class(code), what, "{code}");
        }
    }
}
