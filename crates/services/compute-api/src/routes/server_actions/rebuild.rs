//! `rebuild`.

use super::{Asked, ServerAction};
use crate::{
    rebuild,
    routes::servers,
    view::{links::Links, servers::Extent},
};
use actix_web::{HttpResponse, http::header};
use ferrostack_model::{Result, microversion::feature};
use serde_json::json;

const RULE: &str = "os_compute_api:servers:rebuild";
const TRUSTED_CERTS: &str = "os_compute_api:servers:rebuild:trusted_certs";

pub(super) const ACTIONS: &[ServerAction] =
    &[ServerAction::new("rebuild", RULE, |asked| Box::pin(begin(asked)))];

async fn begin(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, req, server, wish } = asked;
    if wish.get("trusted_image_certificates").is_some() {
        ctx.enforce(TRUSTED_CERTS, &[("project_id", &server.project_id), ("user_id", &server.user_id)])?;
    }
    let begun = rebuild::begin(app, ctx, server, &wish).await?;
    let v = ctx.version;
    let extent = if v.has(feature::SERVER_FULL_UPDATE) { Extent::Show } else { Extent::Plain };
    let key_name = begun.server.key_name.clone();
    let path = format!("servers/{}", begun.server.id);
    let mut shown = servers::shown(app, ctx, req, begun.server, extent).await?;
    if v.has(feature::REBUILD_KEY) {
        shown["key_name"] = json!(key_name);
    }
    if v.has(feature::REBUILD_USER_DATA) {
        shown["user_data"] = json!(begun.user_data);
    }
    shown["adminPass"] = json!(begun.admin_pass.0);
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, Links::of(req, ctx).url(&path)))
        .json(json!({"server": shown})))
}
