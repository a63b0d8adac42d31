//! The disks of a guest that is off, for the agent of the host it moves to.

use super::console::Hosts;
use crate::{
    files::transfer::{self, Disks},
    policy,
};
use ferrostack_http::{
    ApiResult, Ctx,
    actix_web::{HttpRequest, HttpResponse, web},
    json, query_pairs,
};
use ferrostack_model::{Error, Result};
use std::{io::SeekFrom, sync::Arc};
use tokio::io::AsyncSeekExt;

fn host(hosts: &Hosts, name: &str) -> Result<Arc<crate::host::Host>> {
    hosts.get(name).cloned().ok_or_else(|| Error::not_found("This agent has no such host."))
}

/// `GET /hosts/{host}/servers/{server_id}/disks`
pub async fn index(ctx: Ctx, path: web::Path<(String, String)>, hosts: web::Data<Hosts>) -> ApiResult {
    ctx.enforce(policy::DISKS, &[])?;
    let (name, server_id) = path.into_inner();
    let disks = host(&hosts, &name)?.hypervisor.disks(&server_id).await?;
    json(&Disks { disks })
}

/// `GET /hosts/{host}/servers/{server_id}/disks/{name}?offset=N&stamp=S`: frames of the file from there on.
/// 409 if it is not the one of that stamp any more.
pub async fn show(
    ctx: Ctx,
    path: web::Path<(String, String, String)>,
    request: HttpRequest,
    hosts: web::Data<Hosts>,
) -> ApiResult {
    ctx.enforce(policy::DISKS, &[])?;
    let (name, server_id, disk) = path.into_inner();
    let (mut offset, mut stamp) = (0, None);
    for (name, value) in query_pairs(request.query_string()) {
        match name.as_str() {
            "offset" => {
                offset = value
                    .parse::<u64>()
                    .map_err(|_| Error::bad_request("Invalid input for query parameter offset."))?;
            }
            "stamp" => stamp = Some(value),
            _ => {}
        }
    }
    let hypervisor = host(&hosts, &name)?.hypervisor.clone();
    let known = hypervisor.disks(&server_id).await?;
    let file = known
        .into_iter()
        .find(|file| file.name == disk)
        .ok_or_else(|| Error::not_found("The guest has no such disk."))?;
    if stamp.is_some_and(|stamp| stamp != file.stamp) {
        return Err(Error::conflict("The disk has changed.").into());
    }
    if offset > file.bytes {
        return Err(Error::bad_request("Invalid input for query parameter offset.").into());
    }
    let mut reader = hypervisor.open_disk(&server_id, &disk).await?;
    reader
        .seek(SeekFrom::Start(offset))
        .await
        .map_err(|e| Error::internal(format!("disk {disk} of {server_id}: {e}")))?;
    Ok(HttpResponse::Ok().content_type("application/octet-stream").streaming(transfer::frames(reader)))
}
