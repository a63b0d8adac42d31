//! Lists of servers: filters, order and pages.
//!
//! The statement is put together from the fragments below; every value is a parameter. One statement answers a list;
//! where a filter is a regular expression, which the two databases know differently, rows are matched here and read
//! on until the page is full.

use super::{Server, columns, read};
use ferrostack_db::{
    Db, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{
    Error, Result, Timestamp,
    server::{TaskState, VmState},
};
use regex::{Regex, RegexBuilder};

/// What a server must be to be listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Conditions the database checks.
    exact: Vec<(String, Bound)>,
    /// Conditions checked here.
    patterns: Vec<(Field, Regex)>,
    /// No server can fit.
    pub nothing: bool,
}

#[derive(Clone, Debug)]
enum Bound {
    Text(String),
    Number(i64),
    Texts(Vec<String>),
    Nothing,
}

/// A member that a regular expression may be matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Field {
    Name,
    Hostname,
    Description,
    KeyName,
    Node,
    Zone,
    KernelId,
    RamdiskId,
    RootDevice,
    AccessIpV4,
    AccessIpV6,
    Ip,
    Ip6,
    CreatedAt,
    LaunchedAt,
    TerminatedAt,
    LaunchIndex,
    Progress,
    PowerState,
    ConfigDrive,
    DiskConfig,
}

impl Field {
    fn matches(self, s: &Server, pattern: &Regex) -> bool {
        let some = |text: Option<&str>| text.is_some_and(|t| pattern.is_match(t));
        let number = |n: i64| pattern.is_match(&n.to_string());
        let time = |t: Option<Timestamp>| {
            t.is_some_and(|t| pattern.is_match(&t.iso_micros_naive().replacen('T', " ", 1)))
        };
        let ips = |v4: bool| {
            s.ports
                .iter()
                .flat_map(|p| &p.fixed_ips)
                .any(|ip| ip.ip_address.is_ipv4() == v4 && pattern.is_match(&ip.ip_address.to_string()))
        };
        match self {
            Self::Name => pattern.is_match(&s.display_name),
            Self::Hostname => pattern.is_match(&s.hostname),
            Self::Description => some(s.description.as_deref()),
            Self::KeyName => some(s.key_name.as_deref()),
            Self::Node => some(s.node.as_deref()),
            Self::Zone => some(s.availability_zone.as_deref()),
            Self::KernelId => pattern.is_match(s.kernel.as_ref().map_or("", |k| &k.id)),
            Self::RamdiskId => pattern.is_match(s.ramdisk.as_ref().map_or("", |k| &k.id)),
            Self::RootDevice => pattern.is_match("/dev/vda"),
            Self::AccessIpV4 => pattern.is_match(&s.access_ip_v4),
            Self::AccessIpV6 => pattern.is_match(&s.access_ip_v6),
            Self::Ip => ips(true),
            Self::Ip6 => ips(false),
            Self::CreatedAt => time(Some(s.created_at)),
            Self::LaunchedAt => time(s.launched_at),
            Self::TerminatedAt => time(s.terminated_at),
            Self::LaunchIndex => number(s.launch_index),
            Self::Progress => number(s.progress),
            Self::PowerState => number(s.power_state.code()),
            Self::ConfigDrive => pattern.is_match(if s.config_drive { "True" } else { "" }),
            Self::DiskConfig => pattern.is_match(if s.disk_config == "AUTO" { "1" } else { "0" }),
        }
    }
}

