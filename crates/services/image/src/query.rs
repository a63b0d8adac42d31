//! The query string of the image list.

use crate::image::Visibility;
use crate::text::short;
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
    OsHashAlgo,
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
    /// The attribute is one of these; of none it never is.
    Text(Text, Vec<String>),
    /// The attribute compares so (times in microseconds, flags 0 and 1).
    Number(Number, Op, i64),
    /// Has this tag.
    Tag(String),
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
    /// Reads the pairs of a query string; 400 names what is wrong. Of a name that is given twice the last value
    /// counts, except `tag`, `sort_key` and `sort_dir`, all of which do.
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
        let mut hidden = 0;
        for (at, (name, value)) in pairs.iter().enumerate() {
            if name.contains('\0') || value.contains('\0') {
                return Err(Error::bad_request("Query parameters must not contain NUL."));
            }
            let repeats = matches!(name.as_str(), "tag" | "sort_key" | "sort_dir");
            if !repeats && pairs[at + 1..].iter().any(|(later, _)| later == name) {
                continue;
            }
            match name.as_str() {
                "limit" => query.limit = limit(value)?,
                "marker" => query.marker = Some(value.clone()),
                "sort" => sort = Some(value.as_str()),
                "sort_key" => keys.push(sort_key(value.trim())?),
                "sort_dir" => dirs.push(direction(value.trim())?),
                "tag" => query.filters.push(Filter::Tag(value.trim().to_owned())),
                "changes-since" => {
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
                "member_status" => query.member_status = member_status(value)?,
                "os_hidden" => hidden = flag(name, value)?,
                // Only admins of the database see deleted images, and not here.
                "deleted" => {}
                _ => query.filters.push(filter(name, value)?),
            }
        }
        query.filters.push(Filter::Number(Number::OsHidden, Op::Eq, hidden));
        query.sort = order(sort, keys, dirs)?;
        Ok(query)
    }
}

fn member_status(text: &str) -> Result<Option<&'static str>> {
    Ok(match text {
        "all" => None,
        "accepted" => Some("accepted"),
        "pending" => Some("pending"),
        "rejected" => Some("rejected"),
        other => return Err(Error::bad_request(format!("Invalid status: {}", short(other)))),
    })
}

/// A page's size, at most [`MAX_LIMIT`]; 400 for what is no number of 0 and more.
pub fn limit(text: &str) -> Result<i64> {
    match integer(text) {
        Some(n) if n >= 0 => Ok(n.min(MAX_LIMIT)),
        Some(_) => Err(Error::bad_request("limit param must be positive")),
        None => Err(Error::bad_request("limit param must be an integer")),
    }
}

/// A whole number as Python reads it; what is beyond 64 bits is their end.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(if negative { -number } else { number })
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
        other => Err(Error::bad_request(format!("Invalid sort direction: {}", short(other)))),
    }
}

fn order(sort: Option<&str>, keys: Vec<SortKey>, dirs: Vec<Direction>) -> Result<Vec<(SortKey, Direction)>> {
    let mut out = Vec::new();
    let mut one = None;
    match sort {
        Some(_) if !keys.is_empty() || !dirs.is_empty() => {
            return Err(Error::bad_request("Old and new sorting syntax cannot be combined"));
        }
        Some(text) => {
            for part in text.trim().split(',') {
                let (name, dir) = part.split_once(':').unwrap_or((part, ""));
                let dir = if dir.is_empty() { "desc" } else { dir.trim() };
                out.push((sort_key(name.trim())?, direction(dir)?));
            }
            one = Some(&out[..]).filter(|all| all.len() == 1).map(|all| all[0].1);
        }
        None => {
            if dirs.len() > 1 && dirs.len() != keys.len() {
                return Err(Error::bad_request("Number of sort dirs does not match the number of sort keys"));
            }
            let keys = if keys.is_empty() { vec![SortKey::CreatedAt] } else { keys };
            if let [dir] = dirs[..] {
                one = Some(dir);
            }
            for (i, key) in keys.into_iter().enumerate() {
                out.push((key, one.or_else(|| dirs.get(i).copied()).unwrap_or(Direction::Desc)));
            }
        }
    }
    // A key that comes again decides nothing.
    let mut keys = Vec::new();
    out.retain(|(key, _)| {
        !keys.contains(key) && {
            keys.push(*key);
            true
        }
    });
    // So that no two images are equal: in the one direction that was asked for, if there is one.
    for key in [SortKey::CreatedAt, SortKey::Id] {
        if !keys.contains(&key) {
            out.push((key, one.unwrap_or(Direction::Desc)));
        }
    }
    Ok(out)
}

