//! Keypairs.

use super::flavors::marker_not_found;
use crate::{
    app::App,
    input, keys,
    store::{
        keypairs::{self, Keypair},
        quota,
    },
    view::{keypairs as view, links::Links},
};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, created, json, no_content};
use ferrostack_model::{Error, Result, Timestamp, microversion::feature};
use serde_json::{Value, json};

const INDEX: &str = "os_compute_api:os-keypairs:index";
const SHOW: &str = "os_compute_api:os-keypairs:show";
const CREATE: &str = "os_compute_api:os-keypairs:create";
const DELETE: &str = "os_compute_api:os-keypairs:delete";
/// Longest public key that is stored: Nova's column is a TEXT of 64 KiB.
const MAX_KEY: usize = 65_535;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-keypairs", || web::route().to(index)).policy(&[INDEX]).summary("Lists keypairs"),
        Route::post("/v2.1/os-keypairs", || web::route().to(create))
            .policy(&[CREATE])
            .success(201)
            .summary("Imports or generates a keypair"),
        Route::get("/v2.1/os-keypairs/{name}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a keypair"),
        Route::delete("/v2.1/os-keypairs/{name}", || web::route().to(delete))
            .policy(&[DELETE])
            .success(204)
            .summary("Deletes a keypair"),
    ]
}

/// Whose keypairs: the caller's, or from 2.10 those of the user asked for, if the policy allows.
fn owner(ctx: &Ctx, asked: Option<&str>, rule: &str) -> Result<String> {
    let own = ctx.caller()?.user_id();
    let user_id =
        asked.filter(|id| ctx.version.has(feature::KEYPAIR_USER_ID) && !id.is_empty()).unwrap_or(own);
    ctx.enforce(rule, &[("user_id", user_id)])?;
    Ok(user_id.to_owned())
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "keypairs.index?", req.query_string())?;
    let user_id = owner(&ctx, query.get("user_id"), INDEX)?;
    let paged = ctx.version.has(feature::KEYPAIR_PAGING);
    let max = app.settings.compute.max_limit;
    let (limit, after) =
        if paged { (query.limit(max), query.get("marker").unwrap_or("")) } else { (i64::MAX, "") };
    if !after.is_empty() && keypairs::get(&app.db, &user_id, after).await.is_err() {
        return Err(marker_not_found(after).into());
    }
    let found = keypairs::list(&app.db, &user_id, after, limit).await?;
    let items: Vec<Value> = found.iter().map(|k| json!({"keypair": view::basic(k, ctx.version)})).collect();
    let mut body = json!({"keypairs": items});
    if paged
        && let Some(last) = found.last()
        && found.len() as i64 == limit
    {
        body["keypairs_links"] = Links::of(&req, &ctx).next("os-keypairs", query.pairs(), &last.name);
    }
    json(&body)
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, name: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "keypairs.show?", req.query_string())?;
    let user_id = owner(&ctx, query.get("user_id"), SHOW)?;
    json(&view::full(&keypairs::get(&app.db, &user_id, &name).await?, ctx.version))
}

async fn create(app: web::Data<App>, ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "keypairs.create", body)?;
    let asked = &body["keypair"];
    let user_id = owner(&ctx, asked["user_id"].as_str(), CREATE)?;
    let name = asked["name"].as_str().unwrap_or_default();
    let name = if ctx.legacy { name.trim() } else { name };
    let kind = asked["type"].as_str().unwrap_or("ssh");
    let (public_key, fingerprint, private_key) = match asked["public_key"].as_str() {
        Some(key) if key.len() > MAX_KEY => {
            return Err(Error::bad_request("Keypair data is invalid: the public key is too long").into());
        }
        Some(key) if kind == "x509" => (key.to_owned(), keys::x509_fingerprint(key)?, None),
        Some(key) => (key.to_owned(), keys::ssh_fingerprint(key)?, None),
        None if kind == "x509" => {
            let text = "Keypair data is invalid: certificates are not generated here, import one";
            return Err(Error::bad_request(text).into());
        }
        None => {
            let made = web::block(keys::generate)
                .await
                .map_err(|e| Error::internal(format!("key generation: {e}")))??;
            (made.public_key, made.fingerprint, Some(made.private_key))
        }
    };
    let limits = quota::limits(&app.db, ctx.caller()?.project_id(), &app.settings.compute.quota).await?;
    let new = Keypair {
        user_id,
        name: name.into(),
        number: 0,
        kind: kind.into(),
        public_key,
        fingerprint,
        created_at: Timestamp::now(),
    };
    let made = keypairs::insert(&app.db, new, limits.key_pairs).await?;
    let body = view::created(&made, ctx.version, private_key.as_deref());
    if ctx.version.has(feature::KEYPAIR_TYPE) { created(&body) } else { json(&body) }
}

async fn delete(app: web::Data<App>, ctx: Ctx, req: HttpRequest, name: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "keypairs.delete?", req.query_string())?;
    let user_id = owner(&ctx, query.get("user_id"), DELETE)?;
    keypairs::delete(&app.db, &user_id, &name).await?;
    if ctx.version.has(feature::KEYPAIR_TYPE) {
        no_content()
    } else {
        Ok(HttpResponse::Accepted().content_type("application/json").finish())
    }
}
