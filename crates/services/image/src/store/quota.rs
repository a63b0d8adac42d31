//! What projects use, and the changes that a quota may refuse. Each is checked in the transaction that makes it, with
//! the project's row locked, so that no two that are checked at once both get the last of something.

use crate::quota::{Charge, Hold, Import, Kind, Limits, Usage};
use ferrostack_db::{
    Db, Tx, again, db_error,
    sqlx::{self, Any, Executor, Row},
};
use ferrostack_model::{Error, ErrorKind, Result, Timestamp};
use std::collections::HashSet;

/// Lets nobody else check the project's quota until the transaction ends. Comes before every other lock.
pub async fn lock(tx: &mut Tx, project: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_quota_lock (project) VALUES ($1) \
         ON CONFLICT (project) DO UPDATE SET project = excluded.project",
    )
    .bind(project)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// What the project uses. Staged data that an import is about to make an image's counts as an image's already, but
/// not that of the image `importing`: whoever asks is placing it and counts it by itself.
pub async fn usage<'e, E: Executor<'e, Database = Any>>(
    db: E,
    project: &str,
    importing: Option<&str>,
) -> Result<Usage> {
    let row = sqlx::query(
        "SELECT \
         (SELECT CAST(COALESCE(SUM(COALESCE(l.bytes, i.size, 0)), 0) AS BIGINT) \
          FROM image i JOIN image_location l ON l.image_id = i.id \
          WHERE i.owner = $1 AND i.status <> 'deleted' AND l.status <> 'deleting' \
          AND (l.status = 'active' OR l.bytes IS NOT NULL)) + \
         (SELECT CAST(COALESCE(SUM(COALESCE(l.bytes, i.size, 0)), 0) AS BIGINT) \
          FROM image_location l JOIN image i ON i.id = l.image_id \
          WHERE i.owner = $2 AND l.status = 'deleting') + \
         (SELECT CAST(COALESCE(SUM(i.size), 0) AS BIGINT) FROM image i \
          WHERE i.owner = $3 AND i.status = 'importing' AND i.file IS NOT NULL AND i.id <> $4) + \
         (SELECT CAST(COALESCE(SUM(h.bytes), 0) AS BIGINT) FROM image_hold h JOIN image i ON i.id = h.image_id \
          WHERE i.owner = $5 AND h.kind = 'size') AS size, \
         (SELECT CAST(COALESCE(SUM(i.size), 0) AS BIGINT) FROM image i \
          WHERE i.owner = $6 AND i.status <> 'deleted' AND i.file IS NOT NULL) + \
         (SELECT CAST(COALESCE(SUM(h.bytes), 0) AS BIGINT) FROM image_hold h JOIN image i ON i.id = h.image_id \
          WHERE i.owner = $7 AND h.kind = 'stage') AS staged, \
         (SELECT COUNT(*) FROM image i WHERE i.owner = $8 AND i.status <> 'deleted') AS images, \
         (SELECT COUNT(*) FROM image i WHERE i.owner = $9 AND i.status <> 'deleted' \
          AND (i.status IN ('saving', 'uploading', 'importing') OR EXISTS (SELECT 1 FROM image_property p \
          WHERE p.image_id = i.id AND p.name = 'os_glance_importing_to_stores' AND p.value <> ''))) AS uploading",
    )
    .bind(project)
    .bind(project)
    .bind(project)
    .bind(importing.unwrap_or(""))
    .bind(project)
    .bind(project)
    .bind(project)
    .bind(project)
    .bind(project)
    .fetch_one(db)
    .await
    .map_err(db_error)?;
    let read = || -> sqlx::Result<Usage> {
        Ok(Usage {
            size: row.try_get("size")?,
            staged: row.try_get("staged")?,
            images: row.try_get("images")?,
            uploading: row.try_get("uploading")?,
        })
    };
    read().map_err(db_error)
}

/// What the project uses as seen by `tx`, which holds its lock.
pub async fn locked_usage(tx: &mut Tx, limits: &Limits, importing: Option<&str>) -> Result<Usage> {
    usage(&mut **tx, &limits.project, importing).await
}

/// Live records of the project: it has that many at least. Counts no further than `most`.
pub async fn records(tx: &mut Tx, project: &str, most: i64) -> Result<i64> {
    sqlx::query(
        "SELECT COUNT(*) FROM (SELECT 1 FROM image WHERE owner = $1 AND status <> 'deleted' LIMIT $2) AS found",
    )
    .bind(project)
    .bind(most)
    .fetch_one(&mut **tx)
    .await
    .and_then(|row| row.try_get(0))
    .map_err(db_error)
}

/// An object is begun for an image that has just become one that gets data: 413 if there are too many of those, or if
/// the bytes that are known to come are more than the project may have; they count from now on.
pub async fn admit(tx: &mut Tx, charge: &Charge, image_id: &str) -> Result<()> {
    let now = locked_usage(tx, &charge.limits, None).await?;
    charge.limits.check_bytes(charge.kind, &now, charge.bytes, true)?;
    charge.limits.check_uploading(&now)?;
    hold(tx, charge, image_id).await
}