fn filter(name: &str, value: &str) -> Result<Filter> {
    let text = |key| Ok(Filter::Text(key, one_of(value)?));
    let exact = |key| Ok(Filter::Text(key, vec![value.to_owned()]));
    let equal = |key| Ok(Filter::Number(key, Op::Eq, number(name, value)?));
    match name {
        "name" => text(Text::Name),
        "status" => text(Text::Status),
        "id" => text(Text::Id),
        "container_format" => text(Text::ContainerFormat),
        "disk_format" => text(Text::DiskFormat),
        "checksum" => exact(Text::Checksum),
        "os_hash_value" => exact(Text::OsHashValue),
        "os_hash_algo" => exact(Text::OsHashAlgo),
        "owner" => exact(Text::Owner),
        "size" => equal(Number::Size),
        "virtual_size" => equal(Number::VirtualSize),
        "min_ram" => equal(Number::MinRam),
        "min_disk" => equal(Number::MinDisk),
        "protected" => Ok(Filter::Number(Number::Protected, Op::Eq, flag(name, value)?)),
        "created_at" => time(Number::CreatedAt, name, value),
        "updated_at" => time(Number::UpdatedAt, name, value),
        _ => range(name, value).unwrap_or_else(|| Ok(Filter::Property(name.to_owned(), value.to_owned()))),
    }
}

/// `size_min`, `min_ram_max`, …: one end of a range of a number attribute.
fn range(name: &str, value: &str) -> Option<Result<Filter>> {
    let (name, op) = match (name.strip_suffix("_min"), name.strip_suffix("_max")) {
        (Some(name), _) => (name, Op::Gte),
        (_, Some(name)) => (name, Op::Lte),
        _ => return None,
    };
    let key = match name {
        "size" => Number::Size,
        "virtual_size" => Number::VirtualSize,
        "min_ram" => Number::MinRam,
        "min_disk" => Number::MinDisk,
        _ => return None,
    };
    let number = integer(value)
        .ok_or_else(|| Error::bad_request("Unable to filter on a range with a non-numeric value."));
    Some(number.map(|number| Filter::Number(key, op, number)))
}

fn number(name: &str, value: &str) -> Result<i64> {
    integer(value)
        .ok_or_else(|| Error::bad_request(format!("Invalid value for option {name}: {}", short(value))))
}

fn flag(name: &str, value: &str) -> Result<i64> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(1),
        "false" => Ok(0),
        other => Err(Error::bad_request(format!(
            "Invalid value '{}' for '{name}' filter. Valid values are 'true' or 'false'.",
            short(other)
        ))),
    }
}

fn timestamp(text: &str) -> Option<Timestamp> {
    // A `+` of an offset that was not encoded arrives as a blank.
    Timestamp::parse(text).or_else(|| Timestamp::parse(&text.replace(' ', "+")))
}

/// The operator before the first colon and what comes after it; of a bare time the colons are its own.
fn operator(value: &str) -> (&str, &str) {
    match value.split_once(':') {
        Some((op, rest)) if timestamp(value).is_none() => (op, rest),
        _ => ("eq", value),
    }
}

fn time(key: Number, name: &str, value: &str) -> Result<Filter> {
    let (op, text) = operator(value);
    let time = timestamp(text).ok_or_else(|| {
        Error::bad_request(format!("Bad \"{name}\" query filter format. Use ISO 8601 DateTime notation."))
    })?;
    let op = match op {
        "eq" => Op::Eq,
        "neq" => Op::Neq,
        "lt" => Op::Lt,
        "lte" => Op::Lte,
        "gt" => Op::Gt,
        "gte" => Op::Gte,
        _ => return Err(Error::bad_request("Unable to filter on a unknown operator.")),
    };
    Ok(Filter::Number(key, op, time.seconds()))
}

