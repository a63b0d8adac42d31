//! What the query string of a list asks for, applied to views: filters, sorting, pages, chosen fields.

use crate::{attribute::check, error::http_bad_request, view::Object};
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// A list's query.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Attribute with its wanted values, of which one must fit.
    filters: Vec<(String, Vec<String>)>,
    fields: Vec<String>,
    /// Attribute and whether descending.
    sort: Vec<(String, bool)>,
    limit: Option<usize>,
    marker: Option<String>,
    reverse: bool,
    changed_since: Option<String>,
    /// The pairs without limit, marker and direction: for links.
    rest: Vec<(String, String)>,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The objects.
    pub items: Vec<Object>,
    /// Links to the pages beside this one; `None` if no limit was asked for.
    pub links: Option<Vec<Value>>,
}

const TAG_FILTERS: [&str; 4] = ["tags", "tags-any", "not-tags", "not-tags-any"];

impl Query {
    /// Reads the pairs; 400 for attributes not in `known` and for what cannot be read.
    pub fn read(pairs: &[(String, String)], known: &[&str]) -> Result<Self> {
        let mut query = Self::default();
        let (mut keys, mut directions) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => {
                    let limit: usize = value.parse().map_err(|_| {
                        http_bad_request(format!(
                            "Limit must be an integer 0 or greater and not '{}'",
                            check::short(value)
                        ))
                    })?;
                    query.limit = (limit > 0).then_some(limit);
                    continue;
                }
                "marker" => {
                    query.marker = Some(value.clone()).filter(|m| !m.is_empty());
                    continue;
                }
                "page_reverse" => {
                    query.reverse = value.eq_ignore_ascii_case("true");
                    continue;
                }
                "fields" => query.fields.push(value.clone()),
                "sort_key" => keys.push(value.clone()),
                "sort_dir" => directions.push(value.clone()),
                "changed_since" => {
                    let since = Timestamp::parse(value).or_else(|| Timestamp::parse(&format!("{value}Z")));
                    let since = since.ok_or_else(|| {
                        http_bad_request(format!(
                            "Invalid input for changed_since. Reason: '{}' is not a time",
                            check::short(value)
                        ))
                    })?;
                    query.changed_since = Some(since.iso());
                }
                _ => {
                    if !known.contains(&name.as_str()) && !TAG_FILTERS.contains(&name.as_str()) {
                        return Err(http_bad_request(format!(
                            "['{}'] is invalid attribute for filtering",
                            check::short(name)
                        )));
                    }
                    match query.filters.iter_mut().find(|(n, _)| n == name) {
                        Some((_, values)) => values.push(value.clone()),
                        None => query.filters.push((name.clone(), vec![value.clone()])),
                    }
                }
            }
            query.rest.push((name.clone(), value.clone()));
        }
        query.fields.retain(|f| !f.is_empty());
        query.sort = sorting(keys, &directions, known)?;
        Ok(query)
    }

    /// The wanted values of an attribute, each once; `None` if it is not filtered by.
    pub fn wanted(&self, name: &str) -> Option<Vec<&str>> {
        let (_, values) = self.filters.iter().find(|(n, _)| n == name)?;
        let mut values: Vec<&str> =
            values.iter().map(String::as_str).filter(|v| crate::store::storable(v)).collect();
        values.sort_unstable();
        values.dedup();
        Some(values)
    }

    /// The page of `items`. `missing` makes the error for a marker that is not among them.
    pub fn apply(self, items: Vec<Object>, url: &str, missing: fn(&str) -> Error) -> Result<Page> {
        let mut items: Vec<Object> = items.into_iter().filter(|i| self.fits(i)).collect();
        items.sort_by(|a, b| self.order(a, b));
        let Some(limit) = self.limit else {
            return Ok(Page { items: self.choose(items), links: None });
        };
        if self.reverse {
            items.reverse();
        }
        let start = match &self.marker {
            None => 0,
            Some(marker) => {
                let at = items.iter().position(|i| i.get("id").and_then(Value::as_str) == Some(marker));
                at.ok_or_else(|| missing(marker))? + 1
            }
        };
        let mut page: Vec<Object> = items.into_iter().skip(start).take(limit).collect();
        if self.reverse {
            page.reverse();
        }
        let links = self.links(&page, limit, url);
        Ok(Page { items: self.choose(page), links: Some(links) })
    }

    /// As Neutron: a next page unless this one is short, and a previous one unless this was short going back.
    fn links(&self, page: &[Object], limit: usize, url: &str) -> Vec<Value> {
        let id = |o: Option<&Object>| o.and_then(|o| o.get("id")).and_then(Value::as_str).map(str::to_owned);
        let (Some(first), Some(last)) = (id(page.first()), id(page.last())) else { return Vec::new() };
        let full = page.len() >= limit;
        let href = |marker: &str, reverse: bool| {
            let mut pairs = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in &self.rest {
                pairs.append_pair(name, value);
            }
            pairs.append_pair("limit", &limit.to_string()).append_pair("marker", marker);
            if reverse {
                pairs.append_pair("page_reverse", "True");
            }
            format!("{url}?{}", pairs.finish())
        };
        let mut links = Vec::new();
        if full || self.reverse {
            links.push(json!({"rel": "next", "href": href(&last, false)}));
        }
        if full || !self.reverse {
            links.push(json!({"rel": "previous", "href": href(&first, true)}));
        }
        links
    }

    fn fits(&self, item: &Object) -> bool {
        let recent = self
            .changed_since
            .as_deref()
            .is_none_or(|since| item.get("updated_at").and_then(Value::as_str).is_some_and(|at| at >= since));
        recent
            && self.filters.iter().all(|(name, wanted)| match name.as_str() {
                name if TAG_FILTERS.contains(&name) => wanted.iter().all(|w| tags_fit(name, w, item)),
                "fixed_ips" => fixed_ips_fit(wanted, item.get("fixed_ips")),
                name => item.get(name).is_some_and(|have| wanted.iter().any(|w| equals(have, w))),
            })
    }

    fn order(&self, a: &Object, b: &Object) -> Ordering {
        for (key, descending) in &self.sort {
            let order = compare(a.get(key), b.get(key));
            if order != Ordering::Equal {
                return if *descending { order.reverse() } else { order };
            }
        }
        compare(a.get("id"), b.get("id"))
    }

    fn choose(&self, items: Vec<Object>) -> Vec<Object> {
        items.into_iter().map(|item| choose(item, &self.fields)).collect()
    }
}

