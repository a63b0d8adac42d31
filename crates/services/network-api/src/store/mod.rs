//! All SQL, one file per noun.

pub mod allocation;
pub mod bootstrap;
pub mod network;
pub mod port;
pub mod quota;
pub mod subnet;

use ferrostack_db::{
    db_error,
    sqlx::{Row as _, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

/// Tries of a change whose row another request changed in between.
pub const TRIES: usize = 10;

/// A change that lost against others [`TRIES`] times.
pub fn contended(what: &str, id: &str) -> Error {
    Error::unavailable(format!("{what} {id} changed under every try"))
}

fn text(row: &AnyRow, name: &str) -> Result<String> {
    row.try_get(name).map_err(db_error)
}
fn optional(row: &AnyRow, name: &str) -> Result<Option<String>> {
    row.try_get(name).map_err(db_error)
}
fn number(row: &AnyRow, name: &str) -> Result<i64> {
    row.try_get(name).map_err(db_error)
}
fn flag(row: &AnyRow, name: &str) -> Result<bool> {
    Ok(number(row, name)? != 0)
}
fn time(row: &AnyRow, name: &str) -> Result<Timestamp> {
    Ok(Timestamp(number(row, name)?))
}
fn json<T: DeserializeOwned>(row: &AnyRow, name: &str) -> Result<T> {
    let text = text(row, name)?;
    serde_json::from_str(&text).map_err(|e| Error::internal(format!("column {name}: {e}")))
}
fn encode<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("encoding a column: {e}")))
}

/// Whether a text may be a parameter: PostgreSQL refuses NUL, so nothing stored can equal it.
pub fn storable(text: &str) -> bool {
    !text.contains('\0') && text.len() <= 1024
}
