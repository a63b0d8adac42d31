//! Imports: what a job changes of its image, each time in one transaction that is worth nothing without the job's.
//!
//! Rows are locked in one order everywhere: the image, what belongs to it, the job.

use super::{
    location::{self, Location, Status as Placed},
    quota, task,
};
use crate::{
    image::{Image, Status},
    quota::{Hold, Import, Limits, Quota},
    store::upload::Received,
    task::Task,
};
use ferrostack_db::{
    Db, Tx, again, db_error,
    sqlx::{self, Row},
};
use ferrostack_jobs::{Enqueue, Job};
use ferrostack_model::{Error, ErrorKind, Result, Timestamp};
use std::collections::BTreeSet;

/// The property that names the task of the import under way.
pub const TASK: &str = "os_glance_import_task";
/// The property with the stores that are still to be filled.
pub const IMPORTING: &str = "os_glance_importing_to_stores";
/// The property with the stores that could not be filled.
pub const FAILED: &str = "os_glance_failed_import";

/// The image is gone, or the job is not ours any more: nothing it says counts.
pub fn lost() -> Error {
    Error::new(ErrorKind::Gone, "The image was deleted during the import.")
}

/// Locks the image's row and says that it changed; [`lost`] if it is deleted.
async fn touch(tx: &mut Tx, image_id: &str) -> Result<()> {
    let done = sqlx::query(
        "UPDATE image SET updated_at = $1, generation = generation + 1 WHERE id = $2 AND status <> 'deleted'",
    )
    .bind(Timestamp::now().0)
    .bind(image_id)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    if done.rows_affected() == 0 { Err(lost()) } else { Ok(()) }
}

/// Begins an import: the image's state, its task and its job. 409 if the image is not in the state `from` any more
/// or has a job under way. `stores` are to be filled; none if the API does not speak of stores.
pub async fn begin(
    db: &Db,
    task: &Task,
    from: Status,
    to: Status,
    stores: &[String],
    job: Enqueue<'_>,
    charge: Option<&Import>,
) -> Result<()> {
    again!(async {
        let mut tx = db.begin_write().await?;
        begin_in(&mut tx, task, from, to, stores, job.clone(), charge).await?;
        tx.commit().await.map_err(db_error)
    })
}

/// The same for an image that is made with its import.
pub async fn begin_new(
    db: &Db,
    image: &Image,
    task: &Task,
    stores: &[String],
    job: Enqueue<'_>,
    quota: &Quota,
) -> Result<()> {
    again!(async {
        let limits = quota.of(image).await?;
        let mut tx = db.begin_write().await?;
        quota.check_new(&mut tx, image.owner.as_deref().unwrap_or(""), limits.as_ref()).await?;
        super::image::insert_in(&mut tx, image).await?;
        let charge = limits.map(|limits| Import { limits, bytes: 0, fetches: true });
        begin_in(&mut tx, task, Status::Queued, Status::Importing, stores, job.clone(), charge.as_ref())
            .await?;
        tx.commit().await.map_err(db_error)
    })
}

async fn begin_in(
    tx: &mut Tx,
    task: &Task,
    from: Status,
    to: Status,
    stores: &[String],
    job: Enqueue<'_>,
    charge: Option<&Import>,
) -> Result<()> {
    if let Some(charge) = charge {
        quota::lock(tx, &charge.limits.project).await?;
    }
    let done = sqlx::query(
        "UPDATE image SET status = $1, updated_at = $2, generation = generation + 1 \
         WHERE id = $3 AND status = $4 AND upload IS NULL",
    )
    .bind(to.as_str())
    .bind(Timestamp::now().0)
    .bind(&task.image_id)
    .bind(from.as_str())
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    let busy = || Error::conflict("Image has active task");
    if done.rows_affected() == 0 {
        return Err(busy());
    }
    ferrostack_jobs::enqueue(tx, job).await.map_err(|error| match error.kind {
        ErrorKind::Conflict => busy(),
        _ => error,
    })?;
    task::insert(tx, task).await?;
    let asked: BTreeSet<String> = stores.iter().cloned().collect();
    let failed = names(tx, &task.image_id, FAILED).await?.difference(&asked).cloned().collect();
    set_names(tx, &task.image_id, IMPORTING, &asked).await?;
    set_names(tx, &task.image_id, FAILED, &failed).await?;
    set_property(tx, &task.image_id, TASK, &task.id).await?;
    match charge {
        Some(charge) => quota::admit_import(tx, charge, &task.image_id).await,
        None => Ok(()),
    }
}