impl Filter {
    fn with(&mut self, sql: &'static str, value: Bound) {
        self.exact.push((sql.to_owned(), value));
    }
    fn text(&mut self, sql: &'static str, value: &str) {
        self.with(sql, Bound::Text(value.to_owned()));
    }
    /// Of this project.
    pub fn project(&mut self, id: &str) {
        self.text("project_id = ?", id);
    }
    /// Of this user.
    pub fn user(&mut self, id: &str) {
        self.text("user_id = ?", id);
    }
    /// With this id.
    pub fn id(&mut self, id: &str) {
        self.text("id = ?", id);
    }
    /// Made of this image.
    pub fn image(&mut self, id: &str) {
        self.text("image_id = ?", id);
    }
    /// Of this flavor.
    pub fn flavor(&mut self, id: &str) {
        self.text("flavor_id = ?", id);
    }
    /// On this host.
    pub fn host(&mut self, host: &str) {
        self.text("host = ?", host);
    }
    /// Of this multi-create.
    pub fn reservation(&mut self, id: &str) {
        self.text("reservation_id = ?", id);
    }
    /// Locked or not.
    pub fn locked(&mut self, locked: bool) {
        self.with("locked = ?", Bound::Number(i64::from(locked)));
    }
    /// Deleted or not; not called: both.
    pub fn deleted(&mut self, deleted: bool) {
        self.with(if deleted { "deleted_at IS NOT NULL" } else { "deleted_at IS NULL" }, Bound::Nothing);
    }
    /// Not waiting for its deletion.
    pub fn without_put_aside(&mut self) {
        self.with("vm_state <> 'soft-delete'", Bound::Nothing);
    }
    /// Changed at or after.
    pub fn changes_since(&mut self, at: Timestamp) {
        self.with("updated_at >= ?", Bound::Number(at.0));
    }
    /// Changed at or before.
    pub fn changes_before(&mut self, at: Timestamp) {
        self.with("updated_at <= ?", Bound::Number(at.0));
    }
    /// In one of these vm_states.
    pub fn vm_states(&mut self, states: &[VmState]) {
        self.one_of("vm_state", states.iter().map(|s| s.as_str()));
    }
    /// In one of these task_states.
    pub fn task_states(&mut self, states: &[TaskState]) {
        self.one_of("task_state", states.iter().map(|s| s.as_str()));
    }
    /// In one of these combinations; without a task: whatever is done with it, unless that shows as another status.
    pub fn states(&mut self, pairs: &[(VmState, Option<TaskState>)]) {
        let parts: Vec<String> = pairs
            .iter()
            .map(|(vm, task)| match task {
                Some(task) => format!("(vm_state = '{}' AND task_state = '{}')", vm.as_str(), task.as_str()),
                None => {
                    let plain = ferrostack_model::server::status(*vm, None);
                    let others: Vec<String> = TaskState::ALL
                        .iter()
                        .filter(|t| ferrostack_model::server::status(*vm, Some(**t)) != plain)
                        .map(|t| format!("'{}'", t.as_str()))
                        .collect();
                    if others.is_empty() {
                        format!("vm_state = '{}'", vm.as_str())
                    } else {
                        let others = others.join(", ");
                        format!(
                            "(vm_state = '{}' AND COALESCE(task_state, '') NOT IN ({others}))",
                            vm.as_str()
                        )
                    }
                }
            })
            .collect();
        self.exact.push((format!("({})", parts.join(" OR ")), Bound::Nothing));
    }
    /// `names` are texts of our enums, so they may stand in the statement.
    fn one_of(&mut self, column: &str, names: impl Iterator<Item = &'static str>) {
        let list: Vec<String> = names.map(|n| format!("'{n}'")).collect();
        self.nothing |= list.is_empty();
        if !list.is_empty() {
            self.exact.push((format!("{column} IN ({})", list.join(", ")), Bound::Nothing));
        }
    }
    /// With this user metadata item.
    pub fn metadata(&mut self, key: &str, value: &str) {
        self.json_has("metadata", &format!("{}:{}", quoted(key), quoted(value)));
    }
    /// With this tag, or without it.
    pub fn tag(&mut self, tag: &str, has: bool) {
        self.text(if has { HAS_TAG } else { LACKS_TAG }, &tag_part(tag));
    }
    /// With one of these tags, or with none of them all at once.
    pub fn any_tag(&mut self, tags: &[String]) {
        self.some_tag(HAS_TAG, tags);
    }
    /// Not with all of these tags.
    pub fn not_all_tags(&mut self, tags: &[String]) {
        self.some_tag(LACKS_TAG, tags);
    }
    fn some_tag(&mut self, condition: &str, tags: &[String]) {
        let parts: Vec<&str> = tags.iter().map(|_| condition).collect();
        let texts = tags.iter().map(|t| tag_part(t)).collect();
        self.exact.push((format!("({})", parts.join(" OR ")), Bound::Texts(texts)));
    }
    /// JSON as we write it has one form, so a member is found as text: the same on both databases.
    fn json_has(&mut self, column: &'static str, part: &str) {
        self.exact.push((format!("REPLACE({column}, ?, '') <> {column}"), Bound::Text(part.to_owned())));
    }
    /// Whose member matches a regular expression; 400 if it is none.
    pub fn pattern(&mut self, field: Field, text: &str) -> Result<()> {
        let pattern = RegexBuilder::new(text)
            .size_limit(1 << 18)
            .build()
            .map_err(|_| Error::bad_request(format!("Invalid regular expression: {text}")))?;
        if field == Field::Name && !text.is_empty() && regex::escape(text) == text {
            // Plain text is found by the database.
            self.text("REPLACE(display_name, ?, '') <> display_name", text);
        } else {
            self.patterns.push((field, pattern));
        }
        Ok(())
    }

