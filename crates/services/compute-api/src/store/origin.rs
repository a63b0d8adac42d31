//! What was so when a server was made, for the images that are made of it.

use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::{Error, Result};
use serde::{Deserialize, Serialize};

/// The column `origin` of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// Name of its creator.
    pub user_name: String,
    /// Name of its project.
    pub project_name: String,
    /// Roles of its creator, with commas.
    pub roles: String,
    /// GiB its image wanted.
    pub min_disk: i64,
    /// MiB its image wanted.
    pub min_ram: i64,
}

/// Writes it for a new server.
pub async fn set(tx: &mut Tx, server_id: &str, origin: &Origin) -> Result<()> {
    let text =
        serde_json::to_string(origin).map_err(|e| Error::internal(format!("encoding an origin: {e}")))?;
    sqlx::query("UPDATE servers SET origin = $2 WHERE id = $1")
        .bind(server_id)
        .bind(text)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Reads it; of a server made before it was written it is empty.
pub async fn get(db: &Db, server_id: &str) -> Result<Origin> {
    let text: Option<String> = sqlx::query_scalar("SELECT origin FROM servers WHERE id = $1")
        .bind(server_id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?;
    Ok(text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default())
}
