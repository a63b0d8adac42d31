//! `/v3/OS-TRUST/trusts`

use crate::{
    app::App,
    auth::{
        delegation,
        roles::{Target, held},
        trust::Lent,
    },
    faults,
    input::{self, Checks},
    list,
    store::{self, role::Role, trust::Trust},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, TokenClaims, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Members that are ours; a body cannot set those that its schema does not name.
const KNOWN: &[&str] = &[
    "trustor_user_id",
    "trustee_user_id",
    "project_id",
    "impersonation",
    "expires_at",
    "remaining_uses",
    "allow_redelegation",
    "redelegation_count",
    "redelegated_trust_id",
    "roles",
    "roles_links",
    "deleted_at",
];

pub(super) fn rows() -> Vec<Route> {
    let all = "/v3/OS-TRUST/trusts";
    let one = "/v3/OS-TRUST/trusts/{trust_id}";
    vec![
        Route::get(all, || web::route().to(index))
            .policy(&[
                "identity:list_trusts",
                "identity:list_trusts_for_trustor",
                "identity:list_trusts_for_trustee",
            ])
            .summary("List trusts"),
        Route::post(all, || web::route().to(create))
            .policy(&["identity:create_trust"])
            .body(|| CREATE.body("trust"))
            .success(201)
            .summary("Create a trust"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_trust"]).summary("Show a trust"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_trust"])
            .success(204)
            .summary("Delete a trust"),
        Route::get("/v3/OS-TRUST/trusts/{trust_id}/roles", || web::route().to(roles))
            .policy(&["identity:list_roles_for_trust"])
            .summary("List the roles of a trust"),
        Route::get("/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}", || web::route().to(role))
            .policy(&["identity:get_role_for_trust"])
            .summary("Show a role of a trust"),
    ]
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| {
    let count =
        |least: i64| json!({"type": ["integer", "null"], "minimum": least, "maximum": i64::from(i32::MAX)});
    let role = json!({"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
        "properties": {"id": input::id(), "name": input::name()}});
    Checks::new(
        json!({
            "trustor_user_id": input::id(), "trustee_user_id": input::id(), "impersonation": input::boolean(),
            "project_id": input::nullable_id(), "remaining_uses": count(1), "expires_at": input::nullable_text(),
            "allow_redelegation": {"type": ["boolean", "null"]}, "redelegation_count": count(0),
            "redelegated_trust_id": input::nullable_text(), "roles": {"type": "array", "items": role},
        }),
        &["trustor_user_id", "trustee_user_id", "impersonation"],
    )
});

/// Application and EC2 credentials have nothing to do with trusts, whatever their roles.
fn may_handle(claims: &TokenClaims) -> Result<()> {
    if claims.is_delegated() && claims.trust.is_none() {
        let method = if claims.app_cred.is_some() { "application_credential" } else { "ec2credential" };
        return Err(faults::forbidden_action(&format!(
            "Using method '{method}' is not allowed for managing trusts."
        )));
    }
    Ok(())
}

/// The trust, if it can still be used and the policy lets the caller at it. Which ids are none is no secret.
async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<Lent> {
    may_handle(&ctx.caller()?.claims)?;
    let found = Lent::get(&app.db, id, Timestamp::now()).await?.filter(|l| !l.trust().used_up());
    let lent = found.ok_or_else(|| faults::not_found("trust", id))?;
    enforce(ctx, rule, lent.trust())?;
    Ok(lent)
}

fn enforce(ctx: &Ctx, rule: &str, trust: &Trust) -> Result<()> {
    ctx.enforce(
        rule,
        &[
            ("target.trust.trustor_user_id", &trust.trustor_user_id),
            ("target.trust.trustee_user_id", &trust.trustee_user_id),
        ],
    )
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    may_handle(&ctx.caller()?.claims)?;
    let query = query_pairs(req.query_string());
    let (trustor, trustee) = (list::last(&query, "trustor_user_id"), list::last(&query, "trustee_user_id"));
    if !trustor.is_empty() {
        ctx.enforce("identity:list_trusts_for_trustor", &[("target.trust.trustor_user_id", trustor)])?;
    } else if !trustee.is_empty() {
        ctx.enforce("identity:list_trusts_for_trustee", &[("target.trust.trustee_user_id", trustee)])?;
    } else {
        ctx.enforce("identity:list_trusts", &[])?;
    }
    let trusts = store::trust::list(app.db.reader(), trustor, trustee).await?;
    list::answer(&req, &query, "trusts", trusts, |t| &t.id, |t, base| view::trust::trust(t, None, base))
}

