//! Associations of namespaces with resource types.

use super::{Deleted, insert_error, resource_types};
use crate::{metadefs::Association, store::Sql};
use ferrostack_db::{
    Db, Tx, again, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Result, Timestamp};
use std::collections::HashMap;

/// Those of a namespace, the oldest first.
pub async fn list(db: &Db, namespace_id: &str) -> Result<Vec<Association>> {
    let mut found = of(db, &[namespace_id.to_owned()]).await?;
    Ok(found.remove(namespace_id).unwrap_or_default())
}

/// Those of many namespaces, by namespace.
pub async fn of(db: &Db, namespace_ids: &[String]) -> Result<HashMap<String, Vec<Association>>> {
    let mut found: HashMap<String, Vec<Association>> = HashMap::new();
    if namespace_ids.is_empty() {
        return Ok(found);
    }
    let mut sql = Sql::new(
        "SELECT namespace_id, resource_type, prefix, properties_target, created_at, updated_at \
         FROM metadef_association WHERE namespace_id IN ",
    );
    sql.bind_list(namespace_ids.iter().cloned());
    sql.push(" ORDER BY created_at, resource_type");
    for row in sql.fetch_all(db.reader()).await.map_err(db_error)? {
        let id: String = row.try_get("namespace_id").map_err(db_error)?;
        found.entry(id).or_default().push(read(&row).map_err(db_error)?);
    }
    Ok(found)
}

/// Adds one; 409 if it is there, 404 if the namespace is not.
pub async fn insert(db: &Db, id: &str, namespace: &str, association: &Association) -> Result<()> {
    again!(async {
        let mut tx = db.begin_write().await?;
        insert_in(&mut tx, id, namespace, association).await?;
        tx.commit().await.map_err(db_error)
    })
}

pub(super) async fn insert_in(
    tx: &mut Tx,
    id: &str,
    namespace: &str,
    association: &Association,
) -> Result<()> {
    resource_types::ensure_in(tx, &association.name, association.created_at).await?;
    sqlx::query(
        "INSERT INTO metadef_association (namespace_id, resource_type, prefix, properties_target, created_at, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(&association.name)
    .bind(&association.prefix)
    .bind(&association.properties_target)
    .bind(association.created_at.0)
    .bind(association.updated_at.0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(|e| {
        insert_error(e, namespace, || {
            format!(
                "The metadata definition resource-type association of resource-type={} to namespace={namespace} already exists.",
                association.name
            )
        })
    })
}

/// Removes one unless the namespace is protected.
pub async fn delete(db: &Db, namespace_id: &str, name: &str) -> Result<Deleted> {
    again!(async {
        let done = sqlx::query(
            "DELETE FROM metadef_association WHERE namespace_id = $1 AND resource_type = $2 \
         AND EXISTS (SELECT 1 FROM metadef_namespace n WHERE n.id = $3 AND n.protected = 0)",
        )
        .bind(namespace_id)
        .bind(name)
        .bind(namespace_id)
        .execute(db.writer())
        .await
        .map_err(db_error)?;
        super::why_not(db, done.rows_affected(), namespace_id).await
    })
}

fn read(row: &AnyRow) -> sqlx::Result<Association> {
    Ok(Association {
        name: row.try_get("resource_type")?,
        prefix: row.try_get("prefix")?,
        properties_target: row.try_get("properties_target")?,
        created_at: Timestamp(row.try_get("created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
    })
}
