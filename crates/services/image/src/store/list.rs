//! The image list: filters, order and paging in SQL.

use super::{Sql, image};
use crate::{
    image::{Image, Visibility},
    query::{Direction, Filter, ListQuery, Number, Op, Scope, SortKey, Text},
};
use ferrostack_db::{Db, db_error};
use ferrostack_model::Result;

/// Who lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Project, or "" if none.
    pub project: String,
    /// Sees everything.
    pub admin: bool,
}

/// A page of what `viewer` sees, after `marker` if given.
///
/// What a project sees has up to four reasons. Each is a question of its own that one index answers in order, so
/// that nobody's images are read that are not shown: with one `OR` of all, a project with few images among
/// 100,000 of others would read them all.
pub async fn list(db: &Db, query: &ListQuery, viewer: &Viewer, marker: Option<&Image>) -> Result<Vec<Image>> {
    let sql = statement(query, viewer, marker);
    let rows = sql.fetch_all(db.reader()).await.map_err(db_error)?;
    let mut images = rows.iter().map(image::read).collect::<Result<Vec<_>>>()?;
    image::add_parts(db.reader(), &mut images).await?;
    Ok(images)
}

/// The statement of [`list`].
pub(super) fn statement(query: &ListQuery, viewer: &Viewer, marker: Option<&Image>) -> Sql {
    let mut sql = Sql::new(image::COLUMNS);
    let reasons = reasons(query, viewer);
    if let [Reason::Everything] = reasons[..] {
        page(&mut sql, &Reason::Everything, query, viewer, marker);
        return sql;
    }
    sql.push(" WHERE id IN (");
    for (i, reason) in reasons.iter().enumerate() {
        sql.push(if i == 0 {
            "SELECT id FROM (SELECT id FROM image"
        } else {
            " UNION SELECT id FROM (SELECT id FROM image"
        });
        page(&mut sql, reason, query, viewer, marker);
        // PostgreSQL wants a name.
        sql.push([") AS a", ") AS b", ") AS c", ") AS d"][i]);
    }
    sql.push(")");
    ordered(&mut sql, query);
    sql
}

/// Why an image is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// An admin asks.
    Everything,
    /// It is the project's own.
    Own,
    /// It is for everybody.
    For(Visibility),
    /// It is shared with the project.
    Member,
}

fn reasons(query: &ListQuery, viewer: &Viewer) -> Vec<Reason> {
    if viewer.admin {
        return vec![Reason::Everything];
    }
    let mut out = Vec::new();
    if !viewer.project.is_empty() {
        out.push(Reason::Own);
        if matches!(query.scope, Scope::Usual | Scope::All | Scope::One(Visibility::Shared)) {
            out.push(Reason::Member);
        }
    }
    if matches!(query.scope, Scope::Usual | Scope::All | Scope::One(Visibility::Public)) {
        out.push(Reason::For(Visibility::Public));
    }
    if matches!(query.scope, Scope::All | Scope::One(Visibility::Community)) {
        out.push(Reason::For(Visibility::Community));
    }
    if out.is_empty() {
        // Own and shared ones of a caller without a project: there are none.
        out.push(Reason::Own);
    }
    out
}

/// The first page of the images that are shown for one reason.
fn page(sql: &mut Sql, reason: &Reason, query: &ListQuery, viewer: &Viewer, marker: Option<&Image>) {
    sql.push(" WHERE status <> 'deleted'");
    match reason {
        Reason::Everything if query.scope == Scope::Usual => {
            sql.push(" AND (visibility <> 'community' OR owner = ");
            sql.bind(viewer.project.as_str());
            sql.push(")");
        }
        Reason::Everything => {}
        Reason::Own => {
            sql.push(" AND owner = ");
            sql.bind(viewer.project.as_str());
        }
        Reason::For(visibility) => {
            sql.push(" AND visibility = ");
            sql.bind(visibility.as_str());
        }
        Reason::Member => {
            sql.push(
                " AND visibility = 'shared' AND id IN (SELECT image_member.image_id FROM image_member \
                 WHERE image_member.member = ",
            );
            sql.bind(viewer.project.as_str());
            if let Some(status) = query.member_status {
                sql.push(" AND image_member.status = ");
                sql.bind(status);
            }
            sql.push(")");
        }
    }
    if let Scope::One(one) = query.scope
        && *reason != Reason::For(one)
    {
        sql.push(" AND visibility = ");
        sql.bind(one.as_str());
    }
    for filter in &query.filters {
        sql.push(" AND ");
        condition(sql, filter);
    }
    if let Some(marker) = marker {
        after(sql, &query.sort, marker);
    }
    ordered(sql, query);
}

