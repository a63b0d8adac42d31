//! Versions and the list of resources.

use super::url;
use ferrostack_http::{
    ApiResult, Route,
    actix_web::{HttpRequest, web},
    base_url, json,
};
use serde_json::json;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/", || web::get().to(versions)).public().summary("Lists the API versions"),
        Route::get("/v2.0", || web::get().to(resources)).summary("Lists the resources of the API"),
        Route::get("/v2.0/", || web::get().to(resources)).summary("Lists the resources of the API"),
    ]
}

async fn versions(req: HttpRequest) -> ApiResult {
    let href = format!("{}/v2.0/", base_url(&req));
    json(&json!({"versions": [
        {"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": href}]}]}))
}

async fn resources(req: HttpRequest) -> ApiResult {
    let resource = |name: &str, plural: &str| json!({"name": name, "collection": plural, "links": [{"rel": "self", "href": url(&req, plural)}]});
    json(&json!({"resources":
        [resource("network", "networks"), resource("subnet", "subnets"), resource("port", "ports")]}))
}
