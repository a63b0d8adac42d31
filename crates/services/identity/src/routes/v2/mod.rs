//! Identity API v2.0, which Keystone had until Queens: for SDKs that know nothing newer (`identity.v2_api`).
//!
//! A translation: the handlers of v3 do the work, with the same policies and stores. It knows the domain Default
//! and nothing of domains, delegation or the system.

mod endpoints;
mod ksadm;
mod tenants;
mod tokens;
mod users;

use crate::{app::App, bootstrap::DEFAULT_DOMAIN, faults, store};
use actix_web::{
    HttpRequest, HttpResponse,
    body::MessageBody,
    http::header::{CONTENT_TYPE, HeaderValue},
    web,
};
use ferrostack_http::{ApiError, ApiResult, Ctx, JsonBody, Route, base_url, json};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};

/// Every route of v2.0.
pub(super) fn rows() -> Vec<Route> {
    let version = |path| Route::get(path, || web::route().to(version)).public().summary("Show API v2.0");
    let about = vec![
        version("/v2.0"),
        version("/v2.0/"),
        Route::get("/v2.0/extensions", || web::route().to(extensions))
            .public()
            .summary("List extensions (v2.0)"),
        Route::get("/v2.0/extensions/{alias}", || web::route().to(extension))
            .public()
            .summary("Show an extension (v2.0)"),
    ];
    [about, tokens::rows(), tenants::rows(), users::rows(), ksadm::rows(), endpoints::rows()].concat()
}

/// The version's document.
pub(super) fn document(base: &str) -> Value {
    json!({
        "id": "v2.0", "status": "deprecated", "updated": "2016-08-04T00:00:00Z",
        "links": [
            {"rel": "self", "href": format!("{base}/v2.0/")},
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v2.0+json"}],
    })
}

async fn version(req: HttpRequest) -> ApiResult {
    json(&json!({"version": document(&base_url(&req))}))
}

fn ksadm_extension() -> Value {
    json!({
        "alias": "OS-KSADM", "name": "OpenStack Keystone Admin", "updated": "2013-07-11T17:14:00-00:00",
        "namespace": "https://docs.openstack.org/identity/api/ext/OS-KSADM/v1.0",
        "description": "OpenStack extensions to Keystone v2.0 API enabling Administrative Operations.",
        "links": [],
    })
}

async fn extensions() -> ApiResult {
    json(&json!({"extensions": {"values": [ksadm_extension()]}}))
}

async fn extension(alias: web::Path<String>) -> ApiResult {
    if *alias != "OS-KSADM" {
        return Err(faults::not_found("extension", &alias).into());
    }
    json(&json!({"extension": ksadm_extension()}))
}

/// The member `name` of an answer of v3.
fn inner(answer: ApiResult, name: &str) -> Result<Value> {
    let response = answer.map_err(|ApiError(error)| error)?;
    let bytes =
        response.into_body().try_into_bytes().map_err(|_| Error::internal("an answer without an end"))?;
    let mut body: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error::internal(format!("an answer of v3: {e}")))?;
    Ok(body.get_mut(name).map(Value::take).unwrap_or_default())
}

/// 204 with a content type: an old SDK fails without one.
fn nothing(answer: ApiResult) -> ApiResult {
    let mut response: HttpResponse = answer?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The object `name` of a request; what is null is as if it were not there.
fn given(body: &JsonBody, name: &str) -> Result<Map<String, Value>> {
    let object = body.0.get(name).ok_or_else(|| faults::expected(name, "request body"))?;
    let mut object = object.as_object().cloned().ok_or_else(|| {
        Error::bad_request(format!("Invalid input for field/attribute {name}. It is not of type 'object'"))
    })?;
    object.retain(|_, value| !value.is_null());
    Ok(object)
}

/// A body for v3.
fn body(name: &str, object: Map<String, Value>) -> JsonBody {
    JsonBody(json!({name: object}))
}

/// 404 for a user of another domain, after what the policy says.
async fn known_user(app: &App, ctx: &Ctx, rule: &str, id: &str) -> Result<()> {
    let user = store::user::get(app.db.reader(), id).await?;
    if user.is_some_and(|u| u.domain_id == DEFAULT_DOMAIN) {
        return Ok(());
    }
    ctx.enforce(rule, &[])?;
    Err(faults::not_found("user", id))
}

/// 404 for a project of another domain, after what the policy says.
async fn known_tenant(app: &App, ctx: &Ctx, rule: &str, id: &str) -> Result<()> {
    let project = store::project::get(app.db.reader(), id).await?;
    if project.is_some_and(|p| p.domain_id == DEFAULT_DOMAIN && p.is_domain == 0) {
        return Ok(());
    }
    ctx.enforce(rule, &[])?;
    Err(faults::not_found("project", id))
}
