//! `os-baremetal-nodes` through 2.35: this cloud has no bare metal service.

use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route};
use ferrostack_model::{
    Error, ErrorKind,
    microversion::{Feature, until},
};

const LIST: &str = "os_compute_api:os-baremetal-nodes:list";
const SHOW: &str = "os_compute_api:os-baremetal-nodes:show";
const WINDOW: Feature = until(35);
const ACTIONS: &[(&str, &str)] = &[("add_interface", "port-create"), ("remove_interface", "port-delete")];

/// The rows.
pub fn routes() -> Vec<Route> {
    let rows = vec![
        Route::get("/v2.1/os-baremetal-nodes", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists bare metal nodes"),
        Route::get("/v2.1/os-baremetal-nodes/{id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a bare metal node"),
        Route::post("/v2.1/os-baremetal-nodes", || web::route().to(create)).summary("Refused by Nova"),
        Route::delete("/v2.1/os-baremetal-nodes/{id}", || web::route().to(delete)).summary("Refused by Nova"),
        Route::post("/v2.1/os-baremetal-nodes/{id}/action", || web::route().to(action))
            .summary("Refused by Nova"),
    ];
    rows.into_iter().map(|row| row.window(WINDOW)).collect()
}

fn absent(ctx: &Ctx, rule: &str) -> ApiResult {
    ctx.enforce(rule, &[])?;
    Err(Error::new(ErrorKind::NotImplemented, "The requested functionality is not supported.").into())
}

async fn index(ctx: Ctx) -> ApiResult {
    absent(&ctx, LIST)
}

async fn show(ctx: Ctx) -> ApiResult {
    absent(&ctx, SHOW)
}

fn use_ironic(command: &str) -> ApiResult {
    Err(Error::bad_request(format!(
        "Command Not supported. Please use Ironic command {command} to perform this action."
    ))
    .into())
}

async fn create(_: Ctx) -> ApiResult {
    use_ironic("node-create")
}

async fn delete(_: Ctx, _: HttpRequest) -> ApiResult {
    use_ironic("node-delete")
}

async fn action(_: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    let name = match body.as_object() {
        Some(map) if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
        _ => return Err(Error::bad_request("Malformed request body").into()),
    };
    match ACTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, command)) => use_ironic(command),
        None => {
            let short: String = name.chars().take(255).collect();
            Err(Error::bad_request(format!("There is no such action: {short}")).into())
        }
    }
}
