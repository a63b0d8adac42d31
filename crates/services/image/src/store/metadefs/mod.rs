//! Metadata definitions, one noun a file.

pub mod associations;
pub mod namespaces;
pub mod objects;
pub mod properties;
pub mod resource_types;
pub mod standard;
pub mod tags;

use super::Sql;
use crate::metadefs::Contents;
use ferrostack_db::{
    Db, Tx, again, db_error, is_foreign_key_violation, is_unique_violation,
    sqlx::{self, Any, any::AnyRow},
};
use ferrostack_model::{Error, Result};

/// Rows of one INSERT: below every limit of parameters.
const ROWS: usize = 100;

/// All that is in a namespace.
pub async fn contents(db: &Db, namespace_id: &str) -> Result<Contents> {
    Ok(Contents {
        associations: associations::list(db, namespace_id).await?,
        properties: properties::list(db, namespace_id).await?,
        objects: objects::list(db, namespace_id).await?,
        tags: tags::all(db, namespace_id).await?,
    })
}

/// Puts `contents` into the namespace `id` that is called `namespace`; 409 for what is twice in it.
async fn insert_contents(tx: &mut Tx, id: &str, namespace: &str, contents: &Contents) -> Result<()> {
    for association in &contents.associations {
        associations::insert_in(tx, id, namespace, association).await?;
    }
    for object in &contents.objects {
        objects::insert_in(tx, id, namespace, object).await?;
    }
    tags::insert_in(tx, id, namespace, &contents.tags).await?;
    for property in &contents.properties {
        properties::insert_in(tx, id, namespace, property).await?;
    }
    Ok(())
}

/// What an INSERT's failure means: `duplicate` says what exists already, a missing namespace is 404.
fn insert_error(error: sqlx::Error, namespace: &str, duplicate: impl FnOnce() -> String) -> Error {
    if is_unique_violation(&error) {
        Error::conflict(duplicate())
    } else if is_foreign_key_violation(&error) {
        crate::metadefs::no_namespace(namespace)
    } else {
        db_error(error)
    }
}

impl Sql {
    /// Runs it in a transaction and gives the rows it returns.
    async fn fetch_in(self, tx: &mut Tx) -> sqlx::Result<Vec<AnyRow>> {
        let mut query = sqlx::query::<Any>(sqlx::AssertSqlSafe(self.text));
        for value in self.values {
            query = match value {
                super::Value::Text(text) => query.bind(text),
                super::Value::Int(number) => query.bind(number),
            };
        }
        query.fetch_all(&mut **tx).await
    }
}

/// What becomes of a row that is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// The namespace is protected.
    Protected,
    /// There was none.
    Missing,
}

/// What a namespace holds many of, by name.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Properties.
    Property,
    /// Objects.
    Object,
    /// Tags.
    Tag,
}

impl Part {
    fn delete(self, namespace_id: &str) -> Sql {
        let mut sql = Sql::new(match self {
            Self::Property => "DELETE FROM metadef_property WHERE namespace_id = ",
            Self::Object => "DELETE FROM metadef_object WHERE namespace_id = ",
            Self::Tag => "DELETE FROM metadef_tag WHERE namespace_id = ",
        });
        sql.bind(namespace_id);
        sql.push(" AND EXISTS (SELECT 1 FROM metadef_namespace n WHERE n.protected = 0 AND n.id = ");
        sql.bind(namespace_id);
        sql.push(")");
        sql
    }
}

/// Removes one unless the namespace is protected.
pub async fn delete(db: &Db, part: Part, namespace_id: &str, name: &str) -> Result<Deleted> {
    again!(async {
        let mut sql = part.delete(namespace_id);
        sql.push(" AND name = ");
        sql.bind(name);
        ended(db, sql, namespace_id).await
    })
}

/// Removes all unless the namespace is protected.
pub async fn delete_all(db: &Db, part: Part, namespace_id: &str) -> Result<Deleted> {
    again!(async { ended(db, part.delete(namespace_id), namespace_id).await })
}

async fn ended(db: &Db, mut sql: Sql, namespace_id: &str) -> Result<Deleted> {
    sql.push(" RETURNING name");
    let rows = sql.fetch_all(db.writer()).await.map_err(db_error)?;
    why_not(db, rows.len() as u64, namespace_id).await
}

/// Reads why a conditional DELETE found nothing.
async fn why_not(db: &Db, deleted: u64, namespace_id: &str) -> Result<Deleted> {
    if deleted > 0 {
        return Ok(Deleted::Done);
    }
    let protected = sqlx::query("SELECT 1 FROM metadef_namespace WHERE id = $1 AND protected <> 0")
        .bind(namespace_id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?;
    Ok(if protected.is_some() { Deleted::Protected } else { Deleted::Missing })
}
