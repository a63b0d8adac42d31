//! `/v3/domains`

use super::projects;
use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    listings::{Base, Projects, needed_tag},
    store::{self, Wanted, project::Project},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/domains/{domain_id}";
    vec![
        Route::get("/v3/domains", || web::route().to(index))
            .policy(&["identity:list_domains"])
            .summary("List domains"),
        Route::post("/v3/domains", || web::route().to(create))
            .policy(&["identity:create_domain"])
            .body(|| CREATE.body("domain"))
            .success(201)
            .summary("Create a domain"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_domain"]).summary("Show a domain"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_domain"])
            .body(|| UPDATE.body("domain"))
            .summary("Update a domain"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_domain"])
            .success(204)
            .summary("Delete a domain"),
    ]
}

fn properties() -> Value {
    json!({
        "name": input::short_name(), "description": input::nullable_text(), "enabled": input::boolean(),
        "tags": input::tags(), "options": input::immutable_option(),
        "explicit_domain_id": {"type": "string", "pattern": "^[a-f0-9]{32}$"},
    })
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["name"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));
const KNOWN: &[&str] = &["name", "description", "enabled", "tags", "options", "explicit_domain_id"];

async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<Project> {
    let domain = store::domain::get(app.db.reader(), id).await?;
    match &domain {
        Some(d) => ctx.enforce(rule, &[("target.domain.id", &d.id)])?,
        // Keystone hides which domains exist from who asks for one, not from who would change one.
        None if rule == "identity:get_domain" => ctx.enforce(rule, &[])?,
        None => {}
    }
    domain.ok_or_else(|| faults::not_found("domain", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let own = input::own_domain(&ctx)?;
    match &own {
        Some(domain) => ctx.enforce("identity:list_domains", &[("target.domain.id", domain)])?,
        None => ctx.enforce("identity:list_domains", &[])?,
    }
    let query = query_pairs(req.query_string());
    if let Some(own) = own {
        let mut mine: Vec<Project> = store::domain::get(app.db.reader(), &own).await?.into_iter().collect();
        mine.retain(|d| list::passes(&query, "name", &d.name) && list::passes_enabled(&query, d.enabled));
        let tags = store::project::tags(app.db.reader(), &own).await?;
        let shown = |d: &Project, base: &str| view::domain::domain(d, &tags, base);
        return list::answer(&req, &query, "domains", mine, |d| &d.id, shown);
    }
    // A domain is in no domain: a filter by one means nothing.
    let unowned: Vec<(String, String)> = query.iter().filter(|(k, _)| k != "domain_id").cloned().collect();
    let Some(wanted) = list::wanted(&unowned, None) else {
        return list::whole(&req, &query, "domains", list::Nothing).await;
    };
    let wanted = Wanted { domains: true, tag: needed_tag(&query), ..wanted };
    let base = Base { app, query: query.clone(), wanted };
    let source = Projects { base, usable: false, view: view::domain::domain };
    list::rows(&req, &query, "domains", source).await
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_domain", &[])?;
    let input = CREATE.object(&body.0, "domain")?;
    let explicit = input::string(input, "explicit_domain_id").map(str::to_owned);
    if let Some(id) = &explicit
        && store::project::get(app.db.reader(), id).await?.is_some()
    {
        return Err(faults::taken("domain", &format!("Duplicate ID, {id}")).into());
    }
    let row = Project {
        id: explicit.unwrap_or_else(id::hex),
        name: input::string(input, "name").unwrap_or_default().to_owned(),
        domain_id: String::new(),
        parent_id: String::new(),
        is_domain: 1,
        description: input::string(input, "description").unwrap_or_default().to_owned(),
        enabled: input::flag(input, "enabled").unwrap_or(true).into(),
        options: input::options("{}", input),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    let mut work = app.begin().await?;
    let tags = projects::insert(&mut work, &row, input).await?;
    app.commit(work).await?;
    created(&json!({"domain": view::domain::domain(&row, &tags, &base_url(&req))}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let domain = allowed(&app, &ctx, &id, "identity:get_domain").await?;
    let tags = store::project::tags(app.db.reader(), &id).await?;
    json(&json!({"domain": view::domain::domain(&domain, &tags, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    allowed(&app, &ctx, &id, "identity:update_domain").await?;
    let input = UPDATE.object(&body.0, "domain")?;
    input::same_id(input, &id, "domain")?;
    let (row, tags) = projects::change(&app, &id, input, "domain").await?;
    json(&json!({"domain": view::domain::domain(&row, &tags, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let domain = allowed(&app, &ctx, &id, "identity:delete_domain").await?;
    remove(&app, &domain).await?;
    no_content()
}

/// Removes a disabled domain with all it owns.
pub(super) async fn remove(app: &App, domain: &Project) -> Result<()> {
    let mut work = app.begin().await?;
    store::hold(&mut *work.tx, "domain", &domain.id).await?;
    let now = store::domain::get(&mut *work.tx, &domain.id)
        .await?
        .ok_or_else(|| faults::not_found("domain", &domain.id))?;
    if now.immutable() {
        return Err(faults::immutable("delete", "domain", &domain.id));
    }
    if now.enabled == 1 {
        return Err(Error::forbidden("Cannot delete a domain that is enabled, please disable it first."));
    }
    // While its users are still there to be found.
    let trusts = store::trust::of_domain(&mut *work.tx, &domain.id, Timestamp(0)).await?;
    store::trust::delete_all(&mut work.tx, &trusts, Timestamp::now()).await?;
    for trust in &trusts {
        work.revoke_trust(trust);
    }
    store::domain::delete(&mut work.tx, &domain.id).await?;
    work.revoke_domain(&domain.id);
    app.commit(work).await
}
