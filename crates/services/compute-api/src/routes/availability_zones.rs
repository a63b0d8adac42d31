//! Availability zones: what hosts say of themselves.

use crate::{
    app::App,
    input,
    store::{control_services, hosts},
    view::services as view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};

const LIST: &str = "os_compute_api:os-availability-zone:list";
const DETAIL: &str = "os_compute_api:os-availability-zone:detail";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-availability-zone", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists availability zones"),
        Route::get("/v2.1/os-availability-zone/detail", || web::route().to(detail))
            .policy(&[DETAIL])
            .summary("Lists availability zones with their hosts"),
    ]
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    input::query(&ctx, "availability_zone.index?", req.query_string())?;
    ctx.enforce(LIST, &[])?;
    json(&view::zones(&hosts::list(&app.db).await?, None, app.settings.compute.service_down_time))
}

async fn detail(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    input::query(&ctx, "availability_zone.detail?", req.query_string())?;
    ctx.enforce(DETAIL, &[])?;
    let control = control_services::list(&app.db).await?;
    json(&view::zones(&hosts::list(&app.db).await?, Some(&control), app.settings.compute.service_down_time))
}
