//! The route table and what its handlers share.

mod agent;
mod extension;
mod network;
mod port;
mod quota;
mod root;
mod subnet;
mod tag;
mod zone;

use crate::{
    app::App,
    list::{Page, Query, choose},
    store,
    view::Object,
};
use ferrostack_http::{
    ApiResult, Ctx, Route,
    actix_web::{HttpRequest, web},
    base_url, json, query_pairs,
};
use ferrostack_model::{Error, Result};
use serde_json::{Value, json};

pub use port::KEY_HEADER;

/// The application state as handlers extract it.
pub(crate) type State = web::Data<App>;

/// Every route.
pub fn table() -> Vec<Route> {
    let mut table = root::routes();
    table.extend(extension::routes());
    table.extend(network::routes());
    table.extend(subnet::routes());
    table.extend(port::routes());
    table.extend(tag::routes());
    table.extend(quota::routes());
    table.extend(zone::routes());
    table.extend(agent::routes());
    table
}

/// What policy rules may ask of a resource and of its network.
pub(crate) struct Target {
    /// Owner of the resource.
    pub project_id: String,
    /// Owner of the network it is on.
    pub network_project_id: String,
    /// Whether that network is shared.
    pub shared: bool,
    /// Ports: the device's kind.
    pub device_owner: String,
}

impl Target {
    /// A network itself, or a new resource of `project_id` on it.
    pub fn on(network: &store::network::Network, project_id: &str) -> Self {
        Self {
            project_id: project_id.to_owned(),
            network_project_id: network.project_id.clone(),
            shared: network.shared,
            device_owner: String::new(),
        }
    }

    /// The pairs that rules name.
    pub fn pairs(&self) -> [(&str, &str); 6] {
        [
            ("project_id", &self.project_id),
            ("tenant_id", &self.project_id),
            ("network:project_id", &self.network_project_id),
            ("shared", if self.shared { "True" } else { "False" }),
            ("router:external", "False"),
            ("device_owner", &self.device_owner),
        ]
    }
}

/// 403 of Neutron's type.
pub(crate) fn enforce(ctx: &Ctx, rule: &str, target: &[(&str, &str)]) -> Result<()> {
    ctx.enforce(rule, target).map_err(|e| e.named("PolicyNotAuthorized"))
}

/// Whether the caller's lists look beyond its own project, as Neutron's queries do for admins and services.
pub(crate) fn sees_all(ctx: &Ctx) -> Result<bool> {
    let caller = ctx.caller()?;
    Ok(caller.is_admin() || caller.has_role("service") || caller.has_role("advsvc"))
}

/// Takes out the attributes that the caller may not see: each of `restricted` comes with its rule.
pub(crate) fn hide(ctx: &Ctx, restricted: &[(&str, &str)], target: &Target, view: &mut Object) {
    let pairs = target.pairs();
    for (name, rule) in restricted {
        if !ctx.may(rule, &pairs) {
            view.remove(*name);
        }
    }
}

/// The query of a list.
pub(crate) fn query(req: &HttpRequest, known: &[&str]) -> Result<Query> {
    Query::read(&query_pairs(req.query_string()), known)
}

/// A page under its plural name, with links if pages were asked for.
pub(crate) fn page(plural: &str, page: Page) -> ApiResult {
    let mut body = serde_json::Map::new();
    body.insert(plural.into(), Value::Array(page.items.into_iter().map(Value::Object).collect()));
    if let Some(links) = page.links.filter(|l| !l.is_empty()) {
        body.insert(format!("{plural}_links"), links.into());
    }
    json(&body)
}

/// The URL of a collection, as the client reached us.
pub(crate) fn url(req: &HttpRequest, plural: &str) -> String {
    format!("{}/v2.0/{plural}", base_url(req))
}

/// One object under its name, with the `fields` that the query chooses.
pub(crate) fn one(req: &HttpRequest, name: &str, view: Object) -> ApiResult {
    let fields: Vec<String> = query_pairs(req.query_string())
        .into_iter()
        .filter(|(k, v)| k == "fields" && !v.is_empty())
        .map(|(_, v)| v)
        .collect();
    json(&json!({name: choose(view, &fields)}))
}

/// What was created: the one object under its name, or all under the plural name.
pub(crate) fn made(name: &str, plural: &str, bulk: bool, mut views: Vec<Object>) -> Result<Value> {
    if bulk {
        return Ok(json!({plural: views}));
    }
    let one = views.pop().ok_or_else(|| Error::internal("nothing was created"))?;
    Ok(json!({name: one}))
}

/// Ends a write transaction.
pub(crate) async fn commit(tx: ferrostack_db::Tx) -> Result<()> {
    tx.commit().await.map_err(ferrostack_db::db_error)
}
