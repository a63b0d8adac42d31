//! Links in answers: on the host, version prefix and project segment that the request used.

use actix_web::HttpRequest;
use ferrostack_http::{Ctx, base_url};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

/// Makes links for one request.
#[derive(Clone, Debug)]
pub struct Links {
    /// `http://host/v2.1` and the project id if the request's URL had it.
    root: String,
    /// The same without the version.
    bare: String,
}

impl Links {
    /// The links of answers to `req`.
    pub fn of(req: &HttpRequest, ctx: &Ctx) -> Self {
        let base = base_url(req);
        let project = ctx.project_in_url.as_ref().map(|id| format!("/{id}")).unwrap_or_default();
        let version = if ctx.legacy { "v2" } else { "v2.1" };
        Self { root: format!("{base}/{version}{project}"), bare: format!("{base}{project}") }
    }

    /// The URL of `path` (`servers/ID`).
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// `links` of an item: self and bookmark.
    pub fn item(&self, collection: &str, id: &str) -> Value {
        json!([
            {"rel": "self", "href": format!("{}/{collection}/{id}", self.root)},
            {"rel": "bookmark", "href": format!("{}/{collection}/{id}", self.bare)},
        ])
    }

    /// A bookmark alone, as embedded references have it.
    pub fn bookmark(&self, collection: &str, id: &str) -> Value {
        json!([{"rel": "bookmark", "href": format!("{}/{collection}/{id}", self.bare)}])
    }

    /// `<collection>_links`: the query asked with `marker` put in, for the page after it.
    pub fn next(&self, path: &str, query: &[(String, String)], marker: &str) -> Value {
        let mut text = Serializer::new(String::new());
        let mut placed = false;
        for (name, value) in query {
            if name == "marker" {
                if !placed {
                    text.append_pair("marker", marker);
                    placed = true;
                }
            } else {
                text.append_pair(name, value);
            }
        }
        if !placed {
            text.append_pair("marker", marker);
        }
        json!([{"rel": "next", "href": format!("{}/{path}?{}", self.root, text.finish())}])
    }
}