    fn matches(&self, server: &Server) -> bool {
        self.patterns.iter().all(|(field, pattern)| field.matches(server, pattern))
    }
}

/// Tags have no commas, so what follows one (the first bracket is taken for one) begins a tag.
const HAS_TAG: &str = "REPLACE(',' || SUBSTR(tags, 2), ?, '') <> ',' || SUBSTR(tags, 2)";
const LACKS_TAG: &str = "REPLACE(',' || SUBSTR(tags, 2), ?, '') = ',' || SUBSTR(tags, 2)";

fn tag_part(tag: &str) -> String {
    format!(",{}", quoted(tag))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A sort key's expression; NULLs are the lowest, as on MySQL. `None` for keys that are equal for all servers, and for
/// those that Nova ignores since they have no index there.
fn column(key: &str) -> Option<&'static str> {
    Some(match key {
        "created_at" => "created_at",
        "updated_at" => "COALESCE(updated_at, 0)",
        "launched_at" => "COALESCE(launched_at, 0)",
        "terminated_at" => "COALESCE(terminated_at, 0)",
        "power_state" => "power_state",
        "progress" => "progress",
        "launch_index" => "launch_index",
        "config_drive" => "config_drive",
        "locked" => "locked",
        "uuid" => "id",
        "display_name" => "display_name",
        "display_description" => "COALESCE(description, '')",
        "hostname" => "hostname",
        "host" => "COALESCE(host, '')",
        "node" => "COALESCE(node, '')",
        "availability_zone" => "COALESCE(availability_zone, '')",
        "image_ref" => "image_id",
        "instance_type_id" => "flavor_id",
        "key_name" => "COALESCE(key_name, '')",
        "kernel_id" => "COALESCE(kernel, '')",
        "ramdisk_id" => "COALESCE(ramdisk, '')",
        "project_id" => "project_id",
        "user_id" => "user_id",
        "vm_state" => "vm_state",
        "task_state" => "COALESCE(task_state, '')",
        "access_ip_v4" => "access_ip_v4",
        "access_ip_v6" => "access_ip_v6",
        "auto_disk_config" => "disk_config",
        _ => return None,
    })
}

