//! `/v3/ec2tokens` and `/v3/s3tokens`: tokens for signed requests.
//!
//! The caller is the service that took the request, and says who it is by its own token with the role service or
//! admin: whoever merely got hold of a signature gets nothing for it (S-2025-002).

use super::tokens::{body, with_token};
use crate::{
    app::App,
    auth::{Signed, redeem},
    input::Checks,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use serde_json::json;
use std::sync::LazyLock;

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::post("/v3/ec2tokens", || web::route().to(ec2))
            .policy(&["identity:ec2tokens_validate"])
            .body(|| BODY.document())
            .summary("Get a token for a signed EC2 request"),
        Route::post("/v3/s3tokens", || web::route().to(s3))
            .policy(&["identity:s3tokens_validate"])
            .body(|| BODY.document())
            .summary("Get a token for a signed S3 request"),
    ]
}

/// For the API reference: what does not fit proves nothing and is answered 401.
static BODY: LazyLock<Checks> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let request = json!({"type": "object", "required": ["access", "signature"], "properties": {
        "access": text, "signature": text, "host": text, "verb": text, "path": text, "body_hash": text,
        "params": {"type": "object"}, "headers": {"type": "object"}, "token": text,
    }});
    let names = ["credentials", "credential", "ec2Credentials"];
    let properties: serde_json::Map<_, _> =
        names.map(|name| (name.to_owned(), request.clone())).into_iter().collect();
    Checks::of(json!({"type": "object", "properties": properties, "minProperties": 1}))
});

async fn ec2(app: web::Data<App>, ctx: Ctx, req: HttpRequest, input: JsonBody) -> ApiResult {
    ctx.enforce("identity:ec2tokens_validate", &[])?;
    let issued = redeem(&app, &input.0, Signed::Ec2).await?;
    with_token(json(&body(&app, &req, &issued.claims, &issued.context).await?)?, &issued.id)
}

/// As Keystone's, the answer says what the token stands for, but does not hold it.
async fn s3(app: web::Data<App>, ctx: Ctx, req: HttpRequest, input: JsonBody) -> ApiResult {
    ctx.enforce("identity:s3tokens_validate", &[])?;
    let issued = redeem(&app, &input.0, Signed::S3).await?;
    json(&body(&app, &req, &issued.claims, &issued.context).await?)
}
