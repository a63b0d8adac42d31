//! Namespaces.

use super::{Deleted, insert_contents, insert_error};
use crate::{
    metadefs::{Contents, Namespace, Visibility},
    store::{Sql, list::Viewer},
};
use ferrostack_db::{
    Change, Db, again, db_error, is_unique_violation,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};

const COLUMNS: &str = "SELECT id, name, display_name, description, visibility, protected, owner, created_at, \
     updated_at, generation FROM metadef_namespace";

/// What a list can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// Its name.
    Name,
    /// The name for people.
    DisplayName,
    /// What it is for.
    Description,
    /// Who sees it.
    Visibility,
    /// Whether it can be deleted.
    Protected,
    /// Its project.
    Owner,
    /// Creation.
    CreatedAt,
    /// Last change.
    UpdatedAt,
    /// Ours.
    Id,
}

impl SortKey {
    /// Reads the query's word.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "namespace" => Self::Name,
            "display_name" => Self::DisplayName,
            "description" => Self::Description,
            "visibility" => Self::Visibility,
            "protected" => Self::Protected,
            "owner" => Self::Owner,
            "created_at" => Self::CreatedAt,
            "updated_at" => Self::UpdatedAt,
            "id" => Self::Id,
            _ => return None,
        })
    }

    /// Missing values sort first, the same on every database.
    fn column(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::DisplayName => "COALESCE(display_name, '')",
            Self::Description => "COALESCE(description, '')",
            Self::Visibility => "visibility",
            Self::Protected => "protected",
            Self::Owner => "owner",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Id => "id",
        }
    }

    fn bind(self, sql: &mut Sql, of: &Namespace) {
        match self {
            Self::Name => sql.bind(of.name.as_str()),
            Self::DisplayName => sql.bind(of.display_name.as_deref().unwrap_or("")),
            Self::Description => sql.bind(of.description.as_deref().unwrap_or("")),
            Self::Visibility => sql.bind(of.visibility.as_str()),
            Self::Protected => sql.bind(i64::from(of.protected)),
            Self::Owner => sql.bind(of.owner.as_str()),
            Self::CreatedAt => sql.bind(of.created_at.0),
            Self::UpdatedAt => sql.bind(of.updated_at.0),
            Self::Id => sql.bind(of.id.as_str()),
        }
    }
}

/// Which namespaces, in which order.
#[derive(Clone, Debug)]
pub struct Query {
    /// With this visibility.
    pub visibility: Option<Visibility>,
    /// For one of these resource types.
    pub resource_types: Option<Vec<String>>,
    /// At most.
    pub limit: i64,
    /// First key of the order.
    pub sort_key: SortKey,
    /// Largest first.
    pub descending: bool,
}

/// A page of what `viewer` sees, after `marker` if given.
pub async fn list(
    db: &Db,
    query: &Query,
    viewer: &Viewer,
    marker: Option<&Namespace>,
) -> Result<Vec<Namespace>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1");
    if !viewer.admin {
        sql.push(" AND (visibility = 'public' OR (owner <> '' AND owner = ");
        sql.bind(viewer.project.as_str());
        sql.push("))");
    }
    if let Some(visibility) = query.visibility {
        sql.push(" AND visibility = ");
        sql.bind(visibility.as_str());
    }
    if let Some(types) = &query.resource_types {
        sql.push(
            " AND EXISTS (SELECT 1 FROM metadef_association \
             WHERE metadef_association.namespace_id = metadef_namespace.id \
             AND metadef_association.resource_type IN ",
        );
        sql.bind_list(types.iter().cloned());
        sql.push(")");
    }
    let mut keys = vec![query.sort_key];
    keys.extend([SortKey::CreatedAt, SortKey::Id].into_iter().filter(|k| *k != query.sort_key));
    if let Some(marker) = marker {
        after(&mut sql, &keys, query.descending, marker);
    }
    for (i, key) in keys.iter().enumerate() {
        sql.push(if i == 0 { " ORDER BY " } else { ", " });
        sql.push(key.column());
        sql.push(if query.descending { " DESC" } else { " ASC" });
    }
    sql.push(" LIMIT ");
    sql.bind(query.limit);
    sql.fetch_all(db.reader()).await.map_err(db_error)?.iter().map(read).collect()
}