/// Only the chosen attributes; all if none is.
pub fn choose(mut item: Object, fields: &[String]) -> Object {
    if !fields.is_empty() {
        item.retain(|key, _| fields.iter().any(|f| f == key));
    }
    item
}

fn sorting(keys: Vec<String>, directions: &[String], known: &[&str]) -> Result<Vec<(String, bool)>> {
    if !directions.is_empty() && directions.len() != keys.len() {
        return Err(http_bad_request("The number of sort_keys and sort_dirs must be same"));
    }
    let mut sort = Vec::new();
    for (i, key) in keys.into_iter().enumerate() {
        if !known.contains(&key.as_str()) {
            let text = format!("['{}'] is invalid attribute for sort keys", check::short(&key));
            return Err(http_bad_request(text));
        }
        let descending = match directions.get(i).map(String::as_str) {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => {
                return Err(http_bad_request(format!(
                    "'{}' is invalid value for sort_dirs, valid value is 'asc' and 'desc'",
                    check::short(other)
                )));
            }
        };
        sort.push((key, descending));
    }
    Ok(sort)
}

fn equals(have: &Value, wanted: &str) -> bool {
    match have {
        Value::Null => wanted.is_empty(),
        Value::Bool(b) => check::flag(&json!(wanted)).is_ok_and(|w| w == json!(b)),
        Value::Number(n) => n.to_string() == wanted,
        // MAC addresses are the only texts that come in more than one form.
        Value::String(s) => s == wanted || (s.len() == 17 && s.eq_ignore_ascii_case(wanted)),
        Value::Array(items) => items.iter().any(|i| i.as_str() == Some(wanted)),
        Value::Object(_) => *have.to_string() == *wanted,
    }
}

