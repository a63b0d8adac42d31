//! Console output.

use crate::{host::Host, policy};
use ferrostack_http::{
    ApiResult, Ctx,
    actix_web::{HttpResponse, web},
    query_pairs,
};
use ferrostack_model::Error;
use std::{collections::HashMap, sync::Arc};

/// The hosts of this process by name.
pub type Hosts = HashMap<String, Arc<Host>>;

/// Most bytes that are given out at once, and what is given out unless asked otherwise.
const MOST_BYTES: usize = 1 << 20;

/// `GET /hosts/{host}/servers/{server_id}/console?bytes=N`
pub async fn show(
    ctx: Ctx,
    path: web::Path<(String, String)>,
    request: ferrostack_http::actix_web::HttpRequest,
    hosts: web::Data<Hosts>,
) -> ApiResult {
    ctx.enforce(policy::CONSOLE, &[])?;
    let (host, server_id) = path.into_inner();
    let mut bytes = MOST_BYTES;
    for (name, value) in query_pairs(request.query_string()) {
        if name == "bytes" {
            bytes = value
                .parse::<usize>()
                .map_err(|_| Error::bad_request("Invalid input for query parameter bytes."))?
                .min(MOST_BYTES);
        }
    }
    let host = hosts.get(&host).ok_or_else(|| Error::not_found("This agent has no such host."))?;
    let output = host.hypervisor.console_output(&server_id, bytes).await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(output))
}
