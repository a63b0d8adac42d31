//! The query string of the image list.

use crate::image::Visibility;
use ferrostack_model::{Error, Result, Timestamp};

/// Images of a page if the client names no limit (Glance's `limit_param_default`).
pub const DEFAULT_LIMIT: i64 = 25;
/// Largest page (Glance's `api_limit_max`).
pub const MAX_LIMIT: i64 = 1000;

/// A column images can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own names
pub enum SortKey {
    Name,
    Status,
    ContainerFormat,
    DiskFormat,
    Size,
    Id,
    CreatedAt,
    UpdatedAt,
}

const SORT_KEYS: &[(&str, SortKey)] = &[
    ("name", SortKey::Name),
    ("status", SortKey::Status),
    ("container_format", SortKey::ContainerFormat),
    ("disk_format", SortKey::DiskFormat),
    ("size", SortKey::Size),
    ("id", SortKey::Id),
    ("created_at", SortKey::CreatedAt),
    ("updated_at", SortKey::UpdatedAt),
];

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// A text attribute that filters compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own names
pub enum Text {
    Name,
    Status,
    Id,
    ContainerFormat,
    DiskFormat,
    Checksum,
    OsHashValue,
    Owner,
}

/// A number attribute that filters compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own names
pub enum Number {
    Size,
    VirtualSize,
    MinRam,
    MinDisk,
    CreatedAt,
    UpdatedAt,
    Protected,
    OsHidden,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own names
pub enum Op {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The attribute is one of these.
    Text(Text, Vec<String>),
    /// The attribute compares so (times in microseconds, flags 0 and 1).
    Number(Number, Op, i64),
    /// Has one of these tags.
    Tag(Vec<String>),
    /// Has this custom property.
    Property(String, String),
}

/// Which visibilities a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Own, public, and shared ones that were accepted.
    Usual,
    /// Those and community images.
    All,
    /// Only this one.
    One(Visibility),
}

/// What the client wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Largest number of images.
    pub limit: i64,
    /// Id of the last image of the page before.
    pub marker: Option<String>,
    /// Order; ends in `id`.
    pub sort: Vec<(SortKey, Direction)>,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Visibilities.
    pub scope: Scope,
    /// Answer of our project to shared images; `None` for any.
    pub member_status: Option<&'static str>,
}

impl ListQuery {
    /// Reads the pairs of a query string; 400 names what is wrong.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self> {
        let mut query = Self {
            limit: DEFAULT_LIMIT,
            marker: None,
            sort: Vec::new(),
            filters: Vec::new(),
            scope: Scope::Usual,
            member_status: Some("accepted"),
        };
        let (mut sort, mut keys, mut dirs) = (None, Vec::new(), Vec::new());
        let mut hidden = false;
        for (name, value) in pairs {
            if name.contains('\0') || value.contains('\0') {
                return Err(Error::bad_request("Query parameters must not contain NUL."));
            }
            match name.as_str() {
                "limit" => query.limit = limit(value)?,
                "marker" => query.marker = Some(value.clone()),
                "sort" => sort = Some(value.as_str()),
                "sort_key" => keys.push(sort_key(value)?),
                "sort_dir" => dirs.push(direction(value)?),
                "changes-since" | "changes_since" => {
                    return Err(Error::bad_request(
                        "The \"changes-since\" filter is no longer available on v2.",
                    ));
                }
                "visibility" => {
                    query.scope = match value.as_str() {
                        "all" => Scope::All,
                        other => Scope::One(Visibility::parse(other).ok_or_else(|| {
                            Error::bad_request(format!("Invalid visibility value: {}", short(other)))
                        })?),
                    }
                }
                "member_status" => {
                    query.member_status = match value.as_str() {
                        "all" => None,
                        "accepted" => Some("accepted"),
                        "pending" => Some("pending"),
                        "rejected" => Some("rejected"),
                        other => {
                            return Err(Error::bad_request(format!(
                                "Invalid status: {}. Only accepted, pending, rejected and all are allowed.",
                                short(other)
                            )));
                        }
                    }
                }
                "os_hidden" => {
                    hidden = true;
                    query.filters.push(Filter::Number(Number::OsHidden, Op::Eq, flag(name, value)?));
                }
                _ => query.filters.push(filter(name, value)?),
            }
        }
        if !hidden {
            query.filters.push(Filter::Number(Number::OsHidden, Op::Eq, 0));
        }
        query.sort = order(sort, keys, dirs)?;
        Ok(query)
    }
}

