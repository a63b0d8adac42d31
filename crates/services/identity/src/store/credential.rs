//! Credentials: EC2 keys, TOTP secrets and whatever else somebody keeps.

use super::{Exec, changed, run, unique};
use crate::faults;
use aws_lc_rs::digest::{SHA256, digest};
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// The type of credentials that sign requests.
pub const EC2: &str = "ec2";
/// The type of credentials whose blob is the base32 secret of one-time passwords.
pub const TOTP: &str = "totp";

/// The id of the credential of type `ec2` with an access key.
pub fn ec2_id(access: &str) -> String {
    hex::encode(digest(&SHA256, access.as_bytes()))
}

/// A credential's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Credential {
    /// Of type `ec2` the SHA-256 of the access key in hex, else 32 hex digits.
    pub id: String,
    /// The owner.
    pub user_id: String,
    /// The project it is for; `ec2` always has one.
    pub project_id: Option<String>,
    /// `ec2`, `totp`, `cert` or any other text.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// Sealed: [`Self::context`] opens it.
    pub blob: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// The last 30-second step whose passcode was used.
    pub totp_step: i64,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

impl Credential {
    /// What a blob is sealed for: this row, whose owner, project and type never change.
    pub fn context(&self) -> String {
        let project = self.project_id.as_deref().unwrap_or_default();
        format!("credential {} {} {project} {}", self.id, self.user_id, self.kind)
    }
}

/// Adds a credential; 409 if the id (the access key) is taken.
pub async fn insert<'e>(db: impl Exec<'e>, row: &Credential) -> Result<()> {
    sqlx::query(
        "INSERT INTO credential (id, user_id, project_id, type, blob, extra, totp_step, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)",
    )
    .bind(row.id.as_str())
    .bind(row.user_id.as_str())
    .bind(row.project_id.as_deref())
    .bind(row.kind.as_str())
    .bind(row.blob.as_str())
    .bind(row.extra.as_str())
    .bind(row.totp_step)
    .bind(row.created_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, || faults::taken("credential", "Duplicate entry")))
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Credential>> {
    sqlx::query_as("SELECT * FROM credential WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// Of a user and of a type (empty: any), in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, user_id: &str, kind: &str) -> Result<Vec<Credential>> {
    sqlx::query_as(
        "SELECT * FROM credential WHERE ($1 = '' OR user_id = $1) AND ($2 = '' OR type = $2) ORDER BY created_at, id",
    )
    .bind(user_id)
    .bind(kind)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Writes the blob and what is only kept if the row is still of `row.generation`.
pub async fn update<'e>(db: impl Exec<'e>, row: &Credential) -> Result<Change> {
    sqlx::query(
        "UPDATE credential SET blob = $1, extra = $2, generation = generation + 1 WHERE id = $3 AND generation = $4",
    )
    .bind(row.blob.as_str())
    .bind(row.extra.as_str())
    .bind(row.id.as_str())
    .bind(row.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes one; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM credential WHERE id = $1").bind(id)).await
}

/// Uses up the passcode of a step and of all before it; 0 if one of a later or the same step was used already.
pub async fn take_step<'e>(db: impl Exec<'e>, id: &str, step: i64) -> Result<u64> {
    run(
        db,
        sqlx::query("UPDATE credential SET totp_step = $1 WHERE id = $2 AND totp_step < $1")
            .bind(step)
            .bind(id),
    )
    .await
}
