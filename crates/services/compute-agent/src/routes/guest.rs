//! What compute-api asks of a guest while its user waits.

use super::console::Hosts;
use crate::{host::Host, policy};
use ferrostack_http::{
    ApiResult, Ctx,
    actix_web::{HttpResponse, web},
    json, no_content,
};
use ferrostack_model::{Error, Result};
use std::sync::Arc;

fn host<'a>(hosts: &'a Hosts, name: &str) -> Result<&'a Arc<Host>> {
    hosts.get(name).ok_or_else(|| Error::not_found("This agent has no such host."))
}

/// `GET /hosts/{host}/servers/{server_id}/diagnostics`
pub async fn diagnostics(ctx: Ctx, path: web::Path<(String, String)>, hosts: web::Data<Hosts>) -> ApiResult {
    ctx.enforce(policy::GUEST, &[])?;
    let (name, server_id) = path.into_inner();
    let told = host(&hosts, &name)?.hypervisor.diagnostics(&server_id).await?;
    json(&serde_json::to_value(told).map_err(|e| Error::internal(format!("encoding diagnostics: {e}")))?)
}

/// `POST /hosts/{host}/servers/{server_id}/crash-dump`
pub async fn crash_dump(ctx: Ctx, path: web::Path<(String, String)>, hosts: web::Data<Hosts>) -> ApiResult {
    ctx.enforce(policy::GUEST, &[])?;
    let (name, server_id) = path.into_inner();
    host(&hosts, &name)?.hypervisor.crash_dump(&server_id).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// `DELETE /hosts/{host}/servers/{server_id}/password`
pub async fn forget_password(
    ctx: Ctx,
    path: web::Path<(String, String)>,
    hosts: web::Data<Hosts>,
) -> ApiResult {
    ctx.enforce(policy::GUEST, &[])?;
    let (name, server_id) = path.into_inner();
    host(&hosts, &name)?.shared.ledger.forget_password(&name, &server_id).await?;
    no_content()
}
