//! The projects images are shared with.

use crate::image::Member;
use ferrostack_db::{
    Db, again, db_error, is_unique_violation,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Error, ErrorKind, Result, Timestamp};

/// Most members of an image.
const MAX_MEMBERS: i64 = 128;

/// Whether `project` is a member of the image, whatever its answer.
pub async fn is_member(db: &Db, image_id: &str, project: &str) -> Result<bool> {
    sqlx::query("SELECT 1 FROM image_member WHERE image_id = $1 AND member = $2")
        .bind(image_id)
        .bind(project)
        .fetch_optional(db.reader())
        .await
        .map(|row| row.is_some())
        .map_err(db_error)
}

/// The members in the order they were added.
pub async fn list(db: &Db, image_id: &str) -> Result<Vec<Member>> {
    sqlx::query(
        "SELECT image_id, member, status, created_at, updated_at FROM image_member WHERE image_id = $1 \
         ORDER BY created_at, member",
    )
    .bind(image_id)
    .fetch_all(db.reader())
    .await
    .and_then(|rows| rows.iter().map(read).collect())
    .map_err(db_error)
}

/// One member.
pub async fn get(db: &Db, image_id: &str, member: &str) -> Result<Option<Member>> {
    sqlx::query(
        "SELECT image_id, member, status, created_at, updated_at FROM image_member \
         WHERE image_id = $1 AND member = $2",
    )
    .bind(image_id)
    .bind(member)
    .fetch_optional(db.reader())
    .await
    .and_then(|row| row.as_ref().map(read).transpose())
    .map_err(db_error)
}

/// Adds a pending member; 409 if it is one, 413 if there are too many, 404 if the image went meanwhile.
pub async fn insert(db: &Db, image_id: &str, member: &str) -> Result<Member> {
    again!(async {
        let mut tx = db.begin_write().await?;
        // Keeps others from adding one at the same time, and the image from going.
        let locked = sqlx::query(
        "UPDATE image SET generation = generation + 1 WHERE id = $1 AND status <> 'deleted' AND visibility = 'shared'",
    )
    .bind(image_id)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
        if locked.rows_affected() == 0 {
            return Err(Error::not_found(format!("Image {image_id} not found.")));
        }
        let have: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM image_member WHERE image_id = $1")
            .bind(image_id)
            .fetch_one(&mut *tx)
            .await
            .map_err(db_error)?;
        if have >= MAX_MEMBERS {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "Image member limit exceeded for image {image_id}: The limit has been exceeded on the number of allowed image members for this image. Attempted: {}, Maximum: {MAX_MEMBERS}:",
                    have + 1
                ),
            ));
        }
        let now = Timestamp::now();
        let done = sqlx::query(
        "INSERT INTO image_member (image_id, member, status, created_at, updated_at) VALUES ($1, $2, 'pending', $3, $4)",
    )
    .bind(image_id)
    .bind(member)
    .bind(now.0)
    .bind(now.0)
    .execute(&mut *tx)
    .await;
        match done {
            Ok(_) => {}
            Err(error) if is_unique_violation(&error) => {
                return Err(Error::conflict(format!("Member {member} is duplicated for image {image_id}")));
            }
            Err(error) => return Err(db_error(error)),
        }
        tx.commit().await.map_err(db_error)?;
        Ok(Member {
            image_id: image_id.to_owned(),
            member: member.to_owned(),
            status: "pending".into(),
            created_at: now,
            updated_at: now,
        })
    })
}

/// Sets the member's answer; whether there is such a member.
pub async fn update(db: &Db, image_id: &str, member: &str, status: &str) -> Result<bool> {
    again!(async {
        sqlx::query(
            "UPDATE image_member SET status = $1, updated_at = $2 WHERE image_id = $3 AND member = $4",
        )
        .bind(status)
        .bind(Timestamp::now().0)
        .bind(image_id)
        .bind(member)
        .execute(db.writer())
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(db_error)
    })
}

/// Removes a member; whether there was one.
pub async fn delete(db: &Db, image_id: &str, member: &str) -> Result<bool> {
    again!(async {
        sqlx::query("DELETE FROM image_member WHERE image_id = $1 AND member = $2")
            .bind(image_id)
            .bind(member)
            .execute(db.writer())
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(db_error)
    })
}

fn read(row: &AnyRow) -> sqlx::Result<Member> {
    Ok(Member {
        image_id: row.try_get("image_id")?,
        member: row.try_get("member")?,
        status: row.try_get("status")?,
        created_at: Timestamp(row.try_get("created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
    })
}
