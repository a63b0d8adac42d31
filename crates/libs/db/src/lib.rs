//! One pool over SQLite and PostgreSQL: migrations, write transactions and compare-and-set helpers.
//!
//! SQL is one text for both (`$n` parameters, TEXT and BIGINT columns only). The dialect shows in two
//! places: how a connection is prepared and how a write transaction begins.

mod open;
mod outcome;
mod runs;

pub use open::{Db, Dialect, Tx};
pub use outcome::{Change, GAVE_UP, db_error, is_foreign_key_violation, is_unique_violation};
pub use runs::is_run_again;
pub use sqlx;
