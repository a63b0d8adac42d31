//! OS-FEDERATION as a Keystone without identity providers answers it: federation is not supported.

use super::access;
use crate::{faults, list};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, query_pairs};
use ferrostack_model::Error;
use serde_json::Value;

const PROVIDERS: &str = "/v3/OS-FEDERATION/identity_providers";
const PROVIDER: &str = "/v3/OS-FEDERATION/identity_providers/{idp_id}";
const PROTOCOLS: &str = "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols";
const PROTOCOL: &str = "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}";
const MAPPINGS: &str = "/v3/OS-FEDERATION/mappings";
const MAPPING: &str = "/v3/OS-FEDERATION/mappings/{mapping_id}";
const SERVICES: &str = "/v3/OS-FEDERATION/service_providers";
const SERVICE: &str = "/v3/OS-FEDERATION/service_providers/{sp_id}";

/// An empty list.
macro_rules! none {
    ($path:expr, $plural:literal, $rule:literal) => {
        Route::get($path, || {
            web::route().to(|ctx: Ctx, req: HttpRequest| async move { nothing(&ctx, &req, $rule, $plural) })
        })
        .policy(&[$rule])
        .summary(concat!("Empty list of ", $plural, ": federation is not supported"))
    };
}

/// 404: there is none of the kind.
macro_rules! absent {
    ($method:ident, $path:expr, $what:literal, $rule:literal) => {
        Route::$method($path, || {
            web::route().to(|ctx: Ctx, path: web::Path<Vec<String>>| async move {
                missing(&ctx, &path.into_inner(), $rule, $what)
            })
        })
        .policy(&[$rule])
        .success(404)
        .summary("Always absent: federation is not supported")
    };
}

pub(super) fn rows() -> Vec<Route> {
    let refused = |row: Route| {
        row.public().success(401).summary("Always refused: logins by federation are not supported")
    };
    let websso = "/v3/auth/OS-FEDERATION/websso/{protocol_id}";
    let websso_of = "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso";
    let auth = "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth";
    let assertion = |path| {
        Route::post(path, || web::route().to(no_assertion))
            .public()
            .success(404)
            .summary("Always absent: SAML assertions are not supported")
    };
    vec![
        Route::get("/v3/OS-FEDERATION/projects", || web::route().to(access::projects))
            .policy(&["identity:get_auth_projects"])
            .summary("List projects the caller can scope to"),
        Route::get("/v3/OS-FEDERATION/domains", || web::route().to(access::domains))
            .policy(&["identity:get_auth_domains"])
            .summary("List domains the caller can scope to"),
        none!(PROVIDERS, "identity_providers", "identity:list_identity_providers"),
        absent!(get, PROVIDER, "Identity Provider", "identity:get_identity_provider"),
        absent!(patch, PROVIDER, "Identity Provider", "identity:update_identity_provider"),
        absent!(delete, PROVIDER, "Identity Provider", "identity:delete_identity_provider"),
        absent!(get, PROTOCOLS, "Identity Provider", "identity:list_protocols"),
        absent!(get, PROTOCOL, "Identity Provider", "identity:get_protocol"),
        absent!(put, PROTOCOL, "Identity Provider", "identity:create_protocol"),
        absent!(patch, PROTOCOL, "Identity Provider", "identity:update_protocol"),
        absent!(delete, PROTOCOL, "Identity Provider", "identity:delete_protocol"),
        none!(MAPPINGS, "mappings", "identity:list_mappings"),
        absent!(get, MAPPING, "mapping", "identity:get_mapping"),
        absent!(patch, MAPPING, "mapping", "identity:update_mapping"),
        absent!(delete, MAPPING, "mapping", "identity:delete_mapping"),
        none!(SERVICES, "service_providers", "identity:list_service_providers"),
        absent!(get, SERVICE, "Service Provider", "identity:get_service_provider"),
        absent!(patch, SERVICE, "Service Provider", "identity:update_service_provider"),
        absent!(delete, SERVICE, "Service Provider", "identity:delete_service_provider"),
        refused(Route::get(auth, || web::route().to(unsupported))),
        refused(Route::post(auth, || web::route().to(unsupported))),
        refused(Route::get(websso, || web::route().to(unsupported))),
        refused(Route::post(websso, || web::route().to(unsupported))),
        refused(Route::get(websso_of, || web::route().to(unsupported))),
        refused(Route::post(websso_of, || web::route().to(unsupported))),
        Route::get("/v3/OS-FEDERATION/saml2/metadata", || web::route().to(no_metadata))
            .public()
            .success(404)
            .summary("Always absent: SAML is not supported"),
        assertion("/v3/auth/OS-FEDERATION/saml2"),
        assertion("/v3/auth/OS-FEDERATION/saml2/ecp"),
    ]
}

fn nothing(ctx: &Ctx, req: &HttpRequest, rule: &str, plural: &str) -> ApiResult {
    ctx.enforce(rule, &[])?;
    let query = query_pairs(req.query_string());
    list::answer(req, &query, plural, Vec::<()>::new(), |()| "", |(), _| Value::Null)
}

fn missing(ctx: &Ctx, path: &[String], rule: &str, what: &str) -> ApiResult {
    ctx.enforce(rule, &[])?;
    Err(faults::not_found(what, path.first().map_or("", String::as_str)).into())
}

/// What Keystone says of a login by a method that is not enabled.
pub(super) fn unsupported_method() -> Error {
    let mut error = Error::unauthorized();
    error.public = "Attempted to authenticate with an unsupported method.".into();
    error
}

async fn unsupported() -> ApiResult {
    Err(unsupported_method().into())
}

async fn no_metadata() -> ApiResult {
    Err(Error::not_found("Could not find SAML metadata.").into())
}

async fn no_assertion() -> ApiResult {
    Err(Error::not_found("Could not find Service Provider.").into())
}