async fn roles_of(app: &App, lent: &Lent) -> Result<Vec<Role>> {
    let mut all = store::role::list_all(app.db.reader()).await?;
    all.retain(|r| lent.roles.contains(&r.id));
    Ok(all)
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let lent = allowed(&app, &ctx, &id, "identity:get_trust").await?;
    let roles = roles_of(&app, &lent).await?;
    let roles: Vec<&Role> = roles.iter().collect();
    json(&json!({"trust": view::trust::trust(lent.trust(), Some(&roles), &base_url(&req))}))
}

async fn roles(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let lent = allowed(&app, &ctx, &id, "identity:list_roles_for_trust").await?;
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "roles", roles_of(&app, &lent).await?, |r| &r.id, view::trust::role)
}

async fn role(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let lent = allowed(&app, &ctx, &path.0, "identity:get_role_for_trust").await?;
    let found = roles_of(&app, &lent).await?.into_iter().find(|r| r.id == path.1);
    let role = found.ok_or_else(|| faults::not_found("role", &path.1))?;
    json(&json!({"role": view::trust::role(&role, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let claims = &ctx.caller()?.claims;
    may_handle(claims)?;
    let trust =
        store::trust::get(app.db.reader(), &id).await?.ok_or_else(|| faults::not_found("trust", &id))?;
    enforce(&ctx, "identity:delete_trust", &trust)?;
    if let Some(own) = &claims.trust {
        // What was handed on from the trust in use, and nothing else of the trustor's.
        let above = Lent::get(&app.db, &id, Timestamp::now()).await?;
        if !above.is_some_and(|l| l.chain.iter().skip(1).any(|t| t.id == own.id)) {
            return Err(faults::forbidden_action(
                "Using a trust to delete another than was handed on from it.",
            )
            .into());
        }
    }
    let mut work = app.begin().await?;
    let gone = store::trust::delete(&mut work.tx, &id, Timestamp::now()).await?;
    if gone.is_empty() {
        return Err(faults::not_found("trust", &id).into());
    }
    for trust in &gone {
        work.revoke_trust(trust);
    }
    app.commit(work).await?;
    no_content()
}

/// The roles asked for, by id or by the name of a global role; 404 for one that is none.
async fn wanted_roles(app: &App, input: &Map<String, Value>) -> Result<Vec<Role>> {
    let mut found: Vec<Role> = Vec::new();
    for role in input.get("roles").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| role.get(name).and_then(Value::as_str);
        let known = match (member("id"), member("name")) {
            (Some(id), _) => store::role::get(app.db.reader(), id).await?,
            (None, Some(name)) => store::role::get_by_name(app.db.reader(), name).await?,
            (None, None) => None,
        };
        let name = member("id").or(member("name")).unwrap_or_default();
        let known = known.ok_or_else(|| faults::not_found("role", name))?;
        if !found.iter().any(|r| r.id == known.id) {
            found.push(known);
        }
    }
    Ok(found)
}

/// How often a new trust can be handed on, by the wish and the trust it is handed on from.
fn redelegation_count(app: &App, input: &Map<String, Value>, from: Option<&Lent>) -> Result<i64> {
    let most = app.delegation.max_redelegation_count;
    let asked = input.get("redelegation_count").and_then(Value::as_i64);
    let uses = input.get("remaining_uses").and_then(Value::as_i64);
    let allowed = input::flag(input, "allow_redelegation").unwrap_or(false) && asked != Some(0);
    let count = if allowed {
        if let Some(asked) = asked.filter(|n| *n > most) {
            return Err(Error::forbidden(format!(
                "Requested redelegation depth of {asked} is greater than allowed {most}"
            )));
        }
        if uses.is_some() {
            return Err(Error::bad_request("remaining_uses must not be set if redelegation is allowed"));
        }
        asked.unwrap_or(most)
    } else {
        0
    };
    let Some(from) = from else { return Ok(count) };
    let left = from.trust().redelegation_count - 1;
    if allowed && asked.is_some_and(|n| n != left) {
        return Err(Error::forbidden(
            "Modifying \"redelegation_count\" upon redelegation is forbidden. Omitting this parameter is advised.",
        ));
    }
    Ok(if allowed { left } else { 0 })
}

/// 403 unless `trust` with `roles` may be handed on from every trust of the chain.
fn may_hand_on(app: &App, from: &Lent, trust: &Trust, roles: &[Role]) -> Result<()> {
    let most = app.delegation.max_redelegation_count;
    for (above, parent) in from.chain.iter().enumerate() {
        let depth = parent.redelegation_count;
        if !(1..=most).contains(&depth) {
            return Err(Error::forbidden(format!(
                "Remaining redelegation depth of {depth} out of allowed range of [0..{most}]"
            )));
        }
        if trust.remaining_uses.is_some() {
            return Err(Error::forbidden(
                "Field \"remaining_uses\" is set while it must not be set in order to redelegate a trust",
            ));
        }
        if parent.expires_at != 0 && (trust.expires_at == 0 || trust.expires_at > parent.expires_at) {
            return Err(Error::forbidden(
                "Requested expiration time is more than redelegated trust can provide",
            ));
        }
        if above == 0 && roles.iter().any(|r| !from.roles.contains(&r.id)) {
            return Err(Error::forbidden("Some of requested roles are not in redelegated trust"));
        }
        if parent.impersonation == 0 && trust.impersonation == 1 {
            return Err(Error::forbidden(format!(
                "Impersonation is not allowed because redelegated trust does not specify impersonation. Redelegated trust id: {}",
                parent.id
            )));
        }
        if parent.project_id != trust.project_id {
            return Err(Error::forbidden("The project is not that of the redelegated trust"));
        }
    }
    Ok(())
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let claims = &ctx.caller()?.claims;
    may_handle(claims)?;
    let input = CREATE.object(&body.0, "trust")?;
    let text = |name: &str| input::string(input, name).unwrap_or_default().to_owned();
    let (trustor, trustee, project_id) =
        (text("trustor_user_id"), text("trustee_user_id"), text("project_id"));
    ctx.enforce("identity:create_trust", &[("target.trust.trustor_user_id", &trustor)])?;
    delegation::fresh_enough(&app, claims)?;
    if claims.sub != trustor {
        return Err(faults::forbidden_action("The authenticated user should match the trustor").into());
    }
    let roles = wanted_roles(&app, input).await?;
    if !project_id.is_empty() && roles.is_empty() {
        return Err(faults::forbidden_action("At least one role should be specified").into());
    }
    store::user::get(app.db.reader(), &trustee).await?.ok_or_else(|| faults::not_found("user", &trustee))?;
    let now = Timestamp::now();
    let expires_at = input::expiry(input, now)?;
    let from = match &claims.trust {
        Some(trust) => Some(Lent::get(&app.db, &trust.id, now).await?.ok_or_else(Error::unauthorized)?),
        None => None,
    };
    // The first trustor's roles are lent, however often they are handed on.
    let owner = from.as_ref().map_or(trustor.as_str(), Lent::owner);
    let has = if project_id.is_empty() {
        Default::default()
    } else {
        let project = store::project::get(app.db.reader(), &project_id).await?;
        let project = project.ok_or_else(|| faults::not_found("project", &project_id))?;
        held(&app.db, owner, Target::Project(&project)).await?
    };
    if let Some(role) = roles.iter().find(|r| !has.contains(&r.id)) {
        return Err(faults::not_found("role", &role.id).into());
    }
    let inherited = from.as_ref().map_or(0, |l| l.trust().expires_at);
    let trust = Trust {
        id: id::hex(),
        trustor_user_id: trustor,
        trustee_user_id: trustee,
        project_id,
        impersonation: input::flag(input, "impersonation").unwrap_or(false).into(),
        expires_at: expires_at.map_or(inherited, |t| t.0),
        remaining_uses: input.get("remaining_uses").and_then(Value::as_i64),
        redelegated_trust_id: from.as_ref().map(|l| l.trust().id.clone()).unwrap_or_default(),
        redelegation_count: redelegation_count(&app, input, from.as_ref())?,
        extra: input::keep("{}", input, KNOWN),
        created_at: now.0,
    };
    if let Some(from) = &from {
        may_hand_on(&app, from, &trust, &roles)?;
    }
    let mut parties = from.as_ref().map(Lent::parties).unwrap_or_default();
    parties.extend([trust.trustor_user_id.clone(), trust.trustee_user_id.clone()]);
    let ids: Vec<String> = roles.iter().map(|r| r.id.clone()).collect();
    let mut work = app.begin().await?;
    store::trust::insert(&mut work.tx, &trust, &ids, &parties).await?;
    app.commit(work).await?;
    let roles: Vec<&Role> = roles.iter().collect();
    created(&json!({"trust": view::trust::trust(&trust, Some(&roles), &base_url(&req))}))
}
