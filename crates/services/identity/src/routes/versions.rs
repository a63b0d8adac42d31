//! Version discovery.

use super::v2;
use crate::{app::App, json_home};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use ferrostack_http::{ApiResult, Route, base_url, json};
use serde_json::{Value, json};

pub(super) fn rows() -> Vec<Route> {
    let v3 = |path| Route::get(path, || web::route().to(version)).public().summary("Show API v3");
    vec![
        Route::get("/", || web::route().to(versions)).public().success(300).summary("List API versions"),
        v3("/v3"),
        v3("/v3/"),
    ]
}

fn document(base: &str) -> Value {
    json!({
        "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{base}/v3/")}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

async fn versions(app: web::Data<App>, req: HttpRequest) -> ApiResult {
    if let Some(answer) = json_home::answer(&req, true) {
        return answer;
    }
    let base = base_url(&req);
    let mut values = vec![document(&base)];
    if app.v2_api {
        values.push(v2::document(&base));
    }
    Ok(HttpResponse::MultipleChoices()
        .insert_header((header::LOCATION, format!("{base}/v3/")))
        .json(json!({"versions": {"values": values}})))
}

async fn version(req: HttpRequest) -> ApiResult {
    if let Some(answer) = json_home::answer(&req, false) {
        return answer;
    }
    json(&json!({"version": document(&base_url(&req))}))
}
