//! Properties.

use super::insert_error;
use crate::metadefs::{Property, object_from};
use ferrostack_db::{
    Change, Db, Tx, again, db_error, is_unique_violation,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::Value;

/// Those of a namespace in the order they were added.
pub async fn list(db: &Db, namespace_id: &str) -> Result<Vec<Property>> {
    let rows = sqlx::query(
        "SELECT name, schema FROM metadef_property WHERE namespace_id = $1 ORDER BY created_at, name",
    )
    .bind(namespace_id)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// By name.
pub async fn get(db: &Db, namespace_id: &str, name: &str) -> Result<Option<Property>> {
    let row = sqlx::query("SELECT name, schema FROM metadef_property WHERE namespace_id = $1 AND name = $2")
        .bind(namespace_id)
        .bind(name)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?;
    row.as_ref().map(read).transpose()
}

/// Adds one; 409 if it is there, 404 if the namespace is not.
pub async fn insert(db: &Db, id: &str, namespace: &str, property: &Property) -> Result<()> {
    again!(async {
        let mut tx = db.begin_write().await?;
        insert_in(&mut tx, id, namespace, property).await?;
        tx.commit().await.map_err(db_error)
    })
}

pub(super) async fn insert_in(tx: &mut Tx, id: &str, namespace: &str, property: &Property) -> Result<()> {
    let now = Timestamp::now().0;
    sqlx::query(
        "INSERT INTO metadef_property (namespace_id, name, schema, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(&property.name)
    .bind(text(property))
    .bind(now)
    .bind(now)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(|e| {
        insert_error(e, namespace, || {
            format!(
                "A metadata definition property with name={} already exists in namespace={namespace}.",
                property.name
            )
        })
    })
}

/// Replaces the property `name`; 409 if another has the new name.
pub async fn update(db: &Db, id: &str, namespace: &str, name: &str, property: &Property) -> Result<Change> {
    again!(async {
        let done = sqlx::query(
        "UPDATE metadef_property SET name = $1, schema = $2, updated_at = $3 WHERE namespace_id = $4 AND name = $5",
    )
    .bind(&property.name)
    .bind(text(property))
    .bind(Timestamp::now().0)
    .bind(id)
    .bind(name)
    .execute(db.writer())
    .await;
        match done {
            Ok(done) if done.rows_affected() == 0 => Ok(Change::Missing),
            Ok(_) => Ok(Change::Updated),
            Err(error) if is_unique_violation(&error) => Err(Error::conflict(format!(
                "Invalid update. It would result in a duplicate metadata definition property with the same name={} in namespace={namespace}.",
                property.name
            ))),
            Err(error) => Err(db_error(error)),
        }
    })
}

fn text(property: &Property) -> String {
    Value::Object(property.schema.clone()).to_string()
}

fn read(row: &AnyRow) -> Result<Property> {
    let (name, schema): (String, String) =
        (row.try_get(0).map_err(db_error)?, row.try_get(1).map_err(db_error)?);
    Ok(Property { name, schema: object_from(&schema)? })
}
