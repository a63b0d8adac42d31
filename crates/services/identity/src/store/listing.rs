//! What the statements of all lists share: filters, and where a page begins.
//!
//! A list is a few constant statements that differ in the index they walk; each has the parameters
//! $1 domain, $2 name, $3 enabled, $4 and $5 a comparison of the name, $6 and $7 the place to go on after, $8 how many.

use ferrostack_db::db_error;
use ferrostack_db::sqlx::{self, Any, any::AnyArguments, any::AnyRow};
use ferrostack_model::Result;

/// What to list; what is empty does not filter.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Owning domain.
    pub domain_id: String,
    /// Exact name.
    pub name: String,
    /// 0 or 1; -1: both.
    pub enabled: i64,
    /// `contains`, `istartswith`, … what `text` is to the name. Upper and lower case are as the database has them:
    /// SQLite knows them of ASCII only.
    pub comparator: &'static str,
    /// What the name is compared with.
    pub text: String,
    /// Projects: the one above.
    pub parent_id: String,
    /// Projects: with this tag.
    pub tag: String,
    /// Projects: domains instead.
    pub domains: bool,
    /// The group whose members, or the user whose groups or projects, are listed.
    pub owner: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            domain_id: String::new(),
            name: String::new(),
            enabled: -1,
            comparator: "",
            text: String::new(),
            parent_id: String::new(),
            tag: String::new(),
            domains: false,
            owner: String::new(),
        }
    }
}

/// A place in a list: rows go on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Creation, microseconds.
    pub at: i64,
    /// Id.
    pub id: String,
}

impl After {
    /// Before the first row.
    pub fn nothing() -> Self {
        Self { at: -1, id: String::new() }
    }
    /// After a row.
    pub fn row(at: i64, id: &str) -> Self {
        Self { at, id: id.to_owned() }
    }
}

/// `SELECT columns FROM from WHERE condition` with the shared filters. The listed table's alias is `t`.
macro_rules! listing {
    ($columns:literal, $from:literal, enabled $enabled:literal, $condition:literal) => {
        $crate::store::listing::listing!(
            $columns, $from, enabled $enabled, $condition,
            "(t.created_at, t.id) > ($6, $7) ORDER BY t.created_at, t.id"
        )
    };
    ($columns:literal, $from:literal, enabled $enabled:literal, $condition:literal, $order:literal) => {
        concat!(
            "SELECT ", $columns, " FROM ", $from, " WHERE ", $condition,
            " AND ($1 = '' OR t.domain_id = $1) AND ($2 = '' OR t.name = $2) AND ($3 < 0 OR ", $enabled, " = $3) ",
            "AND ($4 = '' OR CASE $4 ",
            "WHEN 'contains' THEN REPLACE(t.name, $5, '') <> t.name ",
            "WHEN 'icontains' THEN REPLACE(LOWER(t.name), LOWER($5), '') <> LOWER(t.name) ",
            "WHEN 'startswith' THEN SUBSTR(t.name, 1, LENGTH($5)) = $5 ",
            "WHEN 'istartswith' THEN SUBSTR(LOWER(t.name), 1, LENGTH($5)) = LOWER($5) ",
            "WHEN 'endswith' THEN LENGTH(t.name) >= LENGTH($5) AND SUBSTR(t.name, LENGTH(t.name) - LENGTH($5) + 1) = $5 ",
            "WHEN 'iendswith' THEN LENGTH(t.name) >= LENGTH($5) AND SUBSTR(LOWER(t.name), LENGTH(t.name) - LENGTH($5) + 1) = LOWER($5) ",
            "WHEN 'iequals' THEN LOWER(t.name) = LOWER($5) ",
            "ELSE 0 = 1 END) AND ", $order, " LIMIT $8"
        )
    };
}
pub(crate) use listing;

/// Binds the shared parameters and fetches.
pub(crate) fn bound<'q, T>(
    statement: &'static str,
    wanted: &'q Wanted,
    after: &'q After,
    limit: i64,
) -> sqlx::query::QueryAs<'q, Any, T, AnyArguments>
where
    T: for<'r> sqlx::FromRow<'r, AnyRow>,
{
    sqlx::query_as(statement)
        .bind(wanted.domain_id.as_str())
        .bind(wanted.name.as_str())
        .bind(wanted.enabled)
        .bind(wanted.comparator)
        .bind(wanted.text.as_str())
        .bind(after.at)
        .bind(after.id.as_str())
        .bind(limit)
}

/// Runs what [`bound`] made.
pub(crate) async fn fetch<'e, 'q: 'e, T>(
    db: impl super::Exec<'e>,
    query: sqlx::query::QueryAs<'q, Any, T, AnyArguments>,
) -> Result<Vec<T>>
where
    T: for<'r> sqlx::FromRow<'r, AnyRow> + Send + Unpin + 'e,
{
    query.fetch_all(db).await.map_err(db_error)
}
