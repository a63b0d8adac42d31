//! `/v3/credentials`

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    store::{self, credential::Credential},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::{cell::RefCell, sync::LazyLock};

const KNOWN: &[&str] = &["user_id", "project_id", "type", "blob"];
/// Members of an EC2 blob that say by which delegation it was made.
const DELEGATION: [&str; 4] = ["trust_id", "app_cred_id", "access_token_id", "access_id"];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/credentials/{credential_id}";
    vec![
        Route::get("/v3/credentials", || web::route().to(index))
            .policy(&["identity:list_credentials", "identity:get_credential"])
            .summary("List credentials"),
        Route::post("/v3/credentials", || web::route().to(create))
            .policy(&["identity:create_credential"])
            .body(|| CREATE.body("credential"))
            .success(201)
            .summary("Create a credential"),
        Route::get(one, || web::route().to(show))
            .policy(&["identity:get_credential"])
            .summary("Show a credential"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_credential"])
            .body(|| UPDATE.body("credential"))
            .summary("Update a credential"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_credential"])
            .success(204)
            .summary("Delete a credential"),
    ]
}

fn properties() -> Value {
    json!({
        "user_id": input::id(), "project_id": input::nullable_id(), "blob": input::text(),
        "type": {"type": "string", "minLength": 1, "maxLength": 255},
    })
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["user_id", "type", "blob"]));
static UPDATE: LazyLock<Checks> =
    LazyLock::new(|| Checks::of(json!({"type": "object", "properties": properties(), "minProperties": 1})));

/// 403 for a token got by a trust, an application credential or an EC2 credential: who holds only that must not
/// read or make what outlives it (Keystone's fix of bug 2159643).
pub(super) fn only_in_person(ctx: &Ctx) -> Result<()> {
    if ctx.caller()?.claims.is_delegated() {
        return Err(faults::forbidden_action(
            "credentials cannot be managed with a token issued via delegation.",
        ));
    }
    Ok(())
}

fn target(row: &Credential) -> [(&'static str, &str); 4] {
    [
        ("target.credential.user_id", &row.user_id),
        ("target.credential.project_id", input::or_none(row.project_id.as_deref().unwrap_or_default())),
        ("target.credential.type", &row.kind),
        ("target.credential.id", &row.id),
    ]
}

/// The credential, if it exists and the policy lets the caller at it. Who may not see others' does not learn which
/// exist.
async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<Credential> {
    let row = store::credential::get(app.db.reader(), id).await?;
    match &row {
        Some(row) => ctx.enforce(rule, &target(row))?,
        None => ctx.enforce(rule, &[])?,
    }
    only_in_person(ctx)?;
    row.ok_or_else(|| faults::not_found("credential", id))
}

/// Only what the caller may see, silently: one's own, or everybody's for whom the rule says so of any owner.
async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let caller = ctx.caller()?;
    ctx.enforce("identity:list_credentials", &[("target.credential.user_id", caller.user_id())])?;
    let query = query_pairs(req.query_string());
    let rule = "identity:get_credential";
    let owner = list::last(&query, "user_id");
    // Who may not see those of nobody in particular is only ever shown their own: not all rows need be read.
    let owner = match owner {
        "" if !ctx.may(rule, &[("target.credential.user_id", "")]) => caller.user_id(),
        owner => owner,
    };
    let mut rows = if caller.claims.is_delegated() {
        Vec::new()
    } else {
        store::credential::list(app.db.reader(), owner, list::last(&query, "type")).await?
    };
    rows.retain(|row| {
        ctx.may(rule, &target(row))
            && list::matches(&query, "user_id", &row.user_id)
            && list::matches(&query, "type", &row.kind)
    });
    let unreadable = RefCell::new(None);
    let answer = list::answer(
        &req,
        &query,
        "credentials",
        rows,
        |row| &row.id,
        |row, base| match app.vault.open(&row.context(), &row.blob) {
            Ok(blob) => view::credential::credential(row, &blob, base),
            Err(error) => {
                unreadable.replace(Some(error));
                Value::Null
            }
        },
    );
    match unreadable.into_inner() {
        Some(error) => Err(error.into()),
        None => answer,
    }
}

fn is_ec2(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("ec2")
}

/// A blob of type `ec2`: a JSON object with a text `access`. No error repeats any of it.
fn ec2_blob(blob: &str) -> Result<Map<String, Value>> {
    let Ok(value) = serde_json::from_str::<Value>(blob) else {
        return Err(Error::bad_request("Invalid blob in credential"));
    };
    match value {
        Value::Object(members) if members.get("access").is_some_and(Value::is_string) => Ok(members),
        Value::Object(members) if !members.is_empty() => Err(faults::expected("access", "credential")),
        _ => Err(faults::expected("blob", "credential")),
    }
}

