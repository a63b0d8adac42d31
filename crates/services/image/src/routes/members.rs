//! Sharing: the members of an image.

use super::{Seen, load};
use crate::{app::App, image::Visibility, store, view};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, actix_web::web, json, no_content};
use ferrostack_model::{Error, Result};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/images/{image_id}/members", || web::get().to(list))
            .policy(&["get_members"])
            .summary("Lists the projects an image is shared with."),
        Route::post("/v2/images/{image_id}/members", || web::post().to(create))
            .policy(&["add_member"])
            .summary("Shares an image with a project."),
        Route::get("/v2/images/{image_id}/members/{member_id}", || web::get().to(show))
            .policy(&["get_member"])
            .summary("Shows a member."),
        Route::put("/v2/images/{image_id}/members/{member_id}", || web::put().to(update))
            .policy(&["modify_member"])
            .summary("Accepts or rejects a shared image."),
        Route::delete("/v2/images/{image_id}/members/{member_id}", || web::delete().to(delete))
            .policy(&["delete_member"])
            .success(204)
            .summary("Shares the image no longer."),
    ]
}

fn check_shared(seen: &Seen) -> Result<()> {
    if seen.image.visibility == Visibility::Shared {
        return Ok(());
    }
    Err(Error::forbidden("Only shared images have members."))
}

fn no_member(member: &str, image: &str) -> Error {
    let short: String = member.chars().take(255).collect();
    Error::not_found(format!("{short} not found in the member list of the image {image}."))
}

/// Owners and admins see every member, a member only itself.
fn sees_all(ctx: &Ctx, seen: &Seen) -> bool {
    ctx.may("context_is_admin", &[]) || seen.image.owner.as_deref() == Some(&seen.project)
}

async fn list(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    seen.enforce(&ctx, "get_members")?;
    check_shared(&seen)?;
    let mut members = store::member::list(&app.db, &seen.image.id).await?;
    if !sees_all(&ctx, &seen) {
        members.retain(|m| m.member == seen.project);
    }
    json(&view::member::members(&members))
}

async fn create(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    seen.enforce(&ctx, "add_member")?;
    let member = body.0.get("member").and_then(|m| m.as_str()).filter(|m| !m.is_empty());
    let member = member.ok_or_else(|| Error::bad_request("Member to be added not specified"))?;
    if member.chars().count() > 255 || member.contains('\0') {
        return Err(Error::bad_request("Invalid member: at most 255 characters and no NUL.").into());
    }
    check_shared(&seen)?;
    json(&view::member::member(&store::member::insert(&app.db, &seen.image.id, member).await?))
}

async fn find(app: &App, ctx: &Ctx, seen: &Seen, member: &str) -> Result<crate::image::Member> {
    let gone = || no_member(member, &seen.image.id);
    if member.contains('\0') || !(sees_all(ctx, seen) || member == seen.project) {
        return Err(gone());
    }
    store::member::get(&app.db, &seen.image.id, member).await?.ok_or_else(gone)
}

async fn show(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let seen = load(&app, &ctx, &path.0).await?;
    seen.enforce(&ctx, "get_member")?;
    json(&view::member::member(&find(&app, &ctx, &seen, &path.1).await?))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    body: JsonBody,
) -> ApiResult {
    let seen = load(&app, &ctx, &path.0).await?;
    let member = find(&app, &ctx, &seen, &path.1).await?;
    let owner = seen.image.owner.as_deref().unwrap_or("");
    ctx.enforce("modify_member", &[("project_id", owner), ("owner", owner), ("member_id", &member.member)])?;
    let status = body.0.get("status").and_then(|s| s.as_str());
    let status = status.ok_or_else(|| Error::bad_request("Status not specified"))?;
    if !matches!(status, "accepted" | "rejected" | "pending") {
        let short: String = status.chars().take(80).collect();
        return Err(Error::bad_request(format!(
            "Invalid status: {short}. Status must be \"pending\", \"accepted\" or \"rejected\"."
        ))
        .into());
    }
    if !store::member::update(&app.db, &seen.image.id, &member.member, status).await? {
        return Err(no_member(&member.member, &seen.image.id).into());
    }
    json(&view::member::member(&find(&app, &ctx, &seen, &path.1).await?))
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let seen = load(&app, &ctx, &path.0).await?;
    seen.enforce(&ctx, "delete_member")?;
    check_shared(&seen)?;
    if path.1.contains('\0') || !store::member::delete(&app.db, &seen.image.id, &path.1).await? {
        return Err(no_member(&path.1, &seen.image.id).into());
    }
    no_content()
}
