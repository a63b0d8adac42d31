//! What all lists share: string filters, paging, links.
//!
//! A page holds [`MAX_PAGE`] entries at most; without `limit` a list is whole, as in Keystone without `list_limit`.

use crate::{
    input,
    store::{After, Wanted},
};
use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use ferrostack_http::{ApiResult, Page, base_url};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};

/// Most entries of a page: Keystone's `max_db_limit`.
const MAX_PAGE: i64 = 1000;
/// Rows read at once where all are wanted, and where few of those read pass a filter.
const BATCH: i64 = 100;
const SIFTED: i64 = 1000;
/// Bytes of a body that are sent at once where it is long.
const PIECE: usize = 256 * 1024;
/// Comparisons of names that the statements know, besides equality.
const COMPARATORS: [&str; 7] =
    ["contains", "icontains", "startswith", "istartswith", "endswith", "iendswith", "iequals"];

/// The last value of a query member, or "".
pub fn last<'q>(query: &'q [(String, String)], name: &str) -> &'q str {
    query.iter().rev().find(|(k, _)| k == name).map_or("", |(_, v)| v)
}

/// A flag of the query: there without a value counts; `0` and `false` do not.
pub fn flag(query: &[(String, String)], name: &str) -> bool {
    query.iter().rev().find(|(k, _)| k == name).is_some_and(|(_, v)| truth(v))
}

/// Whether the text says yes, as Keystone reads query members.
pub fn truth(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "0" | "false" | "f" | "n" | "no" | "off")
}

/// Whether `value` passes the comparisons `name`, `name__contains`, `name__istartswith`, … of the query.
pub fn passes(query: &[(String, String)], name: &str, value: &str) -> bool {
    query.iter().all(|(key, wanted)| {
        let Some(rest) = key.strip_prefix(name) else { return true };
        let Some(comparator) = rest.strip_prefix("__") else {
            return !rest.is_empty() || value == wanted;
        };
        let (low, wanted_low) = (value.to_lowercase(), wanted.to_lowercase());
        match comparator {
            "equals" => value == wanted,
            "iequals" => low == wanted_low,
            "contains" => value.contains(wanted.as_str()),
            "icontains" => low.contains(&wanted_low),
            "startswith" => value.starts_with(wanted.as_str()),
            "istartswith" => low.starts_with(&wanted_low),
            "endswith" => value.ends_with(wanted.as_str()),
            "iendswith" => low.ends_with(&wanted_low),
            _ => true,
        }
    })
}

/// Whether `value` equals the query's member, if it has one.
pub fn matches(query: &[(String, String)], name: &str, value: &str) -> bool {
    query.iter().filter(|(k, _)| k == name).all(|(_, v)| v == value)
}

/// Whether `enabled` passes the query's `enabled`.
pub fn passes_enabled(query: &[(String, String)], enabled: i64) -> bool {
    query.iter().filter(|(k, _)| k == "enabled").all(|(_, v)| truth(v) == (enabled == 1))
}

/// A list's answer: one page of `items`, with links. For lists that are short.
pub fn answer<T>(
    req: &HttpRequest,
    query: &[(String, String)],
    plural: &str,
    items: Vec<T>,
    id: impl Fn(&T) -> &str,
    view: impl Fn(&T, &str) -> Value,
) -> ApiResult {
    let base = base_url(req);
    let page = page(query)?;
    let start = match &page.marker {
        None => 0,
        Some(marker) => {
            1 + items.iter().position(|item| id(item) == marker).ok_or_else(|| no_marker(marker))?
        }
    };
    let limit = match page.limit_given {
        true => usize::try_from(page.limit).unwrap_or(usize::MAX),
        false => usize::MAX,
    };
    let rest = &items[start..];
    let cut = rest.len() > limit;
    let shown = &rest[..limit.min(rest.len())];
    let mut out = Items::begin(plural);
    for item in shown {
        out.push(&view(item, &base))?;
    }
    let next = shown.last().filter(|_| cut).map(id);
    out.end(&links(req, query, page.limit, next));
    Ok(json_text(out.text))
}

fn no_marker(marker: &str) -> Error {
    Error::bad_request(format!("Marker {marker} could not be found"))
}