/// Seals `blob`, adds the row and returns it. 404 if the user or project does not exist.
pub(super) async fn insert(app: &App, mut row: Credential, blob: &str) -> Result<Credential> {
    if store::user::get(app.db.reader(), &row.user_id).await?.is_none() {
        return Err(faults::not_found("user", &row.user_id));
    }
    if let Some(project) = &row.project_id
        && store::project::get(app.db.reader(), project).await?.is_none()
    {
        return Err(faults::not_found("project", project));
    }
    row.blob = app.vault.seal(&row.context(), blob)?;
    app.write(async |tx| store::credential::insert(tx, &row).await).await?;
    Ok(row)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let wanted = |name: &str| body.0["credential"][name].as_str().unwrap_or_default();
    ctx.enforce(
        "identity:create_credential",
        &[
            ("target.credential.user_id", wanted("user_id")),
            ("target.credential.project_id", input::or_none(wanted("project_id"))),
            ("target.credential.type", wanted("type")),
        ],
    )?;
    only_in_person(&ctx)?;
    let input = CREATE.object(&body.0, "credential").map_err(without_blob)?;
    let text = |name: &str| input::string(input, name).unwrap_or_default().to_owned();
    let (kind, blob) = (text("type"), text("blob"));
    let project_id = input::string(input, "project_id").map(str::to_owned);
    let id = if is_ec2(&kind) {
        let members = ec2_blob(&blob)?;
        // Keystone wants the member, and takes null, which `openstack credential create` sends: such a key gets no token.
        if !input.contains_key("project_id") {
            return Err(Error::bad_request("An ec2 credential requires project_id").into());
        }
        store::credential::ec2_id(members.get("access").and_then(Value::as_str).unwrap_or_default())
    } else {
        id::hex()
    };
    let row = Credential {
        id,
        user_id: text("user_id"),
        project_id,
        kind,
        blob: String::new(),
        extra: input::keep("{}", input, KNOWN),
        totp_step: 0,
        created_at: Timestamp::now().0,
        generation: 1,
    };
    let row = insert(&app, row, &blob).await?;
    created(&json!({"credential": view::credential::credential(&row, &blob, &base_url(&req))}))
}

/// A blob of the wrong type must not come back in the error's text.
fn without_blob(error: Error) -> Error {
    if error.public.starts_with("Invalid input for field/attribute blob.") {
        return Error::bad_request("Invalid input for field/attribute blob. It is not of type 'string'");
    }
    error
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let row = allowed(&app, &ctx, &id, "identity:get_credential").await?;
    let blob = app.vault.open(&row.context(), &row.blob)?;
    json(&json!({"credential": view::credential::credential(&row, &blob, &base_url(&req))}))
}

/// Only the blob changes: 400 if owner, project or type would (clients repeat them, so the same again is fine), or
/// the delegation that an EC2 credential stands for.
async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let mut row = allowed(&app, &ctx, &id, "identity:update_credential").await?;
    let input = UPDATE.object(&body.0, "credential").map_err(without_blob)?;
    input::same_id(input, &id, "credential")?;
    let fixed = [
        ("user_id", Some(row.user_id.as_str())),
        ("project_id", row.project_id.as_deref()),
        ("type", Some(row.kind.as_str())),
    ];
    for (name, stored) in fixed {
        if input.get(name).is_some_and(|given| given.as_str() != stored) {
            return Err(cannot_change(name).into());
        }
    }
    let old = app.vault.open(&row.context(), &row.blob)?;
    let blob = input::string(input, "blob").unwrap_or(&old);
    if is_ec2(&row.kind) {
        let (before, after) = (store::members(&old), ec2_blob(blob)?);
        let said = |blob: &Map<String, Value>, name: &str| blob.get(name).cloned().unwrap_or_default();
        if let Some(name) = DELEGATION.into_iter().find(|name| said(&before, name) != said(&after, name)) {
            return Err(cannot_change(name).into());
        }
    }
    row.blob = app.vault.seal(&row.context(), blob)?;
    row.extra = input::keep(&row.extra, input, KNOWN);
    if app.write(async |tx| store::credential::update(tx, &row).await).await? != Change::Updated {
        return Err(faults::raced("credential").into());
    }
    json(&json!({"credential": view::credential::credential(&row, blob, &base_url(&req))}))
}

fn cannot_change(name: &str) -> Error {
    Error::bad_request(format!("{name} can not be updated for credential"))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    allowed(&app, &ctx, &id, "identity:delete_credential").await?;
    if app.write(async |tx| store::credential::delete(tx, &id).await).await? == 0 {
        return Err(faults::not_found("credential", &id).into());
    }
    no_content()
}
