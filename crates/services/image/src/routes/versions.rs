//! Version discovery.

use ferrostack_http::{
    ApiResult, Route,
    actix_web::{HttpRequest, HttpResponse, web},
    base_url,
};
use serde_json::{Value, json};

/// The minor versions all of whose promises are kept, newest first; see the edge for the paths.
/// 2.8 and 2.10 to 2.14 need several stores or a cache, 2.17 the location API.
const MINORS: &[&str] = &["v2.15", "v2.9", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"];

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

fn document(req: &HttpRequest) -> Value {
    let href = format!("{}/v2/", base_url(req));
    let versions: Vec<_> = MINORS
        .iter()
        .enumerate()
        .map(|(i, id)| {
            let status = if i == 0 { "CURRENT" } else { "SUPPORTED" };
            json!({"id": id, "status": status, "links": [{"rel": "self", "href": href}]})
        })
        .collect();
    json!({"versions": versions})
}

async fn choices(req: HttpRequest) -> ApiResult {
    Ok(HttpResponse::MultipleChoices().json(document(&req)))
}

async fn list(req: HttpRequest) -> ApiResult {
    Ok(HttpResponse::Ok().json(document(&req)))
}
