//! What all lists share: string filters, paging, links.

use actix_web::HttpRequest;
use ferrostack_http::{ApiResult, Page, base_url, json};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};

/// Most entries of a page: Keystone's `max_db_limit`.
const MAX_PAGE: i64 = 1000;

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

/// A list's answer: one page of `items`, with links.
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
            1 + items
                .iter()
                .position(|item| id(item) == marker)
                .ok_or_else(|| Error::bad_request(format!("Marker {marker} could not be found")))?
        }
    };
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let rest = &items[start..];
    let cut = rest.len() > limit;
    let shown = &rest[..limit.min(rest.len())];
    let self_url = format!("{base}{}", req.uri());
    let next = match shown.last() {
        Some(last) if cut => json!(next_link(&base, req.path(), query, page.limit, id(last))),
        _ => Value::Null,
    };
    let mut body = Map::new();
    body.insert(plural.into(), shown.iter().map(|item| view(item, &base)).collect());
    body.insert("links".into(), json!({"next": next, "self": self_url, "previous": null}));
    if cut {
        body.insert("truncated".into(), json!(true));
    }
    json(&body)
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