fn tags_fit(filter: &str, wanted: &str, item: &Object) -> bool {
    let have: Vec<&str> =
        item.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut wanted = wanted.split(',');
    match filter {
        "tags" => wanted.all(|w| have.contains(&w)),
        "tags-any" => wanted.any(|w| have.contains(&w)),
        "not-tags" => !wanted.all(|w| have.contains(&w)),
        _ => !wanted.any(|w| have.contains(&w)),
    }
}

/// `ip_address=A`, `subnet_id=B`, `ip_address_substr=C`: the values of one key are alternatives, keys add up.
fn fixed_ips_fit(wanted: &[String], have: Option<&Value>) -> bool {
    let have: Vec<&Value> = have.and_then(Value::as_array).into_iter().flatten().collect();
    let text = |ip: &Value, key: &str| ip.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let mut any_key = false;
    let fine = ["ip_address", "subnet_id", "ip_address_substr"].into_iter().all(|key| {
        let values: Vec<&str> =
            wanted.iter().filter_map(|w| w.strip_prefix(key)?.strip_prefix('=')).collect();
        if values.is_empty() {
            return true;
        }
        any_key = true;
        have.iter().any(|ip| {
            values.iter().any(|v| match key {
                "ip_address_substr" => text(ip, "ip_address").contains(v),
                key => text(ip, key) == *v,
            })
        })
    });
    any_key && fine
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    fn rank(v: Option<&Value>) -> u8 {
        match v {
            None | Some(Value::Null) => 0,
            Some(Value::Bool(_)) => 1,
            Some(Value::Number(_)) => 2,
            Some(Value::String(_)) => 3,
            Some(_) => 4,
        }
    }
    match (a, b) {
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (Some(Value::Number(a)), Some(Value::Number(b))) => a.as_i64().cmp(&b.as_i64()),
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn items() -> Vec<Object> {
        (0..5)
            .map(|i| {
                let value = json!({"id": format!("{i}"), "name": if i % 2 == 0 { "even" } else { "odd" },
                    "shared": i == 0, "tags": if i < 2 { json!(["a", "b"]) } else { json!(["b"]) }});
                value.as_object().unwrap().clone()
            })
            .collect()
    }

    fn ask(query: &str) -> Result<Page> {
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Query::read(&pairs, &["id", "name", "shared", "tags"])?.apply(
            items(),
            "http://h/x",
            crate::error::network_not_found,
        )
    }

    fn ids(query: &str) -> String {
        let page = ask(query).unwrap();
        page.items.iter().map(|i| i["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn filters_and_sorts() {
        assert_eq!(ids(""), "01234");
        assert_eq!(ids("name=even"), "024");
        assert_eq!(ids("name=even&name=odd&shared=False"), "1234");
        assert_eq!(ids("shared=true"), "0");
        assert_eq!(ids("tags=a,b"), "01");
        assert_eq!(ids("not-tags=a"), "234");
        assert_eq!(ids("tags-any=a,c"), "01");
        assert_eq!(ids("sort_key=name&sort_dir=desc&sort_key=id&sort_dir=desc"), "31420");
        for bad in ["x=1", "sort_key=x", "sort_key=id&sort_dir=up", "sort_dir=asc", "limit=-1", "limit=x"] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_forth_and_back() {
        assert_eq!(ids("limit=2"), "01");
        assert_eq!(ids("limit=2&marker=1"), "23");
        assert_eq!(ids("limit=2&marker=3"), "4");
        assert_eq!(ids("limit=2&marker=4"), "");
        assert_eq!(ids("limit=2&marker=4&page_reverse=True"), "23");
        assert_eq!(ids("limit=2&page_reverse=True"), "34");
        assert!(ask("limit=2&marker=9").is_err());
        let links = ask("limit=2&name=even").unwrap().links.unwrap();
        assert_eq!(links[0], json!({"rel": "next", "href": "http://h/x?name=even&limit=2&marker=2"}));
        assert!(ask("limit=2&marker=4").unwrap().links.unwrap().is_empty());
    }
}
