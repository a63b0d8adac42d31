//! `/v3/OS-OAUTH1/consumers`: kept and shown. OAuth1 itself is not offered.

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    store::{self, consumer::Consumer},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::json;
use std::sync::LazyLock;

const KNOWN: &[&str] = &["description", "secret"];
const ALL: &str = "/v3/OS-OAUTH1/consumers";
const ONE: &str = "/v3/OS-OAUTH1/consumers/{consumer_id}";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get(ALL, || web::route().to(index))
            .policy(&["identity:list_consumers"])
            .summary("List OAuth1 consumers"),
        Route::post(ALL, || web::route().to(create))
            .policy(&["identity:create_consumer"])
            .body(|| CHECKS.body("consumer"))
            .success(201)
            .summary("Create an OAuth1 consumer (OAuth1 logins are not supported)"),
        Route::get(ONE, || web::route().to(show))
            .policy(&["identity:get_consumer"])
            .summary("Show an OAuth1 consumer"),
        Route::patch(ONE, || web::route().to(update))
            .policy(&["identity:update_consumer"])
            .body(|| CHECKS.body("consumer"))
            .summary("Update an OAuth1 consumer"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&["identity:delete_consumer"])
            .success(204)
            .summary("Delete an OAuth1 consumer"),
    ]
}

static CHECKS: LazyLock<Checks> =
    LazyLock::new(|| Checks::new(json!({"description": input::nullable_text()}), &[]));

async fn find(app: &App, id: &str) -> Result<Consumer> {
    store::consumer::get(app.db.reader(), id).await?.ok_or_else(|| faults::not_found("consumer", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_consumers", &[])?;
    let consumers = store::consumer::list(app.db.reader()).await?;
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "consumers", consumers, |c| &c.id, view::consumer::consumer)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_consumer", &[])?;
    let input = CHECKS.object(&body.0, "consumer")?;
    let secret = crate::secrets::generate_secret()?;
    let consumer = Consumer {
        id: id::hex(),
        description: input::string(input, "description").map(str::to_owned),
        secret_digest: app.keys.keyed_digest(&secret),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    let mut work = app.begin().await?;
    store::consumer::insert(&mut *work.tx, &consumer).await?;
    app.commit(work).await?;
    let mut shown = view::consumer::consumer(&consumer, &base_url(&req));
    shown["secret"] = json!(secret);
    created(&json!({"consumer": shown}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:get_consumer", &[])?;
    let consumer = find(&app, &id).await?;
    json(&json!({"consumer": view::consumer::consumer(&consumer, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_consumer", &[])?;
    let input = CHECKS.object(&body.0, "consumer")?;
    input::same_id(input, &id, "consumer")?;
    if input.contains_key("secret") {
        return Err(Error::bad_request("Cannot change consumer secret").into());
    }
    let mut consumer = find(&app, &id).await?;
    if input.contains_key("description") {
        consumer.description = input::string(input, "description").map(str::to_owned);
    }
    consumer.extra = input::keep(&consumer.extra, input, KNOWN);
    let mut work = app.begin().await?;
    if store::consumer::update(&mut *work.tx, &consumer).await? != Change::Updated {
        return Err(faults::raced("consumer").into());
    }
    app.commit(work).await?;
    json(&json!({"consumer": view::consumer::consumer(&consumer, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_consumer", &[])?;
    let mut work = app.begin().await?;
    if store::consumer::delete(&mut *work.tx, &id).await? == 0 {
        return Err(faults::not_found("consumer", &id).into());
    }
    app.commit(work).await?;
    no_content()
}
