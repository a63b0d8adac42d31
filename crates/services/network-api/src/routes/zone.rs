//! Availability zones.

use super::{State, page, query, url};
use crate::view::Object;
use ferrostack_http::{
    ApiResult, Ctx, Route,
    actix_web::{HttpRequest, web},
};
use ferrostack_model::Error;
use serde_json::json;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.0/availability_zones", || web::get().to(list))
            .policy(&["get_availability_zone"])
            .summary("Lists the availability zones of networks"),
    ]
}

async fn list(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let query = query(&req, &["name", "resource", "state"])?;
    let mut zones = Vec::new();
    if ctx.may("get_availability_zone", &[]) {
        let zone = json!({"name": app.zone, "resource": "network", "state": "available"});
        zones.push(zone.as_object().cloned().unwrap_or_else(Object::new));
    }
    page(
        "availability_zones",
        query.apply(zones, &url(&req, "availability_zones"), |name| Error::not_found(name))?,
    )
}
