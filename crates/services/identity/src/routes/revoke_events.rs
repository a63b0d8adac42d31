//! `/v3/OS-REVOKE/events`, all tokens of a user, and what went away with PKI tokens.

use crate::{app::App, faults, list, store, view};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, base_url, json, no_content, query_pairs};
use ferrostack_model::{Error, ErrorKind, Timestamp};
use serde_json::{Value, json};

pub(super) fn rows() -> Vec<Route> {
    let gone = |path| {
        Route::get(path, || web::route().to(gone)).public().success(410).summary("Removed with PKI tokens")
    };
    vec![
        Route::get("/v3/OS-REVOKE/events", || web::route().to(events))
            .policy(&["identity:list_revoke_events"])
            .summary("List revocation events, with `since` those after a time"),
        Route::delete("/v3/users/{user_id}/tokens", || web::route().to(revoke_all))
            .policy(&["identity:revoke_tokens_for_user"])
            .success(204)
            .summary("Revoke all tokens of a user"),
        gone("/v3/auth/tokens/OS-PKI/revoked"),
        gone("/v3/OS-SIMPLE-CERT/ca"),
        gone("/v3/OS-SIMPLE-CERT/certificates"),
    ]
}

async fn events(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_revoke_events", &[])?;
    let query = query_pairs(req.query_string());
    let since =
        match list::last(&query, "since") {
            "" => None,
            text => Some(Timestamp::parse(text).ok_or_else(|| {
                Error::bad_request(format!("invalidate date format {}", faults::short(text)))
            })?),
        };
    let rules = store::revocation::list_since(app.db.reader(), since.unwrap_or(Timestamp(0))).await?;
    let roles = store::role::list_all(app.db.reader()).await?;
    let events: Vec<Value> = rules.iter().filter_map(|r| view::revocation::event(r, &roles)).collect();
    let link = format!("{}/v3/OS-REVOKE/events", base_url(&req));
    json(&json!({"events": events, "links": {"next": null, "self": link, "previous": null}}))
}

async fn revoke_all(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:revoke_tokens_for_user", &[("user_id", &id)])?;
    let mut work = app.begin().await?;
    if store::user::get(&mut *work.tx, &id).await?.is_none() {
        return Err(faults::not_found("user", &id).into());
    }
    work.revoke_user(&id);
    app.commit(work).await?;
    no_content()
}

async fn gone() -> ApiResult {
    let text = "The service you have requested is no longer available on this server.";
    Err(Error::new(ErrorKind::Gone, text).into())
}
