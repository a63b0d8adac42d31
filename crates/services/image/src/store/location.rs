//! What is stored of images, and where.

use super::Sql;
use crate::image::Image;
use ferrostack_db::{
    Change, Db, Tx, again, db_error,
    sqlx::{self, AnyPool, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// One copy of an image's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Names the row.
    pub id: String,
    /// The image.
    pub image_id: String,
    /// Id of the store.
    pub store: String,
    /// Name of the object in the store; of a read-only store the URL.
    pub name: String,
    /// What clients keep with it.
    pub metadata: Map<String, Value>,
    /// Whether it was once found not to hold the image's bytes.
    pub damaged: bool,
}

impl Location {
    /// A location without metadata.
    pub fn new(image_id: &str, store: &str, name: &str) -> Self {
        Self {
            id: id::uuid(),
            image_id: image_id.to_owned(),
            store: store.to_owned(),
            name: name.to_owned(),
            metadata: Map::new(),
            damaged: false,
        }
    }
}

/// How far a location is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being written; only the sweep of orphans knows of it.
    Pending,
    /// Whole.
    Active,
    /// To be removed from the store.
    Deleting,
}

impl Status {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Deleting => "deleting",
        }
    }
}

const COLUMNS: &str = "SELECT id, image_id, store, name, metadata, damaged_at FROM image_location";

/// Adds a location behind the image's others.
pub async fn insert(tx: &mut Tx, location: &Location, status: Status) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_location (id, image_id, position, store, name, metadata, status, created_at, bytes) \
         VALUES ($1, $2, (SELECT COALESCE(MAX(position) + 1, 0) FROM image_location WHERE image_id = $3), \
         $4, $5, $6, $7, $8, (SELECT size FROM image WHERE id = $9))",
    )
    .bind(&location.id)
    .bind(&location.image_id)
    .bind(&location.image_id)
    .bind(&location.store)
    .bind(&location.name)
    .bind(Value::Object(location.metadata.clone()).to_string())
    .bind(status.as_str())
    .bind(Timestamp::now().0)
    .bind(&location.image_id)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// The whole locations of `images`, each image's in their order.
pub(super) async fn of_images(
    db: &AnyPool,
    images: impl IntoIterator<Item = String>,
) -> Result<HashMap<String, Vec<Location>>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE status = 'active' AND image_id IN ");
    sql.bind_list(images);
    sql.push(" ORDER BY position, id");
    let mut found: HashMap<String, Vec<Location>> = HashMap::new();
    for row in sql.fetch_all(db).await.map_err(db_error)? {
        let location = read(&row)?;
        found.entry(location.image_id.clone()).or_default().push(location);
    }
    Ok(found)
}