/// `in:a,"b,c"` as its values, `eq:a` and what has no operator as one.
fn one_of(value: &str) -> Result<Vec<String>> {
    match operator(value) {
        ("eq", text) => Ok(vec![text.to_owned()]),
        ("in", list) => split_quoted(list),
        (op, _) => Err(Error::bad_request(format!("Unable to filter by unknown operator '{}'.", short(op)))),
    }
}

/// Comma-separated values, some in double quotes; in quotes a backslash keeps the next character from ending them.
fn split_quoted(list: &str) -> Result<Vec<String>> {
    let bad = |why: &str| Error::bad_request(format!("Invalid filter value {}. {why}", short(list)));
    let mut out = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (item, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                let end = end.ok_or_else(|| bad("The quote is not closed."))?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        if !rest.starts_with('"') && item.contains('"') {
            return Err(bad("There is no comma before opening quotation mark."));
        }
        if !after.is_empty() && !after.starts_with(',') {
            return Err(bad("There is no comma after closing quotation mark."));
        }
        out.push(item.to_owned());
        rest = after.strip_prefix(',').unwrap_or("");
    }
    Ok(out)
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
            "sort_dir=asc&sort_dir=asc",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        use Direction::{Asc, Desc};
        use SortKey::{CreatedAt, Id, Name, Size};
        for (query, expected) in [
            ("sort=name:asc", vec![(Name, Asc), (CreatedAt, Asc), (Id, Asc)]),
            ("sort=name:asc,size:asc", vec![(Name, Asc), (Size, Asc), (CreatedAt, Desc), (Id, Desc)]),
            ("sort=name:asc,name:desc", vec![(Name, Asc), (CreatedAt, Desc), (Id, Desc)]),
            ("sort_dir=asc", vec![(CreatedAt, Asc), (Id, Asc)]),
            ("sort_key=name&sort_key=id", vec![(Name, Desc), (Id, Desc), (CreatedAt, Desc)]),
        ] {
            assert_eq!(parse(query).unwrap().sort, expected, "{query}");
        }
    }

    #[test]
    fn lists_with_quotes() {
        for (value, expected) in [
            ("in:a,\"b,c\",d", &["a", "b,c", "d"][..]),
            ("plain,text", &["plain,text"]),
            ("eq:a:b", &["a:b"]),
            ("in:", &[]),
            ("in:a,", &["a"]),
            ("in:,a", &["", "a"]),
            ("in:\"\",a", &["", "a"]),
            ("in:\"a\\\"b\",c", &["a\\\"b", "c"]),
            ("2020-01-01T00:00:00Z", &["2020-01-01T00:00:00Z"]),
        ] {
            assert_eq!(one_of(value).unwrap(), expected, "{value}");
        }
        for (value, expected) in [
            ("in:\"a", "Invalid filter value \"a. The quote is not closed."),
            ("in:\"a\"b", "Invalid filter value \"a\"b. There is no comma after closing quotation mark."),
            ("in:a\"b\"", "Invalid filter value a\"b\". There is no comma before opening quotation mark."),
            ("neq:a", "Unable to filter by unknown operator 'neq'."),
            ("a:b", "Unable to filter by unknown operator 'a'."),
        ] {
            assert_eq!(one_of(value).unwrap_err().public, expected, "{value}");
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
            "created_at=in:2020-01-01T00:00:00Z",
            "name=%00",
            "x%00=1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        // The last of two counts, and numbers have no end.
        let query = parse("limit=3&limit=x&limit=4&size_max=99999999999999999999&size_min=-5").unwrap();
        assert_eq!(query.limit, 4);
        assert_eq!(query.filters[0], Filter::Number(Number::Size, Op::Lte, i64::MAX));
        assert_eq!(query.filters[1], Filter::Number(Number::Size, Op::Gte, -5));
        assert_eq!(parse("limit=99999999").unwrap().limit, MAX_LIMIT);
    }
}