/// The value of a sort key in a server, as its expression gives it.
fn key_value(key: &str, s: &Server) -> Bound {
    let time = |t: Option<Timestamp>| Bound::Number(t.map_or(0, |t| t.0));
    let text = |t: &str| Bound::Text(t.to_owned());
    let opt = |t: &Option<String>| Bound::Text(t.clone().unwrap_or_default());
    let json = |image: &Option<ferrostack_model::image::ImageSource>| {
        Bound::Text(image.as_ref().and_then(|i| super::encode(i).ok()).unwrap_or_default())
    };
    match key {
        "created_at" => time(Some(s.created_at)),
        "updated_at" => time(Some(s.updated_at)),
        "launched_at" => time(s.launched_at),
        "terminated_at" => time(s.terminated_at),
        "power_state" => Bound::Number(s.power_state.code()),
        "progress" => Bound::Number(s.progress),
        "launch_index" => Bound::Number(s.launch_index),
        "config_drive" => Bound::Number(i64::from(s.config_drive)),
        "locked" => Bound::Number(i64::from(s.locked)),
        "display_name" => text(&s.display_name),
        "display_description" => opt(&s.description),
        "hostname" => text(&s.hostname),
        "host" => opt(&s.host),
        "node" => opt(&s.node),
        "availability_zone" => opt(&s.availability_zone),
        "image_ref" => text(&s.image.id),
        "instance_type_id" => text(&s.flavor_id),
        "key_name" => opt(&s.key_name),
        "kernel_id" => json(&s.kernel),
        "ramdisk_id" => json(&s.ramdisk),
        "project_id" => text(&s.project_id),
        "user_id" => text(&s.user_id),
        "vm_state" => text(s.vm_state.as_str()),
        "task_state" => text(s.task_state.map_or("", TaskState::as_str)),
        "access_ip_v4" => text(&s.access_ip_v4),
        "access_ip_v6" => text(&s.access_ip_v6),
        "auto_disk_config" => text(&s.disk_config),
        _ => text(&s.id),
    }
}

/// The order of a list: keys with whether they descend. The id comes last, so the order is total.
#[derive(Clone, Debug)]
pub struct Sort(Vec<(String, bool)>);

impl Sort {
    /// The `keys` with `directions`: missing ones are the last given one's, or descending. No keys: newest first.
    pub fn of(keys: &[&str], directions: &[&str]) -> Result<Self> {
        if directions.len() > keys.len().max(1) {
            return Err(Error::bad_request("Sort direction size exceeds sort key size"));
        }
        if let Some(bad) = directions.iter().find(|d| !matches!(**d, "asc" | "desc")) {
            return Err(Error::bad_request(format!(
                "Unknown sort direction, must be one of: asc, desc (got {bad})"
            )));
        }
        let default = directions.first().is_none_or(|d| *d == "desc");
        let down = |i: usize| directions.get(i).map_or(default, |d| *d == "desc");
        let mut sort: Vec<(String, bool)> = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            if column(key).is_some() && !sort.iter().any(|(k, _)| k == key) {
                sort.push(((*key).to_owned(), down(i)));
            }
        }
        for key in ["created_at", "uuid"] {
            if !sort.iter().any(|(k, _)| k == key) {
                sort.push((key.to_owned(), default));
            }
        }
        Ok(Self(sort))
    }

    fn order_by(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .filter_map(|(key, down)| {
                column(key).map(|c| format!("{c} {}", if *down { "DESC" } else { "ASC" }))
            })
            .collect();
        parts.join(", ")
    }

    /// The condition for what comes after `last`, with its parameters from number `first`.
    fn after(&self, last: &Server, first: usize, values: &mut Vec<Bound>) -> String {
        let mut either: Vec<String> = Vec::new();
        let mut equal = String::new();
        let mut n = first;
        for (key, down) in &self.0 {
            let Some(column) = column(key) else { continue };
            values.push(key_value(key, last));
            either.push(format!("({equal}{column} {} ${n})", if *down { "<" } else { ">" }));
            equal.push_str(&format!("{column} = ${n} AND "));
            n += 1;
        }
        // The first key alone bounds the range, which an index can use.
        let (key, down) = &self.0[0];
        let bound = column(key).unwrap_or("id");
        format!("{bound} {} ${first} AND ({})", if *down { "<=" } else { ">=" }, either.join(" OR "))
    }
}

/// Rows read at once while patterns are matched here.
const CHUNK: i64 = 500;