/// An import has just begun for an image: 413 if that is more than the project may have.
pub async fn admit_import(tx: &mut Tx, import: &Import, image_id: &str) -> Result<()> {
    let now = locked_usage(tx, &import.limits, Some(image_id)).await?;
    import.limits.check_bytes(Kind::Size, &now, Some(import.bytes), true)?;
    if import.fetches {
        import.limits.check_bytes(Kind::Stage, &now, None, true)?;
        import.limits.check_uploading(&now)?;
    }
    Ok(())
}

/// An import has just claimed the place of an object. If the size of the image is known, this is a copy that counts as
/// its location does; else it is fetched, and room among the staged data is held as it grows.
pub async fn admit_object(
    tx: &mut Tx,
    limits: &Limits,
    image_id: &str,
    object: &str,
) -> Result<Option<Hold>> {
    let row = sqlx::query("SELECT 1 FROM image WHERE id = $1 AND size IS NULL")
        .bind(image_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    let now = locked_usage(tx, limits, Some(image_id)).await?;
    if row.is_none() {
        limits.check_bytes(Kind::Size, &now, Some(0), true)?;
        return Ok(None);
    }
    limits.check_bytes(Kind::Stage, &now, None, true)?;
    let charge = Charge { limits: limits.clone(), object: object.to_owned(), kind: Kind::Stage, bytes: None };
    hold(tx, &charge, image_id).await?;
    Ok(Some(charge.hold()))
}

/// An image has just got a location: 413 if the project's images are more now than they may be.
pub async fn admit_location(tx: &mut Tx, limits: &Limits) -> Result<()> {
    let now = locked_usage(tx, limits, None).await?;
    limits.check_bytes(Kind::Size, &now, Some(0), true)
}

/// What an import fetched is staged: 413 if it is more than the project's images may have.
pub async fn admit_staged(tx: &mut Tx, limits: &Limits, image_id: &str, size: i64) -> Result<()> {
    let now = locked_usage(tx, limits, Some(image_id)).await?;
    limits.check_bytes(Kind::Size, &now, Some(u64::try_from(size).unwrap_or(0)), false)
}

/// The bytes of a new object that are known to come count from now on.
async fn hold(tx: &mut Tx, charge: &Charge, image_id: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_hold (object, image_id, kind, bytes, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&charge.object)
    .bind(image_id)
    .bind(charge.kind.as_str())
    .bind(i64::try_from(charge.bytes.unwrap_or(0)).unwrap_or(i64::MAX))
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// The object grows to `bytes`, of which `needed` have arrived; how many may be written. 413 if not even those.
pub async fn grow(
    db: &Db,
    limits: &Limits,
    object: &str,
    kind: Kind,
    needed: u64,
    bytes: u64,
) -> Result<u64> {
    again!(async {
        let mut tx = db.begin_write().await?;
        lock(&mut tx, &limits.project).await?;
        let row = sqlx::query("SELECT bytes FROM image_hold WHERE object = $1")
            .bind(object)
            .fetch_optional(&mut *tx)
            .await
            .map_err(db_error)?;
        let Some(row) = row else {
            return Err(Error::new(ErrorKind::Gone, "The image was deleted while its data arrived."));
        };
        let have: i64 = row.try_get(0).map_err(db_error)?;
        let have = u64::try_from(have).unwrap_or(0);
        let before = locked_usage(&mut tx, limits, None).await?;
        let more = |to: u64| limits.check_bytes(kind, &before, Some(to.saturating_sub(have)), false);
        let to = if more(bytes).is_ok() { bytes } else { more(needed).map(|()| needed)? };
        sqlx::query("UPDATE image_hold SET bytes = $1 WHERE object = $2")
            .bind(i64::try_from(to).unwrap_or(i64::MAX))
            .bind(object)
            .execute(&mut *tx)
            .await
            .map_err(db_error)?;
        tx.commit().await.map_err(db_error)?;
        Ok(to)
    })
}

/// The object is a record's now.
pub async fn release_in(tx: &mut Tx, object: &str) -> Result<()> {
    sqlx::query("DELETE FROM image_hold WHERE object = $1")
        .bind(object)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// The object is gone from its store.
pub async fn release(db: &Db, object: &str) -> Result<()> {
    again!(async {
        sqlx::query("DELETE FROM image_hold WHERE object = $1")
            .bind(object)
            .execute(db.writer())
            .await
            .map(|_| ())
            .map_err(db_error)
    })
}

/// Ends holds from before `started` that no upload or location claims any more, except for those in `there`: their
/// objects are still in some store.
pub async fn prune(db: &Db, started: Timestamp, there: &HashSet<String>) -> Result<()> {
    let rows = sqlx::query(
        "SELECT h.object FROM image_hold h WHERE h.created_at < $1 \
         AND NOT EXISTS (SELECT 1 FROM image i WHERE i.id = h.image_id AND i.upload IS NOT NULL \
         AND h.object = i.id || '.' || i.upload) \
         AND NOT EXISTS (SELECT 1 FROM image_location l WHERE l.image_id = h.image_id AND l.name = h.object)",
    )
    .bind(started.0)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    for row in rows {
        let object: String = row.try_get(0).map_err(db_error)?;
        if !there.contains(&object) {
            release(db, &object).await?;
        }
    }
    Ok(())
}
