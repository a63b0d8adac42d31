//! Image records.

use super::{Sql, location};
use crate::image::{Image, Status, Visibility};
use ferrostack_db::{
    Change, Db, Tx, again, db_error, is_unique_violation,
    sqlx::{self, AnyPool, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};
use std::collections::HashMap;

/// The columns [`read`] needs, for statements of other files of this module.
pub(super) const COLUMNS: &str = "SELECT id, name, status, visibility, owner, disk_format, container_format, size, \
     virtual_size, checksum, os_hash_algo, os_hash_value, min_disk, min_ram, protected, os_hidden, file, upload, created_at, \
     updated_at, generation FROM image";
const GET: &str = "SELECT id, name, status, visibility, owner, disk_format, container_format, size, virtual_size, \
     checksum, os_hash_algo, os_hash_value, min_disk, min_ram, protected, os_hidden, file, upload, created_at, updated_at, \
     generation FROM image WHERE id = $1 AND status <> 'deleted'";

/// Inserts a new record; 409 if the id is or ever was in use.
pub async fn insert(db: &Db, image: &Image) -> Result<()> {
    again!(async {
        let mut tx = db.begin_write().await?;
        insert_in(&mut tx, image).await?;
        tx.commit().await.map_err(db_error)
    })
}

/// The same in a transaction.
pub(crate) async fn insert_in(tx: &mut Tx, image: &Image) -> Result<()> {
    let done = sqlx::query(
        "INSERT INTO image (id, name, status, visibility, owner, disk_format, container_format, min_disk, min_ram, \
         protected, os_hidden, created_at, updated_at, generation) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(&image.id)
    .bind(&image.name)
    .bind(image.status.as_str())
    .bind(image.visibility.as_str())
    .bind(&image.owner)
    .bind(&image.disk_format)
    .bind(&image.container_format)
    .bind(image.min_disk)
    .bind(image.min_ram)
    .bind(i64::from(image.protected))
    .bind(i64::from(image.os_hidden))
    .bind(image.created_at.0)
    .bind(image.updated_at.0)
    .bind(image.generation)
    .execute(&mut **tx)
    .await;
    if let Err(error) = done {
        if is_unique_violation(&error) {
            return Err(Error::conflict(format!("Image ID {} already exists!", image.id)));
        }
        return Err(db_error(error));
    }
    insert_parts(tx, image).await
}

async fn insert_parts(tx: &mut Tx, image: &Image) -> Result<()> {
    for (name, value) in &image.properties {
        sqlx::query("INSERT INTO image_property (image_id, name, value) VALUES ($1, $2, $3)")
            .bind(&image.id)
            .bind(name)
            .bind(value)
            .execute(&mut **tx)
            .await
            .map_err(db_error)?;
    }
    for tag in &image.tags {
        sqlx::query("INSERT INTO image_tag (image_id, tag) VALUES ($1, $2)")
            .bind(&image.id)
            .bind(tag)
            .execute(&mut **tx)
            .await
            .map_err(db_error)?;
    }
    Ok(())
}

/// The image, unless it is deleted.
pub async fn get(db: &Db, id: &str) -> Result<Option<Image>> {
    let row = sqlx::query(GET).bind(id).fetch_optional(db.reader()).await.map_err(db_error)?;
    let Some(row) = row else { return Ok(None) };
    let mut images = vec![read(&row)?];
    add_parts(db.reader(), &mut images).await?;
    Ok(images.pop())
}

/// Writes what users may change of `image`, if it still has the generation `image.generation`.
pub async fn update(db: &Db, image: &Image) -> Result<Change> {
    again!(async {
        let mut tx = db.begin_write().await?;
        let done = sqlx::query(
        "UPDATE image SET name = $1, visibility = $2, owner = $3, disk_format = $4, container_format = $5, \
         min_disk = $6, min_ram = $7, protected = $8, os_hidden = $9, updated_at = $10, \
         generation = generation + 1 WHERE id = $11 AND generation = $12 AND status <> 'deleted'",
    )
    .bind(&image.name)
    .bind(image.visibility.as_str())
    .bind(&image.owner)
    .bind(&image.disk_format)
    .bind(&image.container_format)
    .bind(image.min_disk)
    .bind(image.min_ram)
    .bind(i64::from(image.protected))
    .bind(i64::from(image.os_hidden))
    .bind(Timestamp::now().0)
    .bind(&image.id)
    .bind(image.generation)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
        if done.rows_affected() == 0 {
            return Ok(Change::Stale);
        }
        for statement in
            ["DELETE FROM image_property WHERE image_id = $1", "DELETE FROM image_tag WHERE image_id = $1"]
        {
            sqlx::query(statement).bind(&image.id).execute(&mut *tx).await.map_err(db_error)?;
        }
        insert_parts(&mut tx, image).await?;
        tx.commit().await.map_err(db_error)?;
        Ok(Change::Updated)
    })
}

/// Moves the image from one of two states to another.
pub async fn set_status(db: &Db, id: &str, from: [Status; 2], to: Status) -> Result<Change> {
    again!(async {
        let done = sqlx::query(
            "UPDATE image SET status = $1, updated_at = $2, generation = generation + 1 \
         WHERE id = $3 AND (status = $4 OR status = $5)",
        )
        .bind(to.as_str())
        .bind(Timestamp::now().0)
        .bind(id)
        .bind(from[0].as_str())
        .bind(from[1].as_str())
        .execute(db.writer())
        .await
        .map_err(db_error)?;
        Ok(if done.rows_affected() == 0 { Change::Stale } else { Change::Updated })
    })
}

/// Deletes the image unless it is protected or changed since; its data (staged data lies in the store `staged_in`)
/// is still to be removed.
pub async fn delete(db: &Db, image: &Image, staged_in: &str) -> Result<Change> {
    again!(async {
        let mut tx = db.begin_write().await?;
        let now = Timestamp::now().0;
        let done = sqlx::query(
        "UPDATE image SET status = 'deleted', deleted_at = $1, updated_at = $2, upload = NULL, lease_until = NULL, \
         generation = generation + 1 \
         WHERE id = $3 AND generation = $4 AND protected = 0 AND status <> 'deleted'",
    )
    .bind(now)
    .bind(now)
    .bind(&image.id)
    .bind(image.generation)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
        if done.rows_affected() == 0 {
            return Ok(Change::Stale);
        }
        for statement in [
            "DELETE FROM image_property WHERE image_id = $1",
            "DELETE FROM image_tag WHERE image_id = $1",
            "DELETE FROM image_member WHERE image_id = $1",
            "UPDATE image_task SET status = 'failure', message = 'The image was deleted.' \
         WHERE image_id = $1 AND status IN ('pending', 'processing')",
        ] {
            sqlx::query(statement).bind(&image.id).execute(&mut *tx).await.map_err(db_error)?;
        }
        location::condemn_all(&mut tx, &image.id, staged_in).await?;
        // An import under way writes nothing any more.
        ferrostack_jobs::supersede(&mut tx, &image.id).await?;
        tx.commit().await.map_err(db_error)?;
        Ok(Change::Updated)
    })
}

/// A row as an image, without properties and tags.
pub(super) fn read(row: &AnyRow) -> Result<Image> {
    let read = || -> sqlx::Result<(Image, String, String)> {
        Ok((
            Image {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                status: Status::Queued,
                visibility: Visibility::Private,
                owner: row.try_get("owner")?,
                disk_format: row.try_get("disk_format")?,
                container_format: row.try_get("container_format")?,
                size: row.try_get("size")?,
                virtual_size: row.try_get("virtual_size")?,
                checksum: row.try_get("checksum")?,
                os_hash_algo: row.try_get("os_hash_algo")?,
                os_hash_value: row.try_get("os_hash_value")?,
                min_disk: row.try_get("min_disk")?,
                min_ram: row.try_get("min_ram")?,
                protected: row.try_get::<i64, _>("protected")? != 0,
                os_hidden: row.try_get::<i64, _>("os_hidden")? != 0,
                file: row.try_get("file")?,
                upload: row.try_get("upload")?,
                created_at: Timestamp(row.try_get("created_at")?),
                updated_at: Timestamp(row.try_get("updated_at")?),
                generation: row.try_get("generation")?,
                properties: Default::default(),
                tags: Default::default(),
                locations: Vec::new(),
            },
            row.try_get("status")?,
            row.try_get("visibility")?,
        ))
    };
    let (mut image, status, visibility) = read().map_err(db_error)?;
    image.status = Status::parse(&status)?;
    image.visibility = Visibility::parse(&visibility)
        .ok_or_else(|| Error::internal(format!("visibility {visibility} in the database")))?;
    Ok(image)
}

/// Adds properties, tags and locations to `images`.
pub(super) async fn add_parts(db: &AnyPool, images: &mut [Image]) -> Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let at: HashMap<String, usize> = images.iter().enumerate().map(|(i, m)| (m.id.clone(), i)).collect();
    let mut sql = Sql::new("SELECT image_id, name, value FROM image_property WHERE image_id IN ");
    sql.bind_list(at.keys().cloned());
    for row in sql.fetch_all(db).await.map_err(db_error)? {
        let (id, name, value): (String, String, String) =
            (get_text(&row, 0)?, get_text(&row, 1)?, get_text(&row, 2)?);
        if let Some(i) = at.get(&id) {
            images[*i].properties.insert(name, value);
        }
    }
    let mut sql = Sql::new("SELECT image_id, tag FROM image_tag WHERE image_id IN ");
    sql.bind_list(at.keys().cloned());
    for row in sql.fetch_all(db).await.map_err(db_error)? {
        if let Some(i) = at.get(&get_text(&row, 0)?) {
            images[*i].tags.insert(get_text(&row, 1)?);
        }
    }
    for (id, locations) in location::of_images(db, at.keys().cloned()).await? {
        if let Some(i) = at.get(&id) {
            images[*i].locations = locations;
        }
    }
    Ok(())
}

fn get_text(row: &AnyRow, column: usize) -> Result<String> {
    row.try_get(column).map_err(db_error)
}