/// At most `limit` servers that fit, after `marker` in the order.
pub async fn list(
    db: &Db,
    filter: &Filter,
    sort: &Sort,
    limit: i64,
    marker: Option<Server>,
) -> Result<Vec<Server>> {
    if filter.nothing || limit <= 0 {
        return Ok(Vec::new());
    }
    if filter.patterns.is_empty() {
        return page(db, filter, sort, limit, marker.as_ref()).await;
    }
    let (mut found, mut last) = (Vec::new(), marker);
    loop {
        let rows = page(db, filter, sort, CHUNK, last.as_ref()).await?;
        let full = rows.len() as i64 == CHUNK;
        last = rows.last().cloned();
        for server in rows {
            if filter.matches(&server) {
                found.push(server);
                if found.len() as i64 == limit {
                    return Ok(found);
                }
            }
        }
        if !full {
            return Ok(found);
        }
    }
}

/// Id and name of what [`list`] would find; `None` where whole rows must be looked at to know.
pub async fn names(
    db: &Db,
    filter: &Filter,
    sort: &Sort,
    limit: i64,
    marker: Option<&Server>,
) -> Result<Option<Vec<(String, String)>>> {
    if filter.nothing || limit <= 0 {
        return Ok(Some(Vec::new()));
    }
    if !filter.patterns.is_empty() {
        return Ok(None);
    }
    let rows = rows(db, "id, display_name", filter, sort, limit, marker).await?;
    let text = |row: &AnyRow, i: usize| row.try_get::<String, _>(i).map_err(db_error);
    rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?))).collect::<Result<_>>().map(Some)
}

async fn page(
    db: &Db,
    filter: &Filter,
    sort: &Sort,
    limit: i64,
    after: Option<&Server>,
) -> Result<Vec<Server>> {
    rows(db, columns!(), filter, sort, limit, after).await?.iter().map(read).collect()
}

async fn rows(
    db: &Db,
    columns: &'static str,
    filter: &Filter,
    sort: &Sort,
    limit: i64,
    after: Option<&Server>,
) -> Result<Vec<AnyRow>> {
    let mut values: Vec<Bound> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    for (sql, value) in &filter.exact {
        let mut text = String::with_capacity(sql.len() + 4);
        let mut parts = sql.split('?');
        text.push_str(parts.next().unwrap_or(""));
        let mut given = match value {
            Bound::Nothing => Vec::new(),
            Bound::Texts(all) => all.iter().map(|t| Bound::Text(t.clone())).collect(),
            one => vec![one.clone()],
        }
        .into_iter();
        for part in parts {
            values.extend(given.next());
            text.push_str(&format!("${}", values.len()));
            text.push_str(part);
        }
        conditions.push(text);
    }
    if let Some(last) = after {
        let first = values.len() + 1;
        conditions.push(sort.after(last, first, &mut values));
    }
    let wanted = if conditions.is_empty() { "1 = 1".to_owned() } else { conditions.join(" AND ") };
    let sql = format!(
        "SELECT {columns} FROM servers WHERE {wanted} ORDER BY {} LIMIT ${}",
        sort.order_by(),
        values.len() + 1
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for value in values {
        query = match value {
            Bound::Text(text) => query.bind(text),
            Bound::Number(number) => query.bind(number),
            Bound::Nothing | Bound::Texts(_) => query,
        };
    }
    query.bind(limit).fetch_all(db.reader()).await.map_err(db_error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn order_is_total_and_directions_are_checked() {
        assert_eq!(Sort::of(&[], &[]).unwrap().order_by(), "created_at DESC, id DESC");
        let sort = Sort::of(&["display_name", "nonsense", "uuid"], &["asc"]).unwrap();
        assert_eq!(sort.order_by(), "display_name ASC, id ASC, created_at ASC");
        assert!(Sort::of(&["uuid"], &["up"]).is_err());
        assert!(Sort::of(&["uuid"], &["asc", "asc"]).is_err());
    }
}