/// Claims the place of an object before anything is written to it. What an earlier run of the job began in the same
/// store is to be removed. [`lost`] if the job was taken over, 413 if `limits` do not allow it; the room that is held
/// for an object that is fetched.
pub async fn claim(db: &Db, job: &Job, location: &Location, limits: Option<&Limits>) -> Result<Option<Hold>> {
    again!(async {
        let mut tx = db.begin_write().await?;
        if let Some(limits) = limits {
            quota::lock(&mut tx, &limits.project).await?;
        }
        touch(&mut tx, &location.image_id).await?;
        sqlx::query(
        "UPDATE image_location SET status = 'deleting' WHERE image_id = $1 AND store = $2 AND status = 'pending'",
    )
    .bind(&location.image_id)
    .bind(&location.store)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
        location::insert(&mut tx, location, Placed::Pending).await?;
        let ours = sqlx::query(
            "UPDATE jobs SET updated_at = $1 WHERE id = $2 AND generation = $3 AND state = 'active'",
        )
        .bind(Timestamp::now().0)
        .bind(&job.id)
        .bind(job.generation)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
        if ours.rows_affected() == 0 {
            return Err(lost());
        }
        let hold = match limits {
            Some(limits) => quota::admit_object(&mut tx, limits, &location.image_id, &location.name).await?,
            None => None,
        };
        tx.commit().await.map_err(db_error)?;
        Ok(hold)
    })
}

/// Says how far the task is; false if it is not under way any more, or the job is not ours.
pub async fn progress(db: &Db, job: &Job, task_id: &str, message: &str) -> Result<bool> {
    again!(async {
        sqlx::query(
        "UPDATE image_task SET message = $1, updated_at = $2 WHERE id = $3 AND status = 'processing' \
         AND EXISTS (SELECT 1 FROM jobs WHERE jobs.id = $4 AND jobs.generation = $5 AND jobs.state = 'active')",
    )
    .bind(message)
    .bind(Timestamp::now().0)
    .bind(task_id)
    .bind(&job.id)
    .bind(job.generation)
    .execute(db.writer())
    .await
    .map(|done| done.rows_affected() > 0)
    .map_err(db_error)
    })
}