/// What follows the items: links, and whether there is more after `next`.
fn links(
    req: &HttpRequest,
    query: &[(String, String)],
    limit: i64,
    next: Option<&str>,
) -> Map<String, Value> {
    let base = base_url(req);
    let link = next.map(|marker| next_link(&base, req.path(), query, limit, marker));
    let mut members = Map::new();
    members.insert(
        "links".into(),
        json!({"next": link, "self": format!("{base}{}", req.uri()), "previous": null}),
    );
    if next.is_some() {
        members.insert("truncated".into(), json!(true));
    }
    members
}

fn json_text(text: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text)
}

/// The text of a list's body as it grows.
pub struct Items {
    text: Vec<u8>,
    any: bool,
}

impl Items {
    fn begin(plural: &str) -> Self {
        Self { text: format!("{{\"{plural}\":[").into_bytes(), any: false }
    }
    /// Appends an item.
    pub fn push(&mut self, item: &Value) -> Result<()> {
        if self.any {
            self.text.extend_from_slice(b",");
        }
        self.any = true;
        serde_json::to_writer(&mut self.text, item)
            .map_err(|e| Error::internal(format!("encoding a list: {e}")))
    }
    /// Whether this is enough for one piece of a body.
    pub fn full(&self) -> bool {
        self.text.len() >= PIECE
    }
    fn end(&mut self, members: &Map<String, Value>) {
        self.text.extend_from_slice(b"],");
        let rest = Value::Object(members.clone()).to_string();
        self.text.extend_from_slice(&rest.as_bytes()[1..]);
    }
}

/// Makes the items of a list of any length piece by piece.
pub trait Pieces: 'static {
    /// Appends some items; false: there are no more.
    fn next(&mut self, items: &mut Items) -> impl Future<Output = Result<bool>>;
}

/// A whole list. What is longer than one piece is sent while it is read, so its length costs no memory; if the
/// database fails meanwhile the connection is closed within the body.
pub async fn whole(
    req: &HttpRequest,
    query: &[(String, String)],
    plural: &str,
    mut pieces: impl Pieces,
) -> ApiResult {
    let end = links(req, query, 0, None);
    let mut items = Items::begin(plural);
    while !items.full() {
        if !pieces.next(&mut items).await? {
            items.end(&end);
            return Ok(json_text(items.text));
        }
    }
    if *req.method() == Method::HEAD {
        return Ok(json_text(items.text));
    }
    let rest = futures_util::stream::try_unfold(Some((pieces, items, end)), async |state| {
        let Some((mut pieces, mut items, end)) = state else { return Ok(None) };
        let mut more = true;
        while more && !items.full() {
            more = pieces.next(&mut items).await.map_err(|error| {
                tracing::error!(error = error.for_log(), "a list broke off");
                std::io::Error::other("the list broke off")
            })?;
        }
        if !more {
            items.end(&end);
        }
        let piece = web::Bytes::from(std::mem::take(&mut items.text));
        Ok::<_, std::io::Error>(Some((piece, more.then_some((pieces, items, end)))))
    });
    Ok(HttpResponse::Ok().content_type("application/json").streaming(rest))
}

/// Where the rows of a list come from, in an order that goes on after any of them.
pub trait Source: 'static {
    /// A row.
    type Row;
    /// The rows after a place, so many at most.
    fn fetch(&self, after: &After, limit: i64) -> impl Future<Output = Result<Vec<Self::Row>>>;
    /// The place of a marker.
    fn find(&self, id: &str) -> impl Future<Output = Result<Option<After>>>;
    /// The place of a row.
    fn place(&self, row: &Self::Row) -> After;
    /// What the statement does not filter.
    fn keeps(&self, row: &Self::Row) -> bool;
    /// As JSON.
    fn view(&self, row: &Self::Row, base: &str) -> Value;
}

