//! Version discovery.

use crate::app::App;
use ferrostack_http::{
    ApiResult, Route,
    actix_web::{HttpRequest, HttpResponse, web},
    base_url,
};
use serde_json::{Value, json};

/// The minor versions in Glance's order; see the edge for the paths. 2.8 and 2.10 to 2.13 are about several stores, 2.14 and
/// 2.16 about a cache, which there is none of.
const WITH_STORES: &[&str] = &["v2.15", "v2.13", "v2.12", "v2.11", "v2.10", "v2.9", "v2.8"];
const WITH_ONE_STORE: &[&str] = &["v2.15", "v2.9"];
const ALWAYS: &[&str] = &[CURRENT, "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"];
const CURRENT: &str = "v2.17";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/", || web::get().to(choices)).public().success(300).summary("Lists the API versions."),
        Route::get("/versions", || web::get().to(list)).public().summary("Lists the API versions."),
        Route::get("/v2", || web::get().to(choices))
            .success(300)
            .summary("Lists the API versions to callers with a token."),
        Route::get("/v2/", || web::get().to(choices))
            .success(300)
            .summary("Lists the API versions to callers with a token."),
    ]
}

fn document(app: &App, req: &HttpRequest) -> Value {
    let href = format!("{}/v2/", base_url(req));
    let first = if app.stores.named() { WITH_STORES } else { WITH_ONE_STORE };
    let versions: Vec<_> = first
        .iter()
        .chain(ALWAYS)
        .map(|id| {
            let status = if *id == CURRENT { "CURRENT" } else { "SUPPORTED" };
            json!({"id": id, "status": status, "links": [{"rel": "self", "href": href}]})
        })
        .collect();
    json!({"versions": versions})
}

async fn choices(app: web::Data<App>, req: HttpRequest) -> ApiResult {
    Ok(HttpResponse::MultipleChoices().json(document(&app, &req)))
}

async fn list(app: web::Data<App>, req: HttpRequest) -> ApiResult {
    Ok(HttpResponse::Ok().json(document(&app, &req)))
}