/// What was fetched lies whole at `location`: it is the image's staged data now. 413 if `limits`, whose lock `tx` holds,
/// do not allow that it becomes more.
pub async fn staged(
    tx: &mut Tx,
    location: &Location,
    data: &Received,
    limits: Option<&Limits>,
) -> Result<()> {
    let done = sqlx::query(
        "UPDATE image SET file = $1, size = $2, checksum = $3, os_hash_algo = 'sha512', os_hash_value = $4, updated_at = $5, \
         generation = generation + 1 WHERE id = $6 AND status = 'importing'",
    )
    .bind(&data.file)
    .bind(data.size)
    .bind(&data.checksum)
    .bind(&data.sha512)
    .bind(Timestamp::now().0)
    .bind(&location.image_id)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    let gone = sqlx::query("DELETE FROM image_location WHERE id = $1 AND status = 'pending'")
        .bind(&location.id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    if done.rows_affected() == 0 || gone.rows_affected() == 0 {
        return Err(lost());
    }
    quota::release_in(tx, &data.file).await?;
    match limits {
        Some(limits) => quota::admit_staged(tx, limits, &location.image_id, data.size).await,
        None => Ok(()),
    }
}

/// Attributes and properties that another cloud's image brought.
pub async fn describe(
    tx: &mut Tx,
    image_id: &str,
    formats: (Option<&str>, Option<&str>),
    set: &[(String, String)],
    remove: &[String],
) -> Result<()> {
    touch(tx, image_id).await?;
    sqlx::query("UPDATE image SET disk_format = $1, container_format = $2 WHERE id = $3")
        .bind(formats.0)
        .bind(formats.1)
        .bind(image_id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    for name in remove {
        remove_property(tx, image_id, name).await?;
    }
    for (name, value) in set {
        set_property(tx, image_id, name, value).await?;
    }
    Ok(())
}

/// The object at `location` is whole.
pub async fn placed(tx: &mut Tx, location: &Location) -> Result<()> {
    touch(tx, &location.image_id).await?;
    let done =
        sqlx::query("UPDATE image_location SET status = 'active' WHERE id = $1 AND status = 'pending'")
            .bind(&location.id)
            .execute(&mut **tx)
            .await
            .map_err(db_error)?;
    if done.rows_affected() == 0 { Err(lost()) } else { Ok(()) }
}

/// The staged data, in the store `store`, becomes a location of the image as it is; the location's id.
pub async fn placed_staged(tx: &mut Tx, image_id: &str, store: &str) -> Result<String> {
    touch(tx, image_id).await?;
    let made = location::move_staged(tx, image_id, store, Placed::Active).await?;
    made.ok_or_else(|| Error::internal("nothing is staged"))
}

/// A store is done with, well or badly.
pub async fn store_done(tx: &mut Tx, image_id: &str, store: &str, failed: bool) -> Result<()> {
    let mut importing = names(tx, image_id, IMPORTING).await?;
    if importing.remove(store) {
        set_names(tx, image_id, IMPORTING, &importing).await?;
    }
    if failed {
        let mut all = names(tx, image_id, FAILED).await?;
        all.insert(store.to_owned());
        set_names(tx, image_id, FAILED, &all).await?;
    }
    Ok(())
}

/// importing -> active, unless it is so already.
pub async fn activate(tx: &mut Tx, image_id: &str, virtual_size: Option<i64>) -> Result<()> {
    touch(tx, image_id).await?;
    sqlx::query(
        "UPDATE image SET status = 'active', virtual_size = $1 WHERE id = $2 AND status = 'importing'",
    )
    .bind(virtual_size)
    .bind(image_id)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// The import is over: what is still staged in `staged_in` goes, `inject` is added, the task has succeeded.
pub async fn finish(
    tx: &mut Tx,
    image_id: &str,
    task_id: &str,
    staged_in: &str,
    inject: &[(String, String)],
    expires_at: Timestamp,
) -> Result<()> {
    touch(tx, image_id).await?;
    location::condemn_staged(tx, image_id, staged_in).await?;
    for (name, value) in inject {
        set_property(tx, image_id, name, value).await?;
    }
    remove_property(tx, image_id, TASK).await?;
    task::finish(tx, task_id, None, expires_at).await
}

/// The locations that the job made, and those it began, are to be removed.
pub async fn condemn(tx: &mut Tx, image_id: &str, locations: &[String]) -> Result<()> {
    sqlx::query("UPDATE image_location SET status = 'deleting' WHERE image_id = $1 AND status = 'pending'")
        .bind(image_id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    for id in locations {
        sqlx::query("UPDATE image_location SET status = 'deleting' WHERE id = $1 AND image_id = $2")
            .bind(id)
            .bind(image_id)
            .execute(&mut **tx)
            .await
            .map_err(db_error)?;
    }
    Ok(())
}

/// How an import failed.
pub struct Failure<'a> {
    /// The image.
    pub image_id: &'a str,
    /// The task.
    pub task_id: &'a str,
    /// Why, for the task's owner.
    pub why: &'a str,
    /// When the task is forgotten.
    pub expires_at: Timestamp,
    /// Stores that were not filled because of this.
    pub stores: &'a [String],
    /// The image was complete before, and stays so.
    pub keep: bool,
    /// The image was made by the task, and goes with it.
    pub delete: bool,
}

/// The import failed, and what it stored is condemned: the image is queued again.
pub async fn failed(tx: &mut Tx, failure: &Failure<'_>) -> Result<()> {
    let Failure { image_id, task_id, why, expires_at, stores, keep, delete } = *failure;
    if touch(tx, image_id).await.is_ok() {
        let to = if delete { "deleted" } else { "queued" };
        if !keep {
            sqlx::query(
                "UPDATE image SET status = $1, size = NULL, virtual_size = NULL, checksum = NULL, \
                 os_hash_algo = NULL, os_hash_value = NULL, deleted_at = $2 WHERE id = $3",
            )
            .bind(to)
            .bind(delete.then(|| Timestamp::now().0))
            .bind(image_id)
            .execute(&mut **tx)
            .await
            .map_err(db_error)?;
        }
        let mut all = names(tx, image_id, FAILED).await?;
        all.extend(stores.iter().cloned());
        set_names(tx, image_id, FAILED, &all).await?;
        set_names(tx, image_id, IMPORTING, &BTreeSet::new()).await?;
        remove_property(tx, image_id, TASK).await?;
    }
    task::finish(tx, task_id, Some(why), expires_at).await
}

/// Images that say they are being imported although there is no job for it: they are what they were before. How many.
pub async fn abort_unknown(db: &Db) -> Result<u64> {
    sqlx::query(
        "UPDATE image SET status = CASE WHEN file IS NULL THEN 'queued' ELSE 'uploading' END, upload = NULL, \
         lease_until = NULL, generation = generation + 1 WHERE status = 'importing' AND NOT EXISTS \
         (SELECT 1 FROM jobs WHERE jobs.target = image.id AND jobs.state IN ('active', 'undoing'))",
    )
    .execute(db.writer())
    .await
    .map(|done| done.rows_affected())
    .map_err(db_error)
}

/// A property that is a list of stores.
async fn names(tx: &mut Tx, image_id: &str, property: &str) -> Result<BTreeSet<String>> {
    let row = sqlx::query("SELECT value FROM image_property WHERE image_id = $1 AND name = $2")
        .bind(image_id)
        .bind(property)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    let text: String = row.map(|r| r.try_get(0)).transpose().map_err(db_error)?.unwrap_or_default();
    Ok(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

async fn set_names(tx: &mut Tx, image_id: &str, property: &str, names: &BTreeSet<String>) -> Result<()> {
    let text = names.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    set_property(tx, image_id, property, &text).await
}

async fn set_property(tx: &mut Tx, image_id: &str, name: &str, value: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_property (image_id, name, value) VALUES ($1, $2, $3) \
         ON CONFLICT (image_id, name) DO UPDATE SET value = excluded.value",
    )
    .bind(image_id)
    .bind(name)
    .bind(value)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

async fn remove_property(tx: &mut Tx, image_id: &str, name: &str) -> Result<()> {
    sqlx::query("DELETE FROM image_property WHERE image_id = $1 AND name = $2")
        .bind(image_id)
        .bind(name)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}
