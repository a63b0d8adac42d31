//! `limit` and `marker`.

use ferrostack_model::{Error, Result};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most this many; never above the maximum.
    pub limit: i64,
    /// Whether the client gave a limit.
    pub limit_given: bool,
    /// The id after which the page begins.
    pub marker: Option<String>,
}

impl Page {
    /// Reads `limit` and `marker`; 400 for what is not a number of 0 and more.
    pub fn of(query: &[(String, String)], max: i64) -> Result<Self> {
        let get = |name: &str| query.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let limit = match get("limit") {
            None => None,
            Some(text) => match text.parse::<i64>() {
                Ok(n) if n >= 0 => Some(n),
                Ok(_) => return Err(Error::bad_request("limit must be non-negative")),
                Err(_) => return Err(Error::bad_request("limit must be an integer")),
            },
        };
        Ok(Self {
            limit: limit.filter(|n| *n > 0).unwrap_or(max).min(max),
            limit_given: limit.is_some_and(|n| n > 0),
            marker: get("marker").filter(|m| !m.is_empty()).map(Into::into),
        })
    }
}

/// The query string's pairs in order, decoded; names may repeat.
pub fn query_pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