fn ordered(sql: &mut Sql, query: &ListQuery) {
    for (i, (key, direction)) in query.sort.iter().enumerate() {
        sql.push(if i == 0 { " ORDER BY " } else { ", " });
        sql.push(column(*key));
        sql.push(match direction {
            Direction::Asc => " ASC",
            Direction::Desc => " DESC",
        });
    }
    sql.push(" LIMIT ");
    sql.bind(query.limit);
}

fn condition(sql: &mut Sql, filter: &Filter) {
    match filter {
        Filter::Text(_, values) if values.is_empty() => sql.push("1 = 0"),
        Filter::Text(key, values) => {
            // What is shown of the data is not what is staged.
            if matches!(key, Text::Checksum | Text::OsHashValue | Text::OsHashAlgo) {
                sql.push("status IN ('active', 'deactivated') AND ");
            }
            sql.push(match key {
                Text::Name => "name",
                Text::Status => "status",
                Text::Id => "id",
                Text::ContainerFormat => "container_format",
                Text::DiskFormat => "disk_format",
                Text::Checksum => "checksum",
                Text::OsHashValue => "os_hash_value",
                Text::Owner => "owner",
                Text::OsHashAlgo => "os_hash_algo",
            });
            sql.push(" IN ");
            sql.bind_list(values.iter().cloned());
        }
        Filter::Number(key, op, value) => {
            if matches!(key, Number::Size | Number::VirtualSize) {
                sql.push("status IN ('active', 'deactivated') AND ");
            }
            sql.push(match key {
                Number::Size => "size",
                Number::VirtualSize => "virtual_size",
                Number::MinRam => "min_ram",
                Number::MinDisk => "min_disk",
                // Clients see and send whole seconds.
                Number::CreatedAt => "created_at / 1000000",
                Number::UpdatedAt => "updated_at / 1000000",
                Number::Protected => "protected",
                Number::OsHidden => "os_hidden",
            });
            sql.push(match op {
                Op::Eq => " = ",
                Op::Neq => " <> ",
                Op::Lt => " < ",
                Op::Lte => " <= ",
                Op::Gt => " > ",
                Op::Gte => " >= ",
            });
            sql.bind(*value);
        }
        Filter::Tag(tag) => {
            sql.push("id IN (SELECT image_tag.image_id FROM image_tag WHERE image_tag.tag = ");
            sql.bind(tag.as_str());
            sql.push(")");
        }
        Filter::Property(name, value) => {
            sql.push(
                "EXISTS (SELECT 1 FROM image_property WHERE image_property.image_id = image.id \
                 AND image_property.name = ",
            );
            sql.bind(name.as_str());
            sql.push(" AND image_property.value = ");
            sql.bind(value.as_str());
            sql.push(")");
        }
    }
}

/// Missing values sort first, the same on every database.
fn column(key: SortKey) -> &'static str {
    match key {
        SortKey::Name => "COALESCE(name, '')",
        SortKey::Status => "status",
        SortKey::ContainerFormat => "COALESCE(container_format, '')",
        SortKey::DiskFormat => "COALESCE(disk_format, '')",
        SortKey::Size => "COALESCE(size, -1)",
        SortKey::Id => "id",
        SortKey::CreatedAt => "created_at",
        SortKey::UpdatedAt => "updated_at",
    }
}

fn bind_key(sql: &mut Sql, key: SortKey, image: &Image) {
    match key {
        SortKey::Name => sql.bind(image.name.as_deref().unwrap_or("")),
        SortKey::Status => sql.bind(image.status.as_str()),
        SortKey::ContainerFormat => sql.bind(image.container_format.as_deref().unwrap_or("")),
        SortKey::DiskFormat => sql.bind(image.disk_format.as_deref().unwrap_or("")),
        SortKey::Size => sql.bind(image.size.unwrap_or(-1)),
        SortKey::Id => sql.bind(image.id.as_str()),
        SortKey::CreatedAt => sql.bind(image.created_at.0),
        SortKey::UpdatedAt => sql.bind(image.updated_at.0),
    }
}

/// What comes after `marker` in this order: equal in the first keys and beyond it in the next.
fn after(sql: &mut Sql, sort: &[(SortKey, Direction)], marker: &Image) {
    // Says nothing new, but an index can begin there.
    if let Some((key, direction)) = sort.first() {
        sql.push(" AND ");
        sql.push(column(*key));
        sql.push(match direction {
            Direction::Asc => " >= ",
            Direction::Desc => " <= ",
        });
        bind_key(sql, *key, marker);
    }
    for i in 0..sort.len() {
        sql.push(if i == 0 { " AND ((" } else { " OR (" });
        for (key, _) in &sort[..i] {
            sql.push(column(*key));
            sql.push(" = ");
            bind_key(sql, *key, marker);
            sql.push(" AND ");
        }
        let (key, direction) = sort[i];
        sql.push(column(key));
        sql.push(match direction {
            Direction::Asc => " > ",
            Direction::Desc => " < ",
        });
        bind_key(sql, key, marker);
        sql.push(")");
    }
    sql.push(")");
}
