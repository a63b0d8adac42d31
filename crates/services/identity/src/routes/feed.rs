//! What other services need to verify tokens by themselves. Our own addition to the API.

use crate::{app::App, store};
use actix_web::{HttpRequest, web};
use ferrostack_client::RevocationPage;
use ferrostack_http::{ApiResult, Ctx, Route, json, query_pairs};
use ferrostack_model::Error;

/// Rules in one page.
const PAGE: i64 = 1000;

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get("/v3/ferrostack/token-keys", || web::route().to(keys))
            .public()
            .summary("List the public keys of tokens"),
        Route::get("/v3/ferrostack/revocations", || web::route().to(revocations))
            .policy(&["identity:list_revoke_events"])
            .summary("List revocation rules after a sequence number"),
    ]
}

async fn keys(app: web::Data<App>) -> ApiResult {
    // Who asks may hold a token of a key that a replica made a moment ago.
    let of = app.clone();
    let read = web::block(move || of.keys.reload()).await;
    if let Ok(Err(error)) = read {
        tracing::debug!(error = error.for_log(), "token keys not read again");
    }
    json(&app.keys.public())
}

async fn revocations(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_revoke_events", &[])?;
    let query = query_pairs(req.query_string());
    let after = match query.iter().rev().find(|(name, _)| name == "after") {
        None => 0,
        Some((_, text)) => text.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(|| {
            Error::bad_request("Invalid input for field/attribute after. It must be a sequence number.")
        })?,
    };
    // The clock first: every rule up to it is committed. A page ends at its last rule, or at the clock.
    let clock = store::revocation::clock(app.db.reader()).await?;
    let events = store::revocation::list(app.db.reader(), after, clock.seq, PAGE).await?;
    json(&RevocationPage {
        events,
        last_seq: clock.seq,
        key_ids: app.keys.ids(),
        allow_expired_window_seconds: app.allow_expired_window,
    })
}