/// A page's size, at most [`MAX_LIMIT`]; 400 for what is no number of 0 and more.
pub fn limit(text: &str) -> Result<i64> {
    match text.parse::<i64>() {
        Ok(n) if n >= 0 => Ok(n.min(MAX_LIMIT)),
        Ok(_) => Err(Error::bad_request("limit param must be positive")),
        Err(_) => Err(Error::bad_request("limit param must be an integer")),
    }
}

fn sort_key(name: &str) -> Result<SortKey> {
    SORT_KEYS.iter().find(|(n, _)| *n == name).map(|(_, key)| *key).ok_or_else(|| {
        let names: Vec<_> = SORT_KEYS.iter().map(|(n, _)| *n).collect();
        Error::bad_request(format!(
            "Invalid sort key: {}. It must be one of the following: {}.",
            short(name),
            names.join(", ")
        ))
    })
}

fn direction(text: &str) -> Result<Direction> {
    match text {
        "asc" => Ok(Direction::Asc),
        "desc" => Ok(Direction::Desc),
        other => Err(Error::bad_request(format!(
            "Invalid sort direction: {}. It must be one of the following: asc, desc.",
            short(other)
        ))),
    }
}

fn order(sort: Option<&str>, keys: Vec<SortKey>, dirs: Vec<Direction>) -> Result<Vec<(SortKey, Direction)>> {
    let mut out = Vec::new();
    match sort {
        Some(_) if !keys.is_empty() || !dirs.is_empty() => {
            return Err(Error::bad_request(
                "Old and new sorting syntax cannot be combined: sort cannot be used with sort_key or sort_dir.",
            ));
        }
        Some(text) => {
            for part in text.split(',') {
                let (name, dir) = part.trim().split_once(':').unwrap_or((part.trim(), "desc"));
                out.push((sort_key(name)?, direction(dir)?));
            }
        }
        None => {
            let one = dirs.len() == 1;
            if !one && dirs.len() > keys.len() || (!one && !dirs.is_empty() && dirs.len() != keys.len()) {
                return Err(Error::bad_request("Number of sort dirs does not match the number of sort keys"));
            }
            let keys = if keys.is_empty() { vec![SortKey::CreatedAt] } else { keys };
            for (i, key) in keys.into_iter().enumerate() {
                let dir = dirs.get(if one { 0 } else { i }).copied().unwrap_or(Direction::Desc);
                out.push((key, dir));
            }
        }
    }
    if out.len() > SORT_KEYS.len() {
        return Err(Error::bad_request("Too many sort keys"));
    }
    let last = out.last().map_or(Direction::Desc, |(_, dir)| *dir);
    for key in [SortKey::CreatedAt, SortKey::Id] {
        if !out.iter().any(|(k, _)| *k == key) {
            out.push((key, last));
        }
    }
    Ok(out)
}

fn filter(name: &str, value: &str) -> Result<Filter> {
    let text = |key| Ok(Filter::Text(key, one_of(name, value)?));
    let exact = |key| Ok(Filter::Text(key, vec![value.to_owned()]));
    match name {
        "name" => text(Text::Name),
        "status" => text(Text::Status),
        "id" => text(Text::Id),
        "container_format" => text(Text::ContainerFormat),
        "disk_format" => text(Text::DiskFormat),
        "checksum" => exact(Text::Checksum),
        "os_hash_value" => exact(Text::OsHashValue),
        "owner" => exact(Text::Owner),
        "tag" => Ok(Filter::Tag(one_of(name, value)?)),
        "size" => Ok(Filter::Number(Number::Size, Op::Eq, number(name, value)?)),
        "size_min" => Ok(Filter::Number(Number::Size, Op::Gte, number(name, value)?)),
        "size_max" => Ok(Filter::Number(Number::Size, Op::Lte, number(name, value)?)),
        "virtual_size" => Ok(Filter::Number(Number::VirtualSize, Op::Eq, number(name, value)?)),
        "min_ram" => Ok(Filter::Number(Number::MinRam, Op::Eq, number(name, value)?)),
        "min_disk" => Ok(Filter::Number(Number::MinDisk, Op::Eq, number(name, value)?)),
        "protected" => Ok(Filter::Number(Number::Protected, Op::Eq, flag(name, value)?)),
        "created_at" => time(Number::CreatedAt, name, value),
        "updated_at" => time(Number::UpdatedAt, name, value),
        _ => Ok(Filter::Property(name.to_owned(), value.to_owned())),
    }
}