/// What comes after `marker`: equal in the first keys and beyond it in the next.
fn after(sql: &mut Sql, keys: &[SortKey], descending: bool, marker: &Namespace) {
    for i in 0..keys.len() {
        sql.push(if i == 0 { " AND ((" } else { " OR (" });
        for key in &keys[..i] {
            sql.push(key.column());
            sql.push(" = ");
            key.bind(sql, marker);
            sql.push(" AND ");
        }
        sql.push(keys[i].column());
        sql.push(if descending { " < " } else { " > " });
        keys[i].bind(sql, marker);
        sql.push(")");
    }
    sql.push(")");
}

/// By name.
pub async fn get(db: &Db, name: &str) -> Result<Option<Namespace>> {
    let row = sqlx::query(
        "SELECT id, name, display_name, description, visibility, protected, owner, created_at, updated_at, \
         generation FROM metadef_namespace WHERE name = $1",
    )
    .bind(name)
    .fetch_optional(db.reader())
    .await
    .map_err(db_error)?;
    row.as_ref().map(read).transpose()
}

/// Inserts a namespace with all that is in it; 409 if the name is taken, or something is in it twice.
pub async fn insert(db: &Db, namespace: &Namespace, contents: &Contents) -> Result<()> {
    again!(async {
        let mut tx = db.begin_write().await?;
        sqlx::query(
        "INSERT INTO metadef_namespace (id, name, display_name, description, visibility, protected, owner, \
         created_at, updated_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&namespace.id)
    .bind(&namespace.name)
    .bind(&namespace.display_name)
    .bind(&namespace.description)
    .bind(namespace.visibility.as_str())
    .bind(i64::from(namespace.protected))
    .bind(&namespace.owner)
    .bind(namespace.created_at.0)
    .bind(namespace.updated_at.0)
    .bind(namespace.generation)
    .execute(&mut *tx)
    .await
    .map_err(|e| {
        insert_error(e, &namespace.name, || {
            format!("The metadata definition namespace={} already exists.", namespace.name)
        })
    })?;
        insert_contents(&mut tx, &namespace.id, &namespace.name, contents).await?;
        tx.commit().await.map_err(db_error)
    })
}

/// Writes what users may change, if it still has the generation; 409 if another has the new name.
pub async fn update(db: &Db, namespace: &Namespace) -> Result<Change> {
    again!(async {
        let done = sqlx::query(
            "UPDATE metadef_namespace SET name = $1, display_name = $2, description = $3, visibility = $4, \
         protected = $5, owner = $6, updated_at = $7, generation = generation + 1 \
         WHERE id = $8 AND generation = $9",
        )
        .bind(&namespace.name)
        .bind(&namespace.display_name)
        .bind(&namespace.description)
        .bind(namespace.visibility.as_str())
        .bind(i64::from(namespace.protected))
        .bind(&namespace.owner)
        .bind(Timestamp::now().0)
        .bind(&namespace.id)
        .bind(namespace.generation)
        .execute(db.writer())
        .await;
        match done {
            Ok(done) if done.rows_affected() == 0 => Ok(Change::Stale),
            Ok(_) => Ok(Change::Updated),
            Err(error) if is_unique_violation(&error) => Err(Error::conflict(format!(
                "Invalid update. It would result in a duplicate metadata definition namespace with the same name of {}",
                namespace.name
            ))),
            Err(error) => Err(db_error(error)),
        }
    })
}

/// Deletes the namespace and all that is in it, unless it is protected.
pub async fn delete(db: &Db, id: &str) -> Result<Deleted> {
    again!(async {
        let done = sqlx::query("DELETE FROM metadef_namespace WHERE id = $1 AND protected = 0")
            .bind(id)
            .execute(db.writer())
            .await
            .map_err(db_error)?;
        super::why_not(db, done.rows_affected(), id).await
    })
}

fn read(row: &AnyRow) -> Result<Namespace> {
    let read = || -> sqlx::Result<(Namespace, String)> {
        Ok((
            Namespace {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                display_name: row.try_get("display_name")?,
                description: row.try_get("description")?,
                visibility: Visibility::Private,
                protected: row.try_get::<i64, _>("protected")? != 0,
                owner: row.try_get("owner")?,
                created_at: Timestamp(row.try_get("created_at")?),
                updated_at: Timestamp(row.try_get("updated_at")?),
                generation: row.try_get("generation")?,
            },
            row.try_get("visibility")?,
        ))
    };
    let (mut namespace, visibility) = read().map_err(db_error)?;
    namespace.visibility = Visibility::parse(&visibility)
        .ok_or_else(|| Error::internal(format!("visibility {visibility} in the database")))?;
    Ok(namespace)
}