/// A list's answer: the page asked for, or without a limit all there is.
pub async fn rows<S: Source>(
    req: &HttpRequest,
    query: &[(String, String)],
    plural: &str,
    source: S,
) -> ApiResult {
    let page = page(query)?;
    let base = base_url(req);
    let mut after = match &page.marker {
        None => After::nothing(),
        Some(marker) => source.find(marker).await?.ok_or_else(|| no_marker(marker))?,
    };
    if !page.limit_given {
        return whole(req, query, plural, Walk { source, after, base }).await;
    }
    let mut items = Items::begin(plural);
    let (mut left, mut batch, mut last) = (page.limit, page.limit + 1, None::<After>);
    loop {
        let rows = source.fetch(&after, batch).await?;
        let ended = i64::try_from(rows.len()).unwrap_or(i64::MAX) < batch;
        if let Some(row) = rows.last() {
            after = source.place(row);
        }
        for row in rows.iter().filter(|row| source.keeps(row)) {
            if left == 0 {
                items.end(&links(req, query, page.limit, last.as_ref().map(|place| place.id.as_str())));
                return Ok(json_text(items.text));
            }
            left -= 1;
            items.push(&source.view(row, &base))?;
            last = Some(source.place(row));
        }
        if ended {
            items.end(&links(req, query, page.limit, None));
            return Ok(json_text(items.text));
        }
        batch = SIFTED;
    }
}

/// All rows of a source from a place on.
struct Walk<S> {
    source: S,
    after: After,
    base: String,
}

impl<S: Source> Pieces for Walk<S> {
    async fn next(&mut self, items: &mut Items) -> Result<bool> {
        let rows = self.source.fetch(&self.after, BATCH).await?;
        for row in rows.iter().filter(|row| self.source.keeps(row)) {
            items.push(&self.source.view(row, &self.base))?;
        }
        if let Some(row) = rows.last() {
            self.after = self.source.place(row);
        }
        Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX) == BATCH)
    }
}

/// Nothing: the list of a question that can have no answer.
pub struct Nothing;

impl Pieces for Nothing {
    async fn next(&mut self, _: &mut Items) -> Result<bool> {
        Ok(false)
    }
}

/// What the statements can filter by, from the query: domain, name (exactly or by its first comparison), enabled.
/// `None`: nothing can match.
pub fn wanted(query: &[(String, String)], own_domain: Option<&str>) -> Option<Wanted> {
    let mut wanted = Wanted { domain_id: input::listed_domain(query, own_domain)?, ..Default::default() };
    for (key, value) in query {
        match key.as_str() {
            // A name is never empty.
            "name" if value.is_empty() => return None,
            "name" => wanted.name.clone_from(value),
            "enabled" => wanted.enabled = truth(value).into(),
            _ => {
                let known = key.strip_prefix("name__").and_then(|c| COMPARATORS.iter().find(|k| **k == c));
                if let Some(known) = known.filter(|_| wanted.comparator.is_empty() && !value.is_empty()) {
                    (wanted.comparator, wanted.text) = (known, value.clone());
                }
            }
        }
    }
    Some(wanted)
}

fn page(query: &[(String, String)]) -> Result<Page> {
    Page::of(query, MAX_PAGE)
}

fn next_link(base: &str, path: &str, query: &[(String, String)], limit: i64, marker: &str) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.append_pair("limit", &limit.to_string()).append_pair("marker", marker);
    for (name, value) in query.iter().filter(|(n, _)| n != "limit" && n != "marker") {
        text.append_pair(name, value);
    }
    format!("{base}{path}?{}", text.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        ferrostack_http::query_pairs(text)
    }

    #[test]
    fn compares_as_the_query_says() {
        let bob = |query: &str| passes(&pairs(query), "name", "Bob");
        assert!(bob("name=Bob") && !bob("name=bob") && bob("name__iequals=bob"));
        assert!(bob("name__icontains=BO") && !bob("name__contains=BO") && bob("name__startswith=B"));
        assert!(bob("name__iendswith=OB") && !bob("name__endswith=OB") && bob("name__unknown=x"));
        assert!(bob("names=x") && bob("other=1") && !bob("name__contains=B&name__endswith=x"));
    }

    #[test]
    fn flags_count_without_a_value() {
        assert!(flag(&pairs("effective"), "effective") && flag(&pairs("effective=True"), "effective"));
        assert!(!flag(&pairs("effective=0"), "effective") && !flag(&pairs("x"), "effective"));
        assert!(passes_enabled(&pairs("enabled=False"), 0) && !passes_enabled(&pairs("enabled"), 0));
    }
}
