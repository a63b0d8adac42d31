//! Tags.

use super::{ROWS, insert_error};
use crate::{metadefs::Tag, store::Sql};
use ferrostack_db::{
    Change, Db, Tx, again, db_error, is_unique_violation,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};
use std::collections::HashSet;

const COLUMNS: &str = "SELECT name, created_at, updated_at FROM metadef_tag WHERE namespace_id = ";

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// Its name.
    Name,
    /// Creation.
    CreatedAt,
    /// Last change.
    UpdatedAt,
}

impl SortKey {
    /// Reads the query's word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "name" => Some(Self::Name),
            "created_at" | "id" => Some(Self::CreatedAt),
            "updated_at" => Some(Self::UpdatedAt),
            _ => None,
        }
    }
    fn column(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
        }
    }
    fn bind(self, sql: &mut Sql, of: &Tag) {
        match self {
            Self::Name => sql.bind(of.name.as_str()),
            Self::CreatedAt => sql.bind(of.created_at.0),
            Self::UpdatedAt => sql.bind(of.updated_at.0),
        }
    }
}

/// Which tags, in which order.
#[derive(Clone, Debug)]
pub struct Query {
    /// At most; all if missing.
    pub limit: Option<i64>,
    /// First key of the order.
    pub sort_key: SortKey,
    /// Largest first.
    pub descending: bool,
}

/// A page of a namespace's tags, after `marker` if given.
pub async fn list(db: &Db, namespace_id: &str, query: &Query, marker: Option<&Tag>) -> Result<Vec<Tag>> {
    let mut sql = Sql::new(COLUMNS);
    sql.bind(namespace_id);
    let mut keys = vec![query.sort_key];
    keys.extend([SortKey::CreatedAt, SortKey::Name].into_iter().filter(|k| *k != query.sort_key));
    if let Some(marker) = marker {
        for i in 0..keys.len() {
            sql.push(if i == 0 { " AND ((" } else { " OR (" });
            for key in &keys[..i] {
                sql.push(key.column());
                sql.push(" = ");
                key.bind(&mut sql, marker);
                sql.push(" AND ");
            }
            sql.push(keys[i].column());
            sql.push(if query.descending { " < " } else { " > " });
            keys[i].bind(&mut sql, marker);
            sql.push(")");
        }
        sql.push(")");
    }
    for (i, key) in keys.iter().enumerate() {
        sql.push(if i == 0 { " ORDER BY " } else { ", " });
        sql.push(key.column());
        sql.push(if query.descending { " DESC" } else { " ASC" });
    }
    if let Some(limit) = query.limit {
        sql.push(" LIMIT ");
        sql.bind(limit);
    }
    let rows = sql.fetch_all(db.reader()).await.map_err(db_error)?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(db_error)
}

/// All of a namespace, the newest first as a list has them.
pub async fn all(db: &Db, namespace_id: &str) -> Result<Vec<Tag>> {
    let query = Query { limit: None, sort_key: SortKey::CreatedAt, descending: true };
    list(db, namespace_id, &query, None).await
}

/// By name.
pub async fn get(db: &Db, namespace_id: &str, name: &str) -> Result<Option<Tag>> {
    sqlx::query("SELECT name, created_at, updated_at FROM metadef_tag WHERE namespace_id = $1 AND name = $2")
        .bind(namespace_id)
        .bind(name)
        .fetch_optional(db.reader())
        .await
        .and_then(|row| row.as_ref().map(read).transpose())
        .map_err(db_error)
}

/// Adds tags; `replace`: in the place of all there are. 409 if one is there, 404 if the namespace is not.
pub async fn insert(db: &Db, id: &str, namespace: &str, tags: &[Tag], replace: bool) -> Result<()> {
    again!(async {
        let mut tx = db.begin_write().await?;
        if replace {
            sqlx::query("DELETE FROM metadef_tag WHERE namespace_id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await
                .map_err(db_error)?;
        }
        insert_in(&mut tx, id, namespace, tags).await?;
        tx.commit().await.map_err(db_error)
    })
}

pub(super) async fn insert_in(tx: &mut Tx, id: &str, namespace: &str, tags: &[Tag]) -> Result<()> {
    let mut at = Timestamp::now().0;
    for some in tags.chunks(ROWS) {
        let mut sql =
            Sql::new("INSERT INTO metadef_tag (namespace_id, name, created_at, updated_at) VALUES ");
        for (i, tag) in some.iter().enumerate() {
            // A microsecond apart, so that the list keeps their order.
            at += 1;
            sql.push(if i == 0 { "(" } else { ", (" });
            sql.bind(id);
            sql.push(", ");
            sql.bind(tag.name.as_str());
            sql.push(", ");
            sql.bind(at);
            sql.push(", ");
            sql.bind(at);
            sql.push(")");
        }
        sql.push(" ON CONFLICT DO NOTHING RETURNING name");
        let rows = sql.fetch_in(tx).await.map_err(|e| insert_error(e, namespace, String::new))?;
        let mut new =
            rows.iter().map(|r| r.try_get(0)).collect::<sqlx::Result<HashSet<String>>>().map_err(db_error)?;
        if let Some(there) = some.iter().find(|tag| !new.remove(&tag.name)) {
            return Err(Error::conflict(duplicate(&there.name, namespace)));
        }
    }
    Ok(())
}

fn duplicate(name: &str, namespace: &str) -> String {
    format!(
        "A metadata tag with name={name} already exists in namespace={namespace}. (Please note that metadata tag names are case insensitive)."
    )
}

/// Renames the tag `name`; 409 if another has the new name.
pub async fn update(db: &Db, id: &str, namespace: &str, name: &str, new: &str) -> Result<Change> {
    again!(async {
        let done = sqlx::query(
            "UPDATE metadef_tag SET name = $1, updated_at = $2 WHERE namespace_id = $3 AND name = $4",
        )
        .bind(new)
        .bind(Timestamp::now().0)
        .bind(id)
        .bind(name)
        .execute(db.writer())
        .await;
        match done {
            Ok(done) if done.rows_affected() == 0 => Ok(Change::Missing),
            Ok(_) => Ok(Change::Updated),
            Err(error) if is_unique_violation(&error) => Err(Error::conflict(duplicate(new, namespace))),
            Err(error) => Err(db_error(error)),
        }
    })
}

fn read(row: &AnyRow) -> sqlx::Result<Tag> {
    Ok(Tag {
        name: row.try_get("name")?,
        created_at: Timestamp(row.try_get("created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
    })
}
