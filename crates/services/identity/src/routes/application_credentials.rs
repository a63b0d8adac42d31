//! `/v3/users/{user_id}/application_credentials`

use crate::{
    app::App,
    auth::{Context, Delegation, delegation},
    faults,
    input::{self, Checks},
    list, secrets,
    store::{
        self,
        access_rule::AccessRule,
        application_credential::{AppCred, Row},
        role::Role,
    },
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, RevocationEvent, Timestamp, TokenClaims, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Longest text of all access rules of a credential, bytes: they travel in its tokens.
const MAX_RULES: usize = 4096;
const MANAGED: &str = "additional application credentials";

pub(super) fn rows() -> Vec<Route> {
    let all = "/v3/users/{user_id}/application_credentials";
    let one = "/v3/users/{user_id}/application_credentials/{application_credential_id}";
    vec![
        Route::get(all, || web::route().to(index))
            .policy(&["identity:list_application_credentials"])
            .summary("List a user's application credentials"),
        Route::post(all, || web::route().to(create))
            .policy(&["identity:create_application_credential"])
            .body(|| CREATE.body("application_credential"))
            .success(201)
            .summary("Create an application credential"),
        Route::get(one, || web::route().to(show))
            .policy(&["identity:get_application_credential"])
            .summary("Show an application credential"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_application_credential"])
            .success(204)
            .summary("Delete an application credential"),
    ]
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| {
    let role = json!({"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
        "properties": {"id": input::id(), "name": input::name()}});
    let rule = json!({"type": "object", "additionalProperties": false, "properties": {
        "id": input::id(),
        "path": {"type": "string", "maxLength": 225, "pattern": "^/.*"},
        "method": {"type": "string", "enum": ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]},
        "service": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"}}});
    Checks::of(json!({"type": "object", "additionalProperties": false, "required": ["name"], "properties": {
        "id": input::text(), "name": input::name(), "description": input::nullable_text(),
        "secret": input::nullable_text(), "expires_at": input::nullable_text(), "project_id": input::text(),
        "system": input::nullable_text(), "unrestricted": {"type": ["boolean", "null"]},
        "roles": {"type": "array", "items": role}, "access_rules": {"type": "array", "items": rule}}}))
});

fn invalid(detail: &str) -> Error {
    Error::bad_request(format!("Invalid application credential: {detail}"))
}

/// The user's credential of that id. 404 where the policy lets the caller at the user but not every user has it.
async fn allowed(app: &App, ctx: &Ctx, path: &(String, String), rule: &str) -> Result<AppCred> {
    ctx.enforce(rule, &[("user_id", &path.0)])?;
    let found = store::application_credential::get(app.db.reader(), &path.1).await?;
    found
        .filter(|c| c.row.user_id == path.0)
        .ok_or_else(|| faults::not_found("Application Credential", &path.1))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, user_id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:list_application_credentials", &[("user_id", &user_id)])?;
    let query = query_pairs(req.query_string());
    let mut all = store::application_credential::list(app.db.reader(), &user_id).await?;
    all.retain(|c| list::passes(&query, "name", &c.row.name));
    let roles = store::role::list_all(app.db.reader()).await?;
    list::answer(
        &req,
        &query,
        "application_credentials",
        all,
        |c| &c.row.id,
        |c, base| view::application_credential::application_credential(c, &roles, base),
    )
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let cred = allowed(&app, &ctx, &path, "identity:get_application_credential").await?;
    let roles = store::role::list_all(app.db.reader()).await?;
    let body = view::application_credential::application_credential(&cred, &roles, &base_url(&req));
    json(&json!({"application_credential": body}))
}

/// The roles asked for, all of which the caller's token must give now (a role granted since it was got counts, as in
/// Keystone); without any all that it gives. A token that is limited itself hands on no more than it was given.
async fn roles(app: &App, claims: &TokenClaims, input: &Map<String, Value>) -> Result<Vec<Role>> {
    let context = Context::of_claims(&app.db, claims).await?.ok_or_else(Error::unauthorized)?;
    let unassigned = || invalid("Cannot create an application credential with unassigned role");
    let asked = input.get("roles").and_then(Value::as_array).filter(|r| !r.is_empty());
    let Some(asked) = asked else {
        let limit = context.delegation.as_ref();
        let own = |role: &Role| match limit {
            Some(Delegation::AppCred(cred)) => cred.roles.contains(&role.id),
            _ => true,
        };
        let all: Vec<Role> = context.roles.iter().filter(|r| own(r)).cloned().collect();
        return if all.is_empty() { Err(unassigned()) } else { Ok(all) };
    };
    let mut found = Vec::new();
    for role in asked {
        let member = |name: &str| role.get(name).and_then(Value::as_str);
        let known = match (member("id"), member("name")) {
            (Some(id), _) => store::role::get(app.db.reader(), id).await?,
            (None, Some(name)) => store::role::get_by_name(app.db.reader(), name).await?,
            (None, None) => None,
        };
        let name = member("id").or(member("name")).unwrap_or_default();
        let known = known.ok_or_else(|| faults::not_found("role", name))?;
        if !context.roles.iter().any(|r| r.id == known.id) {
            return Err(unassigned());
        }
        found.push(known);
    }
    Ok(found)
}

/// The access rules asked for: by id of the user's own, or by content, added if the user has none like it.
async fn rules(
    app: &App,
    user_id: &str,
    input: &Map<String, Value>,
    now: Timestamp,
) -> Result<Vec<AccessRule>> {
    let mut rules: Vec<AccessRule> = Vec::new();
    for asked in input.get("access_rules").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| asked.get(name).and_then(Value::as_str);
        let rule = match (member("id"), member("service"), member("path"), member("method")) {
            (None, Some(service), Some(path), Some(method)) => AccessRule {
                id: id::hex(),
                user_id: user_id.to_owned(),
                service: service.to_owned(),
                path: path.to_owned(),
                method: method.to_owned(),
                created_at: now.0,
            },
            (Some(id), ..) => store::access_rule::get(app.db.reader(), user_id, id)
                .await?
                .ok_or_else(|| faults::not_found("Access Rule", id))?,
            _ => return Err(faults::expected("id, or service, path and method,", "access_rules")),
        };
        rules.push(rule);
    }
    let length: usize = rules.iter().map(|r| r.service.len() + r.path.len() + r.method.len() + 40).sum();
    if length > MAX_RULES {
        return Err(invalid(&format!("The access rules are longer than {MAX_RULES} bytes together")));
    }
    Ok(rules)
}

async fn create(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    user_id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:create_application_credential", &[("user_id", &user_id)])?;
    let input = CREATE.object(&body.0, "application_credential")?;
    let claims = &ctx.caller()?.claims;
    delegation::in_person(claims, MANAGED)?;
    delegation::fresh_enough(&app, claims)?;
    if claims.sub != *user_id {
        return Err(
            faults::forbidden_action("Cannot create an application credential for another user.").into()
        );
    }
    let project = claims.project.as_ref().ok_or_else(|| {
        invalid("The token is for no project, and an application credential is for its token's project")
    })?;
    let now = Timestamp::now();
    let expires_at = input::expiry(input, now)?;
    // What a limited token makes ends no later than what limits it.
    let limit = match Delegation::of_claims(&app.db, claims).await? {
        Some(limit) => limit.ok_or_else(Error::unauthorized)?.expires(),
        None => None,
    };
    let expires_at = match (expires_at, limit) {
        (Some(asked), Some(limit)) => Some(asked.min(limit)),
        (asked, limit) => asked.or(limit),
    };
    let roles = roles(&app, claims, input).await?;
    let rules = inherited_rules(claims, rules(&app, &user_id, input, now).await?)?;
    let given = input::string(input, "secret").filter(|s| !s.is_empty()).map(str::to_owned);
    let (secret, stored) = match given {
        // Hashing is slow: before the transaction.
        Some(secret) => {
            let hash = app.passwords.hash(&secret).await?;
            (secret, hash)
        }
        None => {
            let secret = secrets::generate_secret()?;
            let digest = app.keys.keyed_digest(&secret);
            (secret, digest)
        }
    };
    let mut cred = AppCred {
        row: Row {
            id: id::hex(),
            user_id: user_id.to_string(),
            project_id: project.id.clone(),
            name: input::string(input, "name").unwrap_or_default().to_owned(),
            description: input::string(input, "description").map(str::to_owned),
            secret: stored,
            expires_at: expires_at.map_or(0, |t| t.0),
            unrestricted: input::flag(input, "unrestricted").map(i64::from),
            created_at: now.0,
        },
        roles: roles.iter().map(|r| r.id.clone()).collect(),
        rules,
    };
    let mut work = app.begin().await?;
    let limit = app.delegation.user_limit;
    if limit >= 0 && store::application_credential::count_locked(&mut work.tx, &user_id).await? >= limit {
        return Err(Error::forbidden(format!(
            "Unable to create additional application credentials, maximum of {limit} already exceeded for user."
        ))
        .into());
    }
    for rule in &mut cred.rules {
        *rule = store::access_rule::ensure(&mut work.tx, rule).await?;
    }
    store::application_credential::insert(&mut work.tx, &cred).await?;
    app.commit(work).await?;
    let mut body = view::application_credential::application_credential(&cred, &roles, &base_url(&req));
    body["secret"] = json!(secret);
    created(&json!({"application_credential": body}))
}

/// A token with access rules cannot make a credential without them: only with rules among its own.
fn inherited_rules(claims: &TokenClaims, asked: Vec<AccessRule>) -> Result<Vec<AccessRule>> {
    let Some(own) = claims.app_cred.as_ref().and_then(|c| c.access_rules.as_ref()) else { return Ok(asked) };
    let among = |rule: &AccessRule| {
        own.iter().any(|o| o.service == rule.service && o.path == rule.path && o.method == rule.method)
    };
    if asked.is_empty() || !asked.iter().all(among) {
        return Err(invalid("The access rules must be among those of the application credential in use"));
    }
    Ok(asked)
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let cred = allowed(&app, &ctx, &path, "identity:delete_application_credential").await?;
    delegation::in_person(&ctx.caller()?.claims, MANAGED)?;
    let mut work = app.begin().await?;
    if store::application_credential::delete(&mut *work.tx, &cred.row.id).await? == 0 {
        return Err(faults::not_found("Application Credential", &path.1).into());
    }
    work.revoke(RevocationEvent { app_cred_id: Some(cred.row.id), ..Default::default() });
    app.commit(work).await?;
    no_content()
}
