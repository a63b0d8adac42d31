//! Version discovery. Needs no token.

use crate::view::versions::{Api, all, one};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Route, base_url, json};

/// The rows.
pub fn routes() -> Vec<Route> {
    let v20 = || web::route().to(v20);
    let v21 = || web::route().to(v21);
    vec![
        Route::get("/", || web::route().to(index)).public().summary("Lists the API versions"),
        Route::get("/v2.1", v21).public().summary("Shows version 2.1"),
        Route::get("/v2.1/", v21).public().summary("Shows version 2.1"),
        Route::get("/v2", v20).public().summary("Shows version 2.0"),
        Route::get("/v2/", v20).public().summary("Shows version 2.0"),
    ]
}

async fn index(req: HttpRequest) -> ApiResult {
    json(&all(&base_url(&req)))
}

async fn v20(req: HttpRequest) -> ApiResult {
    json(&one(Api::V20, &base_url(&req)))
}

async fn v21(req: HttpRequest) -> ApiResult {
    json(&one(Api::V21, &base_url(&req)))
}
