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
pub async fn list(db: &Db, query: &ListQuery, viewer: &Viewer, marker: Option<&Image>) -> Result<Vec<Image>> {
    let mut sql = Sql::new(image::COLUMNS);
    sql.push(" WHERE status <> 'deleted'");
    visible(&mut sql, query, viewer);
    for filter in &query.filters {
        sql.push(" AND ");
        condition(&mut sql, filter);
    }
    if let Some(marker) = marker {
        after(&mut sql, &query.sort, marker);
    }
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
    let rows = sql.fetch_all(db.reader()).await.map_err(db_error)?;
    let mut images = rows.iter().map(image::read).collect::<Result<Vec<_>>>()?;
    image::add_parts(db.reader(), &mut images).await?;
    Ok(images)
}

fn visible(sql: &mut Sql, query: &ListQuery, viewer: &Viewer) {
    if let Scope::One(one) = query.scope {
        sql.push(" AND visibility = ");
        sql.bind(one.as_str());
    }
    if viewer.admin {
        if query.scope == Scope::Usual {
            sql.push(" AND (visibility <> 'community' OR owner = ");
            sql.bind(viewer.project.as_str());
            sql.push(")");
        }
        return;
    }
    sql.push(" AND (visibility = 'public' OR owner = ");
    sql.bind(viewer.project.as_str());
    if matches!(query.scope, Scope::All | Scope::One(Visibility::Community)) {
        sql.push(" OR visibility = 'community'");
    }
    sql.push(
        " OR (visibility = 'shared' AND EXISTS (SELECT 1 FROM image_member \
         WHERE image_member.image_id = image.id AND image_member.member = ",
    );
    sql.bind(viewer.project.as_str());
    if let Some(status) = query.member_status {
        sql.push(" AND image_member.status = ");
        sql.bind(status);
    }
    sql.push(")))");
}

fn condition(sql: &mut Sql, filter: &Filter) {
    match filter {
        Filter::Text(key, values) => {
            sql.push(match key {
                Text::Name => "name",
                Text::Status => "status",
                Text::Id => "id",
                Text::ContainerFormat => "container_format",
                Text::DiskFormat => "disk_format",
                Text::Checksum => "checksum",
                Text::OsHashValue => "os_hash_value",
                Text::Owner => "owner",
            });
            sql.push(" IN ");
            sql.bind_list(values.iter().cloned());
        }
        Filter::Number(key, op, value) => {
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
        Filter::Tag(tags) => {
            sql.push(
                "EXISTS (SELECT 1 FROM image_tag WHERE image_tag.image_id = image.id AND image_tag.tag IN ",
            );
            sql.bind_list(tags.iter().cloned());
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
