//! `/v3/users/{user_id}/credentials/OS-EC2`: credentials of type `ec2`, by access key.

use super::credentials::{insert, only_in_person};
use crate::{
    app::App,
    faults,
    input::{self, Checks},
    keys::random_hex,
    list,
    store::{
        self,
        credential::{Credential, EC2, ec2_id},
    },
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

pub(super) fn rows() -> Vec<Route> {
    let (all, one) =
        ("/v3/users/{user_id}/credentials/OS-EC2", "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}");
    vec![
        Route::get(all, || web::route().to(index))
            .policy(&["identity:ec2_list_credentials"])
            .summary("List EC2 credentials of a user"),
        Route::post(all, || web::route().to(create))
            .policy(&["identity:ec2_create_credential"])
            .body(|| CREATE.document())
            .success(201)
            .summary("Create an EC2 credential"),
        Route::get(one, || web::route().to(show))
            .policy(&["identity:ec2_get_credential"])
            .summary("Show an EC2 credential"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:ec2_delete_credential"])
            .success(204)
            .summary("Delete an EC2 credential"),
    ]
}

static CREATE: LazyLock<Checks> =
    LazyLock::new(|| Checks::new(json!({"tenant_id": input::id()}), &["tenant_id"]));

/// The members of the blob.
pub(crate) fn opened(app: &App, row: &Credential) -> Result<Map<String, Value>> {
    Ok(store::members(&app.vault.open(&row.context(), &row.blob)?))
}

async fn user_exists(app: &App, id: &str) -> Result<()> {
    let user = store::user::get(app.db.reader(), id).await?;
    user.map(|_| ()).ok_or_else(|| faults::not_found("user", id))
}

/// The user's credential with the access key. A missing one counts as the path's user's, so that only its owner
/// learns that it is missing.
async fn allowed(app: &App, ctx: &Ctx, user_id: &str, access: &str, rule: &str) -> Result<Credential> {
    let row = store::credential::get(app.db.reader(), &ec2_id(access)).await?;
    let row = row.filter(|row| row.kind == EC2);
    let owner = row.as_ref().map_or(user_id, |row| &row.user_id);
    ctx.enforce(rule, &[("target.credential.user_id", owner), ("user_id", user_id)])?;
    only_in_person(ctx)?;
    user_exists(app, user_id).await?;
    row.filter(|row| row.user_id == user_id).ok_or_else(|| faults::not_found("credential", access))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, user: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:ec2_list_credentials", &[("user_id", &user)])?;
    only_in_person(&ctx)?;
    user_exists(&app, &user).await?;
    let query = query_pairs(req.query_string());
    let mut rows = Vec::new();
    for row in store::credential::list(app.db.reader(), &user, EC2).await? {
        let blob = opened(&app, &row)?;
        rows.push((row, blob));
    }
    list::answer(
        &req,
        &query,
        "credentials",
        rows,
        |(row, _)| &row.id,
        |(row, blob), base| view::credential::ec2(row, blob, base),
    )
}

async fn create(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    user: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce(
        "identity:ec2_create_credential",
        &[("target.credential.user_id", &user), ("user_id", &user)],
    )?;
    only_in_person(&ctx)?;
    CREATE.check(&body.0)?;
    let project_id = body.0["tenant_id"].as_str().unwrap_or_default().to_owned();
    let access = id::hex();
    let blob = json!({"access": access, "secret": random_hex(SECRET_BYTES)?, "trust_id": null});
    let row = Credential {
        id: ec2_id(&access),
        user_id: user.into_inner(),
        project_id: Some(project_id),
        kind: EC2.into(),
        blob: String::new(),
        extra: "{}".into(),
        totp_step: 0,
        created_at: Timestamp::now().0,
        generation: 1,
    };
    let row = insert(&app, row, &blob.to_string()).await?;
    let members = blob.as_object().cloned().unwrap_or_default();
    created(&json!({"credential": view::credential::ec2(&row, &members, &base_url(&req))}))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let row = allowed(&app, &ctx, &path.0, &path.1, "identity:ec2_get_credential").await?;
    let blob = opened(&app, &row)?;
    json(&json!({"credential": view::credential::ec2(&row, &blob, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let row = allowed(&app, &ctx, &path.0, &path.1, "identity:ec2_delete_credential").await?;
    if app.write(async |tx| store::credential::delete(tx, &row.id).await).await? == 0 {
        return Err(faults::not_found("credential", &path.1).into());
    }
    no_content()
}
