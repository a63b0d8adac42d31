//! Objects.

use super::insert_error;
use crate::metadefs::{Object, object_from};
use ferrostack_db::{
    Change, Db, Tx, again, db_error, is_unique_violation,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::{Value, json};

/// Those of a namespace in the order they were added.
pub async fn list(db: &Db, namespace_id: &str) -> Result<Vec<Object>> {
    let rows = sqlx::query(
        "SELECT name, description, required, properties, created_at, updated_at FROM metadef_object \
         WHERE namespace_id = $1 ORDER BY created_at, name",
    )
    .bind(namespace_id)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// By name.
pub async fn get(db: &Db, namespace_id: &str, name: &str) -> Result<Option<Object>> {
    let row = sqlx::query(
        "SELECT name, description, required, properties, created_at, updated_at FROM metadef_object \
         WHERE namespace_id = $1 AND name = $2",
    )
    .bind(namespace_id)
    .bind(name)
    .fetch_optional(db.reader())
    .await
    .map_err(db_error)?;
    row.as_ref().map(read).transpose()
}

/// Adds one; 409 if it is there, 404 if the namespace is not.
pub async fn insert(db: &Db, id: &str, namespace: &str, object: &Object) -> Result<()> {
    again!(async {
        let mut tx = db.begin_write().await?;
        insert_in(&mut tx, id, namespace, object).await?;
        tx.commit().await.map_err(db_error)
    })
}

pub(super) async fn insert_in(tx: &mut Tx, id: &str, namespace: &str, object: &Object) -> Result<()> {
    sqlx::query(
        "INSERT INTO metadef_object (namespace_id, name, description, required, properties, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(&object.name)
    .bind(&object.description)
    .bind(json!(object.required).to_string())
    .bind(Value::Object(object.properties.clone()).to_string())
    .bind(object.created_at.0)
    .bind(object.updated_at.0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(|e| {
        insert_error(e, namespace, || {
            format!(
                "A metadata definition object with name={} already exists in namespace={namespace}.",
                object.name
            )
        })
    })
}

/// Replaces the object `name`; 409 if another has the new name.
pub async fn update(db: &Db, id: &str, namespace: &str, name: &str, object: &Object) -> Result<Change> {
    again!(async {
        let done = sqlx::query(
        "UPDATE metadef_object SET name = $1, description = $2, required = $3, properties = $4, updated_at = $5 \
         WHERE namespace_id = $6 AND name = $7",
    )
    .bind(&object.name)
    .bind(&object.description)
    .bind(json!(object.required).to_string())
    .bind(Value::Object(object.properties.clone()).to_string())
    .bind(Timestamp::now().0)
    .bind(id)
    .bind(name)
    .execute(db.writer())
    .await;
        match done {
            Ok(done) if done.rows_affected() == 0 => Ok(Change::Missing),
            Ok(_) => Ok(Change::Updated),
            Err(error) if is_unique_violation(&error) => Err(Error::conflict(format!(
                "Invalid update. It would result in a duplicate metadata definition object with the same name={} in namespace={namespace}.",
                object.name
            ))),
            Err(error) => Err(db_error(error)),
        }
    })
}

fn read(row: &AnyRow) -> Result<Object> {
    let required: String = row.try_get("required").map_err(db_error)?;
    let properties: String = row.try_get("properties").map_err(db_error)?;
    let read = || -> sqlx::Result<Object> {
        Ok(Object {
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            required: Vec::new(),
            properties: Default::default(),
            created_at: Timestamp(row.try_get("created_at")?),
            updated_at: Timestamp(row.try_get("updated_at")?),
        })
    };
    let object = read().map_err(db_error)?;
    let required = serde_json::from_str(&required)
        .map_err(|e| Error::internal(format!("metadata definition in the database: {e}")))?;
    Ok(Object { required, properties: object_from(&properties)?, ..object })
}