/// All locations of the image are to be removed, its staged data (which lies in the store `staged_in`) too.
pub async fn condemn_all(tx: &mut Tx, image_id: &str, staged_in: &str) -> Result<()> {
    sqlx::query("UPDATE image_location SET status = 'deleting' WHERE image_id = $1")
        .bind(image_id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    condemn_staged(tx, image_id, staged_in).await
}

/// The image's staged data is to be removed from the store `store`.
pub async fn condemn_staged(tx: &mut Tx, image_id: &str, store: &str) -> Result<()> {
    move_staged(tx, image_id, store, Status::Deleting).await.map(|_| ())
}

/// The image's staged data, in the store `store`, becomes a location; its id, if anything is staged.
pub async fn move_staged(tx: &mut Tx, image_id: &str, store: &str, status: Status) -> Result<Option<String>> {
    let staged = sqlx::query("SELECT file FROM image WHERE id = $1 AND file IS NOT NULL")
        .bind(image_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    let Some(row) = staged else { return Ok(None) };
    let name: String = row.try_get(0).map_err(db_error)?;
    let location = Location::new(image_id, store, &name);
    insert(tx, &location, status).await?;
    sqlx::query("UPDATE image SET file = NULL WHERE id = $1")
        .bind(image_id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    Ok(Some(location.id))
}

/// What is to be removed: of one image, or of all.
pub async fn condemned(db: &Db, image_id: Option<&str>) -> Result<Vec<Location>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE status = 'deleting'");
    if let Some(id) = image_id {
        sql.push(" AND image_id = ");
        sql.bind(id);
    }
    sql.push(" ORDER BY created_at, id");
    sql.fetch_all(db.reader()).await.map_err(db_error)?.iter().map(read).collect()
}

/// The location does not hold the image's bytes, as was found at `at`.
pub async fn set_damaged(db: &Db, id: &str, at: Timestamp) -> Result<()> {
    again!(async {
        sqlx::query("UPDATE image_location SET damaged_at = $1 WHERE id = $2")
            .bind(at.0)
            .bind(id)
            .execute(db.writer())
            .await
            .map(|_| ())
            .map_err(db_error)
    })
}

/// The location's object is removed from its store.
pub async fn forget(db: &Db, id: &str) -> Result<()> {
    again!(async {
        sqlx::query("DELETE FROM image_location WHERE id = $1 AND status = 'deleting'")
            .bind(id)
            .execute(db.writer())
            .await
            .map(|_| ())
            .map_err(db_error)
    })
}

/// The stores that locations name, and how many do.
pub async fn stores_in_use(db: &Db) -> Result<Vec<(String, i64)>> {
    let rows = sqlx::query("SELECT store, COUNT(*) FROM image_location GROUP BY store ORDER BY store")
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<sqlx::Result<_>>()
        .map_err(db_error)
}

/// One location of an active image goes. `Stale` if the image has changed since it was `seen`, or is not active.
pub async fn condemn(db: &Db, seen: &Image, location_id: &str) -> Result<Change> {
    again!(async {
        let mut tx = db.begin_write().await?;
        let done = sqlx::query(
            "UPDATE image SET updated_at = $1, generation = generation + 1 \
         WHERE id = $2 AND generation = $3 AND status = 'active'",
        )
        .bind(Timestamp::now().0)
        .bind(&seen.id)
        .bind(seen.generation)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
        if done.rows_affected() == 0 {
            return Ok(Change::Stale);
        }
        sqlx::query("UPDATE image_location SET status = 'deleting' WHERE id = $1 AND image_id = $2")
            .bind(location_id)
            .bind(&seen.id)
            .execute(&mut *tx)
            .await
            .map_err(db_error)?;
        tx.commit().await.map_err(db_error)?;
        Ok(Change::Updated)
    })
}

/// An object that a record knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The image.
    pub image_id: String,
    /// Of something stored or staged.
    pub name: Option<String>,
    /// Of an upload under way: its token.
    pub token: Option<String>,
}

impl Claim {
    /// The names of the objects.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let written = self.token.as_deref().map(|token| crate::stores::object_name(&self.image_id, token));
        self.name.clone().into_iter().chain(written)
    }
}

/// Everything that has a reason to be in some store. One statement, so that an object that goes from one claim to
/// another meanwhile is never without.
pub async fn claims(db: &Db) -> Result<Vec<Claim>> {
    let rows = sqlx::query(
        "SELECT id AS image_id, file AS name, upload AS token FROM image \
         WHERE (file IS NOT NULL OR upload IS NOT NULL) AND status <> 'deleted' \
         UNION ALL SELECT image_id, name, CAST(NULL AS TEXT) FROM image_location",
    )
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter()
        .map(|row| Ok(Claim { image_id: row.try_get(0)?, name: row.try_get(1)?, token: row.try_get(2)? }))
        .collect::<sqlx::Result<_>>()
        .map_err(db_error)
}

fn read(row: &AnyRow) -> Result<Location> {
    let text = |column: usize| row.try_get::<String, _>(column).map_err(db_error);
    let metadata: Map<String, Value> = serde_json::from_str(&text(4)?)
        .map_err(|e| Error::internal(format!("metadata of a location in the database: {e}")))?;
    let damaged = row.try_get::<Option<i64>, _>(5).map_err(db_error)?.is_some();
    Ok(Location { id: text(0)?, image_id: text(1)?, store: text(2)?, name: text(3)?, metadata, damaged })
}
