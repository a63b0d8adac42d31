//! Keypairs: public halves, by user.

use super::{numbers, quota};
use ferrostack_db::{Db, db_error, is_unique_violation, sqlx};
use ferrostack_model::{Error, Result, Timestamp};
use sqlx::{Row, any::AnyRow};

/// A stored keypair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keypair {
    /// Owner.
    pub user_id: String,
    /// Name, unique for the user.
    pub name: String,
    /// The integer id that show answers.
    pub number: i64,
    /// `ssh` or `x509`.
    pub kind: String,
    /// What goes into a guest.
    pub public_key: String,
    /// MD5 with colons (ssh), SHA-1 with colons (x509).
    pub fingerprint: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// 404 in Nova's words.
pub fn not_found(user_id: &str, name: &str) -> Error {
    let short: String = name.chars().take(255).collect();
    Error::not_found(format!("Keypair {short} not found for user {user_id}"))
}

/// The keypair `name` of `user_id`, else 404.
pub async fn get(db: &Db, user_id: &str, name: &str) -> Result<Keypair> {
    let row = sqlx::query("SELECT * FROM keypairs WHERE user_id = $1 AND name = $2")
        .bind(user_id)
        .bind(name)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?
        .ok_or_else(|| not_found(user_id, name))?;
    read(&row)
}

/// Up to `limit` keypairs of `user_id` whose names come after `after`, by name.
pub async fn list(db: &Db, user_id: &str, after: &str, limit: i64) -> Result<Vec<Keypair>> {
    let rows = sqlx::query("SELECT * FROM keypairs WHERE user_id = $1 AND name > $2 ORDER BY name LIMIT $3")
        .bind(user_id)
        .bind(after)
        .bind(limit)
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// How many keypairs `user_id` has.
pub async fn count(db: &Db, user_id: &str) -> Result<i64> {
    sqlx::query_scalar("SELECT COUNT(*) FROM keypairs WHERE user_id = $1")
        .bind(user_id)
        .fetch_one(db.reader())
        .await
        .map_err(db_error)
}

/// Stores a keypair (its `number` is given here). 403 if the user would have more than `limit` (-1: any
/// number), 409 if the name is taken; parallel calls cannot exceed the limit.
pub async fn insert(db: &Db, mut new: Keypair, limit: i64) -> Result<Keypair> {
    let exists = || Error::conflict(format!("Key pair '{}' already exists.", new.name));
    let mut tx = db.begin_write().await?;
    quota::lock_owner(&mut tx, "user", &new.user_id).await?;
    let (have, same): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN name = $2 THEN 1 ELSE 0 END), 0) AS BIGINT) \
         FROM keypairs WHERE user_id = $1",
    )
    .bind(&new.user_id)
    .bind(&new.name)
    .fetch_one(&mut *tx)
    .await
    .map_err(db_error)?;
    if limit >= 0 && have >= limit {
        return Err(Error::over_limit("Quota exceeded, too many key pairs."));
    }
    if same > 0 {
        return Err(exists());
    }
    let number = numbers::next(&mut tx, "keypair").await?;
    let made = sqlx::query(
        "INSERT INTO keypairs (user_id, name, number, type, public_key, fingerprint, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&new.user_id)
    .bind(&new.name)
    .bind(number)
    .bind(&new.kind)
    .bind(&new.public_key)
    .bind(&new.fingerprint)
    .bind(new.created_at.0)
    .execute(&mut *tx)
    .await;
    match made {
        Ok(_) => {}
        Err(e) if is_unique_violation(&e) => return Err(exists()),
        Err(e) => return Err(db_error(e)),
    }
    tx.commit().await.map_err(db_error)?;
    new.number = number;
    Ok(new)
}

/// Removes a keypair; servers keep their copy of the public key. 404 if there is none.
pub async fn delete(db: &Db, user_id: &str, name: &str) -> Result<()> {
    let done = sqlx::query("DELETE FROM keypairs WHERE user_id = $1 AND name = $2")
        .bind(user_id)
        .bind(name)
        .execute(db.writer())
        .await
        .map_err(db_error)?;
    if done.rows_affected() == 0 { Err(not_found(user_id, name)) } else { Ok(()) }
}

fn read(row: &AnyRow) -> Result<Keypair> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(db_error);
    Ok(Keypair {
        user_id: text("user_id")?,
        name: text("name")?,
        number: row.try_get("number").map_err(db_error)?,
        kind: text("type")?,
        public_key: text("public_key")?,
        fingerprint: text("fingerprint")?,
        created_at: Timestamp(row.try_get("created_at").map_err(db_error)?),
    })
}
