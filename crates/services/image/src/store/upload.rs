//! The data of an image: uploads, their leases, and what is left over.
//!
//! An upload owns its image by a random token. Every write of it names the token, so an upload whose lease ran
//! out while it hung cannot touch the image any more.

use super::{
    location::{self, Location},
    quota,
};
use crate::{image::Status, quota::Charge};
use ferrostack_db::{
    Change, Db, again, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Result, Timestamp};

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Name of the object in its store.
    pub file: String,
    /// Bytes.
    pub size: i64,
    /// Bytes of the disk inside; `None` if not looked at yet.
    pub virtual_size: Option<i64>,
    /// md5, hex.
    pub checksum: String,
    /// sha512, hex.
    pub sha512: String,
}

fn change(done: sqlx::any::AnyQueryResult) -> Change {
    if done.rows_affected() == 0 { Change::Stale } else { Change::Updated }
}

/// What a client says its data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formats {
    /// `qcow2`, `raw`, …
    pub disk: Option<String>,
    /// `bare`, …
    pub container: Option<String>,
}

/// queued -> `to` (saving or uploading), owned by `token` until `lease`. The formats as they are now, which nobody can
/// change any more; `None` if the image is not queued. 413 if `charge` says that the project may not.
pub async fn begin(
    db: &Db,
    id: &str,
    to: Status,
    token: &str,
    lease: Timestamp,
    charge: Option<&Charge>,
) -> Result<Option<Formats>> {
    again!(async {
        let mut tx = db.begin_write().await?;
        if let Some(charge) = charge {
            quota::lock(&mut tx, &charge.limits.project).await?;
        }
        let row = sqlx::query(
        "UPDATE image SET status = $1, upload = $2, lease_until = $3, updated_at = $4, generation = generation + 1 \
         WHERE id = $5 AND status = 'queued' RETURNING disk_format, container_format",
    )
    .bind(to.as_str())
    .bind(token)
    .bind(lease.0)
    .bind(Timestamp::now().0)
    .bind(id)
    .fetch_optional(&mut *tx)
    .await
    .map_err(db_error)?;
        let Some(row) = row else { return Ok(None) };
        let read = |row: AnyRow| Ok(Formats { disk: row.try_get(0)?, container: row.try_get(1)? });
        let formats = read(row).map_err(db_error)?;
        if let Some(charge) = charge {
            quota::admit(&mut tx, charge, id).await?;
        }
        tx.commit().await.map_err(db_error)?;
        Ok(Some(formats))
    })
}

/// Keeps the upload alive until `lease`; `Stale` if it is not ours any more.
pub async fn renew(db: &Db, id: &str, token: &str, lease: Timestamp) -> Result<Change> {
    again!(async {
        sqlx::query("UPDATE image SET lease_until = $1 WHERE id = $2 AND upload = $3")
            .bind(lease.0)
            .bind(id)
            .bind(token)
            .execute(db.writer())
            .await
            .map(change)
            .map_err(db_error)
    })
}

/// Whether the upload is still the image's: `Updated`, else `Stale`.
pub async fn is_owner(db: &Db, id: &str, token: &str) -> Result<Change> {
    let row = sqlx::query("SELECT 1 FROM image WHERE id = $1 AND upload = $2")
        .bind(id)
        .bind(token)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?;
    Ok(if row.is_some() { Change::Updated } else { Change::Stale })
}

/// The data is durable in the store `store`: the image becomes `to`, with the object as its location or, if it is
/// still to be imported, as its staged data. `Stale` if the upload is not ours any more.
pub async fn finish(
    db: &Db,
    id: &str,
    token: &str,
    to: Status,
    store: &str,
    data: &Received,
) -> Result<Change> {
    again!(async {
        let staged = !to.has_data();
        let mut tx = db.begin_write().await?;
        let done = sqlx::query(
        "UPDATE image SET status = $1, file = $2, size = $3, virtual_size = $4, checksum = $5, os_hash_algo = 'sha512', \
         os_hash_value = $6, \
         upload = NULL, lease_until = NULL, updated_at = $7, generation = generation + 1 \
         WHERE id = $8 AND upload = $9",
    )
    .bind(to.as_str())
    .bind(staged.then_some(&data.file))
    .bind(data.size)
    .bind(data.virtual_size)
    .bind(&data.checksum)
    .bind(&data.sha512)
    .bind(Timestamp::now().0)
    .bind(id)
    .bind(token)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
        if change(done) != Change::Updated {
            return Ok(Change::Stale);
        }
        quota::release_in(&mut tx, &data.file).await?;
        if !staged {
            location::insert(&mut tx, &Location::new(id, store, &data.file), location::Status::Active)
                .await?;
        }
        tx.commit().await.map_err(db_error)?;
        Ok(Change::Updated)
    })
}

/// The upload failed: back to queued.
pub async fn abort(db: &Db, id: &str, token: &str) -> Result<Change> {
    again!(async {
        sqlx::query(
        "UPDATE image SET status = 'queued', upload = NULL, lease_until = NULL, generation = generation + 1 \
         WHERE id = $1 AND upload = $2 AND status <> 'deleted'",
    )
    .bind(id)
    .bind(token)
    .execute(db.writer())
    .await
    .map(change)
    .map_err(db_error)
    })
}

/// Returns every image whose upload's lease has run out to queued; how many there were.
pub async fn abort_expired(db: &Db, now: Timestamp) -> Result<u64> {
    sqlx::query(
        "UPDATE image SET status = 'queued', upload = NULL, lease_until = NULL, generation = generation + 1 \
         WHERE lease_until < $1 AND upload IS NOT NULL AND (status = 'saving' OR status = 'uploading')",
    )
    .bind(now.0)
    .execute(db.writer())
    .await
    .map(|done| done.rows_affected())
    .map_err(db_error)
}
