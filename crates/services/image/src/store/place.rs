//! Changes of an image's locations, each in one transaction.

use super::{
    location::{self, Location, Status as Placed},
    quota, task,
};
use crate::{
    image::{Image, Status},
    quota::Limits,
    task::Task,
};
use ferrostack_db::{
    Change, Db, Tx, again, db_error,
    sqlx::{self},
};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{Error, ErrorKind, Result, Timestamp};
use serde_json::Value;

/// Writes the image's state, size, hashes and locations, if it is still as it was `seen`.
async fn describe(tx: &mut Tx, seen: &Image, changed: &Image) -> Result<Change> {
    let done = sqlx::query(
        "UPDATE image SET status = $1, size = $2, checksum = $3, os_hash_algo = $4, os_hash_value = $5, \
         updated_at = $6, generation = generation + 1 \
         WHERE id = $7 AND generation = $8 AND status = $9 AND upload IS NULL",
    )
    .bind(changed.status.as_str())
    .bind(changed.size)
    .bind(&changed.checksum)
    .bind(&changed.os_hash_algo)
    .bind(&changed.os_hash_value)
    .bind(Timestamp::now().0)
    .bind(&seen.id)
    .bind(seen.generation)
    .bind(seen.status.as_str())
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(if done.rows_affected() == 0 { Change::Stale } else { Change::Updated })
}

/// The locations of `seen` become those of `changed`: what is not there any more is to be removed.
/// 413 if `limits` do not allow what comes.
pub async fn edit(db: &Db, seen: &Image, changed: &Image, limits: Option<&Limits>) -> Result<Change> {
    again!(async {
        let mut tx = db.begin_write().await?;
        if let Some(limits) = limits {
            quota::lock(&mut tx, &limits.project).await?;
        }
        if describe(&mut tx, seen, changed).await? != Change::Updated {
            return Ok(Change::Stale);
        }
        for before in &seen.locations {
            if !changed.locations.iter().any(|l| l.id == before.id) {
                sqlx::query("UPDATE image_location SET status = 'deleting' WHERE id = $1")
                    .bind(&before.id)
                    .execute(&mut *tx)
                    .await
                    .map_err(db_error)?;
            }
        }
        for (position, now) in changed.locations.iter().enumerate() {
            if !seen.locations.iter().any(|l| l.id == now.id) {
                location::insert(&mut tx, now, Placed::Active).await?;
            }
            sqlx::query("UPDATE image_location SET position = $1, metadata = $2 WHERE id = $3")
                .bind(i64::try_from(position).unwrap_or(i64::MAX))
                .bind(Value::Object(now.metadata.clone()).to_string())
                .bind(&now.id)
                .execute(&mut *tx)
                .await
                .map_err(db_error)?;
        }
        let more = changed.locations.iter().any(|now| !seen.locations.iter().any(|l| l.id == now.id));
        if let Some(limits) = limits.filter(|_| more) {
            quota::admit_location(&mut tx, limits).await?;
        }
        tx.commit().await.map_err(db_error)?;
        Ok(Change::Updated)
    })
}

/// A queued image gets a location: `changed` says what it is from now on, `job` what is to be done about its hash.
/// Without a job the task has ended. 409 if the image is not what it was `seen`, 413 if its owner has used up the quota
/// that `limits` say.
#[allow(clippy::too_many_arguments)]
pub async fn begin(
    db: &Db,
    seen: &Image,
    changed: &Image,
    location: &Location,
    task: &Task,
    job: Option<Enqueue<'_>>,
    expires_at: Timestamp,
    limits: Option<&Limits>,
) -> Result<()> {
    again!(async {
        let busy = || Error::conflict("Image has active task");
        let mut tx = db.begin_write().await?;
        if let Some(limits) = limits {
            quota::lock(&mut tx, &limits.project).await?;
        }
        if describe(&mut tx, seen, changed).await? != Change::Updated {
            return Err(busy());
        }
        let placed = if changed.status == Status::Active { Placed::Active } else { Placed::Pending };
        location::insert(&mut tx, location, placed).await?;
        if let Some(limits) = limits {
            quota::admit_location(&mut tx, limits).await?;
        }
        task::insert(&mut tx, task).await?;
        match &job {
            None => task::finish(&mut tx, &task.id, None, expires_at).await?,
            Some(job) => {
                ferrostack_jobs::enqueue(&mut tx, job.clone()).await.map_err(|error| match error.kind {
                    ErrorKind::Conflict => busy(),
                    _ => error,
                })?;
            }
        }
        tx.commit().await.map_err(db_error)
    })
}

/// What was found of the data at a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Bytes.
    pub size: i64,
    /// md5, hex.
    pub checksum: String,
    /// Name of the hash.
    pub algorithm: String,
    /// Hex.
    pub value: String,
}

/// The data is known: the image is active and the location is read. `Gone` if the image is deleted.
pub async fn hashed(tx: &mut Tx, image_id: &str, location_id: &str, found: &Hashed) -> Result<()> {
    let done = sqlx::query(
        "UPDATE image SET status = CASE WHEN status = 'importing' THEN 'active' ELSE status END, size = $1, \
         checksum = $2, os_hash_algo = $3, os_hash_value = $4, updated_at = $5, generation = generation + 1 \
         WHERE id = $6 AND status <> 'deleted'",
    )
    .bind(found.size)
    .bind(&found.checksum)
    .bind(&found.algorithm)
    .bind(&found.value)
    .bind(Timestamp::now().0)
    .bind(image_id)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    if done.rows_affected() == 0 {
        return Err(super::import::lost());
    }
    sqlx::query("UPDATE image_location SET status = 'active' WHERE id = $1 AND status = 'pending'")
        .bind(location_id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// The data is not what it was said to be: the image is queued again without the location. An image that was active
/// before stays so, with no hash.
pub async fn unhashed(tx: &mut Tx, image_id: &str, location_id: &str) -> Result<()> {
    let now = Timestamp::now().0;
    sqlx::query(
        "UPDATE image SET status = 'queued', size = NULL, checksum = NULL, os_hash_algo = NULL, os_hash_value = NULL, \
         updated_at = $1, generation = generation + 1 WHERE id = $2 AND status = 'importing'",
    )
    .bind(now)
    .bind(image_id)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    sqlx::query(
        "UPDATE image SET os_hash_algo = NULL, updated_at = $1, generation = generation + 1 \
         WHERE id = $2 AND status IN ('active', 'deactivated') AND os_hash_value IS NULL",
    )
    .bind(now)
    .bind(image_id)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    sqlx::query("UPDATE image_location SET status = 'deleting' WHERE id = $1 AND status = 'pending'")
        .bind(location_id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}