fn number(name: &str, value: &str) -> Result<i64> {
    value
        .parse::<i64>()
        .ok()
        .filter(|n| *n >= 0)
        .ok_or_else(|| Error::bad_request(format!("Invalid value for option {name}: {}", short(value))))
}

fn flag(name: &str, value: &str) -> Result<i64> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(1),
        "false" => Ok(0),
        _ => Err(Error::bad_request(format!(
            "Invalid value '{}' for '{name}' filter. Valid values are case insensitive 'true' or 'false'.",
            short(value)
        ))),
    }
}

fn time(key: Number, name: &str, value: &str) -> Result<Filter> {
    let (op, text) = match value.split_once(':') {
        Some(("eq", rest)) => (Op::Eq, rest),
        Some(("neq", rest)) => (Op::Neq, rest),
        Some(("lt", rest)) => (Op::Lt, rest),
        Some(("lte", rest)) => (Op::Lte, rest),
        Some(("gt", rest)) => (Op::Gt, rest),
        Some(("gte", rest)) => (Op::Gte, rest),
        _ => (Op::Eq, value),
    };
    // A `+` of an offset that was not encoded arrives as a blank.
    let time = Timestamp::parse(text)
        .or_else(|| Timestamp::parse(&text.replace(' ', "+")))
        .ok_or_else(|| Error::bad_request(format!("Invalid time format for {name}: {}", short(value))))?;
    Ok(Filter::Number(key, op, time.seconds()))
}

/// `in:a,"b,c"` as its values, `eq:a` and anything else as one.
fn one_of(name: &str, value: &str) -> Result<Vec<String>> {
    if let Some(rest) = value.strip_prefix("eq:") {
        return Ok(vec![rest.to_owned()]);
    }
    let Some(list) = value.strip_prefix("in:") else { return Ok(vec![value.to_owned()]) };
    let bad = || Error::bad_request(format!("Invalid filter value for {name}: {}", short(value)));
    let mut out = Vec::new();
    let mut rest = list;
    loop {
        let (item, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"').ok_or_else(bad)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        if item.is_empty() {
            return Err(bad());
        }
        out.push(item.to_owned());
        if after.is_empty() {
            return Ok(out);
        }
        rest = after.strip_prefix(',').ok_or_else(bad)?;
    }
}

fn short(text: &str) -> String {
    text.chars().take(255).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<ListQuery> {
        ListQuery::parse(&ferrostack_http::query_pairs(query))
    }

    #[test]
    fn the_default_order_is_newest_first() {
        let query = parse("").unwrap();
        assert_eq!(query.sort, [(SortKey::CreatedAt, Direction::Desc), (SortKey::Id, Direction::Desc)]);
        assert_eq!((query.limit, query.scope), (25, Scope::Usual));
    }

    #[test]
    fn both_sort_forms() {
        let a = parse("sort=name:asc,size").unwrap();
        let b = parse("sort_key=name&sort_dir=asc&sort_key=size&sort_dir=desc").unwrap();
        assert_eq!(a.sort, b.sort);
        assert_eq!(a.sort[0], (SortKey::Name, Direction::Asc));
        for bad in [
            "sort=name&sort_key=id",
            "sort=",
            "sort_key=x",
            "sort_dir=up",
            "sort_key=name&sort_dir=asc&sort_dir=asc",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_with_quotes() {
        assert_eq!(one_of("name", "in:a,\"b,c\",d").unwrap(), ["a", "b,c", "d"]);
        assert_eq!(one_of("name", "plain,text").unwrap(), ["plain,text"]);
        for bad in ["in:", "in:a,", "in:\"a", "in:\"a\"b"] {
            assert!(one_of("name", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_refused() {
        for bad in [
            "limit=x",
            "limit=-1",
            "visibility=foo",
            "member_status=x",
            "protected=x",
            "os_hidden=",
            "size_min=x",
            "created_at=gt:yesterday",
            "changes-since=2020-01-01",
            "name=%00",
            "x%00=1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("limit=99999999").unwrap().limit, MAX_LIMIT);
    }
}
