//! What Nova says of its own API, and whether an answer of ours is one that it could have given.

use crate::support::Answer;
use ferrostack_http::Schema;
use parking_lot::Mutex;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::HashMap, io::Read, sync::Arc, sync::LazyLock};

/// Rows of first microversion, last and what is so from one to the other; 0 is `/v2`.
pub type Windows<T> = Vec<(u16, u16, T)>;

/// A route or an action of Nova.
#[derive(Debug, Deserialize)]
pub struct Row {
    pub method: String,
    pub path: String,
    pub action: Option<String>,
    pub first: u16,
    pub last: u16,
    pub success: Windows<u16>,
    pub body: Windows<String>,
    pub query: Windows<String>,
    pub answer: Windows<String>,
    /// Microversion, file and body of a request of the documentation.
    pub samples: Vec<(u16, String, Value)>,
}

impl Row {
    pub fn has(&self, version: u16) -> bool {
        self.first <= version && version <= self.last
    }
    pub fn name(&self) -> String {
        let action = self.action.as_deref().map_or_else(String::new, |a| format!(" {a}"));
        format!("{} {}{action}", self.method, self.path)
    }
    fn matches(&self, method: &Method, path: &str, action: Option<&str>) -> bool {
        let fits = |(want, is): (&str, &str)| (want.starts_with('{') && !is.is_empty()) || want == is;
        self.method == method.as_str()
            && self.action.as_deref() == action
            && self.path.split('/').count() == path.split('/').count()
            && self.path.split('/').zip(path.split('/')).all(fits)
    }
}

/// The row of `windows` that `version` is in.
pub fn at<T>(windows: &Windows<T>, version: u16) -> Option<&T> {
    windows.iter().find(|w| w.0 <= version && version <= w.1).map(|w| &w.2)
}

#[derive(Deserialize)]
struct File {
    routes: Vec<Row>,
    schemas: HashMap<String, Value>,
}

static FILE: LazyLock<File> = LazyLock::new(|| {
    let mut text = String::new();
    let packed = &include_bytes!("../oracle/nova.json.gz")[..];
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
});

static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Schema>>>> = LazyLock::new(Mutex::default);

/// Every route and action.
pub fn rows() -> &'static [Row] {
    &FILE.routes
}

/// The schema of a name in a row.
pub fn schema(name: &str) -> Arc<Schema> {
    let mut compiled = COMPILED.lock();
    let make = || Arc::new(Schema::nova(&FILE.schemas[name]).unwrap());
    compiled.entry(name.to_owned()).or_insert_with(make).clone()
}

/// The row of a request; literal segments are better than names.
pub fn find(method: &Method, path: &str, body: Option<&Value>) -> Option<&'static Row> {
    let path = path.split('?').next().unwrap_or(path);
    let member = body.and_then(Value::as_object).and_then(|map| map.keys().next()).map(String::as_str);
    let action = member.filter(|_| path.ends_with("/action"));
    rows()
        .iter()
        .filter(|row| row.matches(method, path, action))
        .min_by_key(|row| row.path.matches('{').count())
}

/// Complaints that Nova's own answers earn: host names are no UUIDs, `None` is a network prefix to whoever does not
/// look, and names that 2.92 takes are answered at 2.92.
const NOVAS_OWN: &[&str] = &["/keypair/name: ", "/hosts_not_run/", "\"None\" is valid under more than one"];
/// Actions whose 202 Nova's code makes by hand, which the table does not see.
const BY_HAND: &[&str] = &["addFloatingIp", "removeFloatingIp"];

/// What is wrong with an answer: a status or a body that Nova could not have given. Refusals are not judged.
pub fn fault(
    method: &Method,
    path: &str,
    body: Option<&Value>,
    version: u16,
    answer: &Answer,
) -> Option<String> {
    if !answer.status.is_success() {
        return None;
    }
    let row = find(method, path, body)?;
    let case = format!("{method} {path} at 2.{version}: {} {}", answer.status, answer.text);
    if !row.has(version) {
        return Some(format!("Nova has no such route there: {case}"));
    }
    let status = answer.status.as_u16();
    let codes: Vec<u16> =
        row.success.iter().filter(|w| w.0 <= version && version <= w.1).map(|w| w.2).collect();
    let by_hand = status == 202 && body.is_some_and(|b| BY_HAND.iter().any(|name| b.get(name).is_some()));
    if !codes.contains(&status) && !by_hand {
        return Some(format!("Nova answers {codes:?}: {case}"));
    }
    let name = at(&row.answer, version)?;
    let mut complaints = schema(name).complaints(&answer.body);
    complaints.retain(|complaint| !NOVAS_OWN.iter().any(|known| complaint.contains(known)));
    (!complaints.is_empty()).then(|| format!("{name}: {complaints:?}\n{case}"))
}
