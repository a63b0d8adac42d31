//! OS-OAUTH1 and OS-OAUTH2 as a Keystone answers that has not enabled these methods.

use super::federation::unsupported_method;
use crate::{app::App, list, store};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode, http::header, web};
use ferrostack_http::{ApiResult, Ctx, Route, query_pairs};
use ferrostack_model::Error;
use serde_json::{Value, json};

const TOKENS: &str = "/v3/users/{user_id}/OS-OAUTH1/access_tokens";
const TOKEN: &str = "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}";
const ROLES: &str = "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles";
const ROLE: &str = "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles/{role_id}";

/// 404: there are no access tokens.
macro_rules! absent {
    ($method:ident, $path:expr, $rule:literal) => {
        Route::$method($path, || {
            web::route().to(|ctx: Ctx| async move { no_token(&ctx, $rule, "Access token not found") })
        })
        .policy(&[$rule])
        .success(404)
        .summary("Always absent: OAuth1 is not supported")
    };
}

pub(super) fn rows() -> Vec<Route> {
    let refused = |path| {
        Route::post(path, || web::route().to(unsupported))
            .public()
            .success(401)
            .summary("Always refused: OAuth1 is not supported")
    };
    vec![
        refused("/v3/OS-OAUTH1/request_token"),
        refused("/v3/OS-OAUTH1/access_token"),
        Route::put("/v3/OS-OAUTH1/authorize/{request_token_id}", || web::route().to(authorize))
            .policy(&["identity:authorize_request_token"])
            .success(404)
            .summary("Always absent: OAuth1 is not supported"),
        Route::get(TOKENS, || web::route().to(tokens))
            .policy(&["identity:list_access_tokens"])
            .summary("Empty list of access tokens: OAuth1 is not supported"),
        absent!(get, TOKEN, "identity:get_access_token"),
        absent!(delete, TOKEN, "identity:delete_access_token"),
        absent!(get, ROLES, "identity:list_access_token_roles"),
        absent!(get, ROLE, "identity:get_access_token_role"),
        Route::post("/v3/OS-OAUTH2/token", || web::route().to(oauth2))
            .public()
            .success(400)
            .summary("Always refused: OAuth2 is not supported"),
    ]
}

fn no_token(ctx: &Ctx, rule: &str, text: &str) -> ApiResult {
    ctx.enforce(rule, &[])?;
    Err(Error::not_found(text).into())
}

async fn unsupported() -> ApiResult {
    Err(unsupported_method().into())
}

async fn authorize(ctx: Ctx) -> ApiResult {
    no_token(&ctx, "identity:authorize_request_token", "Request token not found")
}

async fn tokens(app: web::Data<App>, ctx: Ctx, req: HttpRequest, user_id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:list_access_tokens", &[])?;
    if store::user::get(app.db.reader(), &user_id).await?.is_none() {
        return Err(crate::faults::not_found("user", &user_id).into());
    }
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "access_tokens", Vec::<()>::new(), |()| "", |(), _| Value::Null)
}

/// RFC 6749, section 5.2, with no way for a client to authenticate.
async fn oauth2(app: web::Data<App>, form: Option<web::Form<Vec<(String, String)>>>) -> ApiResult {
    let grant = form.iter().flat_map(|f| f.iter()).find(|(name, _)| name == "grant_type");
    let (status, error, text) = match grant.map(|(_, value)| value.as_str()) {
        None => (StatusCode::BAD_REQUEST, "invalid_request", "The parameter grant_type is required."),
        Some("client_credentials") => {
            (StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed.")
        }
        Some(_) => {
            (StatusCode::BAD_REQUEST, "unsupported_grant_type", "The parameter grant_type is not supported.")
        }
    };
    let mut answer = HttpResponse::build(status);
    if status == StatusCode::UNAUTHORIZED {
        answer.insert_header((header::WWW_AUTHENTICATE, format!("Keystone uri=\"{}\"", app.auth_uri)));
    }
    Ok(answer.json(json!({"error": error, "error_description": text})))
}
