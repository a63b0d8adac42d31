//! Sharing: the members of an image.

use super::{Seen, load_parent};
use crate::{app::App, image::Visibility, store, view};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, actix_web::web, json as answer, no_content};
use ferrostack_model::{Error, Result};
use serde_json::{Value, json};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/images/{image_id}/members", || web::get().to(list))
            .policy(&["get_members"])
            .summary("Lists the projects an image is shared with."),
        Route::post("/v2/images/{image_id}/members", || web::post().to(create))
            .policy(&["add_member"])
            .body(|| json!({"type": "object", "required": ["member"], "properties": {
                "member": {"type": "string", "minLength": 1, "maxLength": 255, "description": "The project's id"}}}))
            .summary("Shares an image with a project."),
        Route::get("/v2/images/{image_id}/members/{member_id}", || web::get().to(show))
            .policy(&["get_member"])
            .summary("Shows a member."),
        Route::put("/v2/images/{image_id}/members/{member_id}", || web::put().to(update))
            .policy(&["modify_member"])
            .body(|| json!({"type": "object", "required": ["status"], "properties": {
                "status": {"type": "string", "enum": ["pending", "accepted", "rejected"]}}}))
            .summary("Accepts or rejects a shared image."),
        Route::delete("/v2/images/{image_id}/members/{member_id}", || web::delete().to(delete))
            .policy(&["delete_member"])
            .success(204)
            .summary("Shares the image no longer."),
    ]
}

/// Glance's text for an image that is not shared, by what was to be done with its members.
fn check_shared(seen: &Seen, verb: &str) -> Result<()> {
    if seen.image.visibility == Visibility::Shared {
        return Ok(());
    }
    let id = &seen.image.id;
    Err(match verb {
        "list" => Error::forbidden(format!(
            "Not allowed to list members for image {id}: Only shared images have members."
        )),
        "show" => Error::not_found("Only shared images have members."),
        _ => Error::forbidden(format!("Not allowed to {verb} members for image {id}.")),
    })
}

fn no_member(member: &str, image: &str) -> Error {
    let short = crate::text::short(member);
    Error::not_found(format!("{short} not found in the member list of the image {image}."))
}

/// Owners and admins see every member, a member only itself.
fn sees_all(ctx: &Ctx, seen: &Seen) -> bool {
    ctx.may("context_is_admin", &[]) || seen.image.owner.as_deref() == Some(&seen.project)
}

async fn list(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let seen = load_parent(&app, &ctx, &path).await?;
    check_shared(&seen, "list")?;
    seen.enforce(&ctx, "get_members")?;
    let mut members = store::member::list(&app.db, &seen.image.id).await?;
    if !sees_all(&ctx, &seen) {
        members.retain(|m| m.member == seen.project);
    }
    answer(&view::member::members(&members))
}

/// The project to share with; Glance reads the body before it looks for the image.
fn wanted(body: &Value) -> Result<&str> {
    match body.get("member") {
        None => Err(Error::bad_request("Member to be added not specified")),
        Some(Value::String(text)) if text.is_empty() => Err(Error::bad_request("Member can't be empty")),
        Some(Value::Null) => Err(Error::bad_request("Member can't be empty")),
        Some(Value::String(text)) if text.chars().count() <= 255 && !text.contains('\0') => Ok(text),
        Some(_) => Err(Error::bad_request("Invalid member: a text of at most 255 characters without NUL.")),
    }
}

async fn create(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    let member = wanted(&body.0)?;
    let seen = load_parent(&app, &ctx, &path).await?;
    check_shared(&seen, "create")?;
    seen.enforce(&ctx, "add_member")?;
    answer(&view::member::member(&store::member::insert(&app.db, &seen.image.id, member).await?))
}

async fn find(app: &App, ctx: &Ctx, seen: &Seen, member: &str) -> Result<crate::image::Member> {
    let gone = || no_member(member, &seen.image.id);
    if member.contains('\0') || !(sees_all(ctx, seen) || member == seen.project) {
        return Err(gone());
    }
    store::member::get(&app.db, &seen.image.id, member).await?.ok_or_else(gone)
}

async fn show(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let seen = load_parent(&app, &ctx, &path.0).await?;
    check_shared(&seen, "show")?;
    // As Glance: who may not know learns nothing.
    seen.enforce(&ctx, "get_member").map_err(|e| Error::not_found(e.public))?;
    answer(&view::member::member(&find(&app, &ctx, &seen, &path.1).await?))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    body: JsonBody,
) -> ApiResult {
    let status = body.0.get("status").ok_or_else(|| Error::bad_request("Status not specified"))?;
    let seen = load_parent(&app, &ctx, &path.0).await?;
    check_shared(&seen, "update")?;
    seen.enforce(&ctx, "get_member")?;
    let member = find(&app, &ctx, &seen, &path.1).await?;
    let owner = seen.image.owner.as_deref().unwrap_or("");
    ctx.enforce("modify_member", &[("project_id", owner), ("owner", owner), ("member_id", &member.member)])?;
    let Some(status @ ("accepted" | "rejected" | "pending")) = status.as_str() else {
        return Err(Error::bad_request(
            "Incorrect request: Status must be \"pending\", \"accepted\" or \"rejected\".",
        )
        .into());
    };
    if !store::member::update(&app.db, &seen.image.id, &member.member, status).await? {
        return Err(no_member(&member.member, &seen.image.id).into());
    }
    answer(&view::member::member(&find(&app, &ctx, &seen, &path.1).await?))
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let seen = load_parent(&app, &ctx, &path.0).await?;
    check_shared(&seen, "delete")?;
    seen.enforce(&ctx, "get_member")?;
    find(&app, &ctx, &seen, &path.1).await?;
    seen.enforce(&ctx, "delete_member")?;
    if path.1.contains('\0') || !store::member::delete(&app.db, &seen.image.id, &path.1).await? {
        return Err(no_member(&path.1, &seen.image.id).into());
    }
    no_content()
}
