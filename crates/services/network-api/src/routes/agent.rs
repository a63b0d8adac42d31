//! Network agents. There are none: compute agents realise networks, and compute knows those.

use super::{page, query, url};
use ferrostack_http::{
    ApiResult, Route,
    actix_web::{HttpRequest, web},
};
use ferrostack_model::Error;

const KNOWN: &[&str] = &[
    "id",
    "agent_type",
    "alive",
    "admin_state_up",
    "availability_zone",
    "binary",
    "host",
    "topic",
    "description",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.0/agents", || web::get().to(list)).summary("Lists network agents; there are none"),
        Route::get("/v2.0/agents/{id}", || web::get().to(show))
            .summary("Shows a network agent; there are none"),
    ]
}

async fn list(req: HttpRequest) -> ApiResult {
    page("agents", query(&req, KNOWN)?.apply(Vec::new(), &url(&req, "agents"), missing)?)
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("Agent {} could not be found.", crate::attribute::check::short(id)))
        .named("AgentNotFound")
}

async fn show(req: HttpRequest) -> ApiResult {
    Err(missing(req.match_info().query("id")).into())
}
