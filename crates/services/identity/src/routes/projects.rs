//! `/v3/projects`

use crate::{
    app::{App, Work},
    faults,
    input::{self, Checks},
    limits, list,
    listings::{Base, Projects, needed_tag},
    store::{self, Wanted, project::Project},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, sync::LazyLock};

/// Projects above one another: Keystone's `max_project_tree_depth`.
const MAX_DEPTH: usize = 5;
const KNOWN: &[&str] =
    &["name", "domain_id", "parent_id", "is_domain", "description", "enabled", "tags", "options"];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/projects/{project_id}";
    vec![
        Route::get("/v3/projects", || web::route().to(index))
            .policy(&["identity:list_projects"])
            .summary("List projects"),
        Route::post("/v3/projects", || web::route().to(create))
            .policy(&["identity:create_project"])
            .body(|| CREATE.body("project"))
            .success(201)
            .summary("Create a project"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_project"]).summary("Show a project"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_project"])
            .body(|| UPDATE.body("project"))
            .summary("Update a project"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_project"])
            .success(204)
            .summary("Delete a project"),
    ]
}

fn properties() -> Value {
    json!({
        "name": input::short_name(), "domain_id": input::nullable_id(), "parent_id": input::nullable_id(),
        "is_domain": input::boolean(), "description": input::nullable_text(), "enabled": input::boolean(),
        "tags": input::tags(), "options": input::immutable_option(),
    })
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["name"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));

/// The project, if it exists and the policy lets the caller at it.
pub(super) async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<Project> {
    let project = store::project::get(app.db.reader(), id).await?;
    match &project {
        Some(p) => ctx.enforce(
            rule,
            &[("target.project.id", &p.id), ("target.project.domain_id", input::or_none(&p.domain_id))],
        )?,
        None => ctx.enforce(rule, &[])?,
    }
    project.ok_or_else(|| faults::not_found("project", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let own = input::own_domain(&ctx)?;
    match &own {
        Some(domain) => ctx.enforce("identity:list_projects", &[("target.domain_id", domain)])?,
        None => ctx.enforce("identity:list_projects", &[])?,
    }
    let query = query_pairs(req.query_string());
    let domains = query.iter().any(|(k, _)| k == "is_domain") && list::flag(&query, "is_domain");
    let Some(wanted) = list::wanted(&query, own.as_deref()) else {
        return list::whole(&req, &query, "projects", list::Nothing).await;
    };
    let wanted = Wanted {
        domains,
        parent_id: list::last(&query, "parent_id").to_owned(),
        tag: needed_tag(&query),
        ..wanted
    };
    let base = Base { app, query: query.clone(), wanted };
    let source = Projects { base, usable: false, view: view::project::project };
    list::rows(&req, &query, "projects", source).await
}

/// The rows from the one above `project` up to the domain.
async fn above(app: &App, project: &Project) -> Result<Vec<Project>> {
    let mut rows: Vec<Project> = Vec::new();
    let mut next = project.parent_id.clone();
    while !next.is_empty() && rows.len() <= MAX_DEPTH + 1 {
        let Some(row) = store::project::get(app.db.reader(), &next).await? else { break };
        next.clone_from(&row.parent_id);
        rows.push(row);
    }
    Ok(rows)
}

/// Where a new project goes, as (domain id, parent id); checks that it may go there.
async fn place(app: &App, ctx: &Ctx, input: &Map<String, Value>) -> Result<(String, String)> {
    let parent_id = input::string(input, "parent_id");
    if input::flag(input, "is_domain") == Some(true) {
        if parent_id.is_some() || input::string(input, "domain_id").is_some() {
            return Err(Error::bad_request("only root projects are allowed to act as domains."));
        }
        return Ok((String::new(), String::new()));
    }
    let parent = match parent_id {
        Some(id) => Some(
            store::project::get(app.db.reader(), id)
                .await?
                .ok_or_else(|| faults::not_found("project", id))?,
        ),
        None => None,
    };
    let domain_id = match (&parent, input::string(input, "domain_id")) {
        (Some(parent), None) if parent.is_domain == 1 => parent.id.clone(),
        (Some(parent), None) => parent.domain_id.clone(),
        _ => input::domain_id(ctx, input)?,
    };
    let domain = store::domain::get(app.db.reader(), &domain_id)
        .await?
        .ok_or_else(|| faults::not_found("domain", &domain_id))?;
    let parent = parent.unwrap_or(domain);
    let parent_domain = if parent.is_domain == 1 { &parent.id } else { &parent.domain_id };
    if *parent_domain != domain_id {
        return Err(Error::bad_request(format!(
            "Cannot create project, since it specifies its domain_id {domain_id}, but specifies a parent in a different domain ({parent_domain})."
        )));
    }
    let mut chain = vec![parent.clone()];
    chain.extend(above(app, &parent).await?);
    if let Some(closed) = chain.iter().find(|p| p.enabled == 0) {
        return Err(faults::forbidden_action(&format!(
            "cannot create a project in a branch containing a disabled project: {}.",
            closed.id
        )));
    }
    // The domain on top does not count.
    if chain.len() > MAX_DEPTH.min(limits::max_depth(app.limit_model)) {
        return Err(faults::forbidden_action(&format!(
            "Max hierarchy depth reached for {} branch.",
            parent.id
        )));
    }
    Ok((domain_id, parent.id))
}

pub(super) async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let wanted = body.0.get("project").and_then(Value::as_object).cloned().unwrap_or_default();
    let domain_id = input::domain_id(&ctx, &wanted)?;
    ctx.enforce("identity:create_project", &[("target.project.domain_id", &domain_id)])?;
    let input = CREATE.object(&body.0, "project")?;
    let (domain_id, parent_id) = place(&app, &ctx, input).await?;
    // A parent may lie in another domain than the policy was asked about.
    ctx.enforce("identity:create_project", &[("target.project.domain_id", input::or_none(&domain_id))])?;
    let row = Project {
        id: id::hex(),
        name: input::string(input, "name").unwrap_or_default().to_owned(),
        is_domain: domain_id.is_empty().into(),
        domain_id,
        parent_id,
        description: input::string(input, "description").unwrap_or_default().to_owned(),
        enabled: input::flag(input, "enabled").unwrap_or(true).into(),
        options: input::options("{}", input),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    let mut work = app.begin().await?;
    work.adds_only();
    for (what, above) in [("domain", &row.domain_id), ("project", &row.parent_id)] {
        if !above.is_empty() && !store::hold(&mut *work.tx, what, above).await? {
            return Err(faults::not_found(what, above).into());
        }
    }
    let tags = insert(&mut work, &row, input).await?;
    app.commit(work).await?;
    created(&json!({"project": view::project::project(&row, &tags, &base_url(&req))}))
}

/// Inserts a project or domain with its tags; they come back as (id, tag).
pub(super) async fn insert(
    work: &mut Work,
    row: &Project,
    input: &Map<String, Value>,
) -> Result<Vec<(String, String)>> {
    store::project::insert(&mut *work.tx, row).await?;
    for tag in input::strings(input, "tags").unwrap_or_default() {
        store::project::add_tag(&mut *work.tx, &row.id, &tag).await?;
    }
    store::project::tags(&mut *work.tx, &row.id).await
}

pub(super) async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
) -> ApiResult {
    let project = allowed(&app, &ctx, &id, "identity:get_project").await?;
    let query = query_pairs(req.query_string());
    let base = base_url(&req);
    let tags = store::project::tags(app.db.reader(), &project.id).await?;
    let mut body = view::project::project(&project, &tags, &base);
    hierarchy(&app, &ctx, &query, &project, &base, &mut body).await?;
    if list::flag(&query, "include_limits") {
        for (name, asked) in [("parents", "parents_as_list"), ("subtree", "subtree_as_list")] {
            if list::flag(&query, asked) {
                super::limits::include(&app, &mut body[name]).await?;
            }
        }
    }
    json(&json!({"project": body}))
}

/// `parents` and `subtree`, as ids or (those the caller has a role on) as projects.
async fn hierarchy(
    app: &App,
    ctx: &Ctx,
    query: &[(String, String)],
    project: &Project,
    base: &str,
    body: &mut Value,
) -> Result<()> {
    let asked = |name: &str| list::flag(query, name);
    for (what, one, other) in
        [("parents", "parents_as_list", "parents_as_ids"), ("subtree", "subtree_as_list", "subtree_as_ids")]
    {
        if asked(one) && asked(other) {
            return Err(Error::bad_request(format!(
                "Cannot use {one} and {other} query params at the same time to get {what}."
            )));
        }
    }
    let user = ctx.caller()?.user_id();
    let shown = async |rows: Vec<Project>| {
        let mut out = Vec::new();
        for row in rows.iter().filter(|p| p.is_domain == 0) {
            if store::project::is_of_user(app.db.reader(), user, &row.id).await? {
                out.push(json!({"project": view::project::project(row, &[], base)}));
            }
        }
        Ok::<Value, Error>(out.into())
    };
    if asked("parents_as_ids") || asked("parents_as_list") {
        let rows = above(app, project).await?;
        body["parents"] = if asked("parents_as_ids") {
            rows.iter().rev().fold(Value::Null, |inner, p| json!({ p.id.clone(): inner }))
        } else {
            shown(rows).await?
        };
    }
    if asked("subtree_as_ids") || asked("subtree_as_list") {
        let rows = store::project::list_below(app.db.reader(), &project.id).await?;
        body["subtree"] = if asked("subtree_as_ids") {
            let mut children: HashMap<&str, Vec<&Project>> = HashMap::new();
            for row in &rows {
                children.entry(&row.parent_id).or_default().push(row);
            }
            ids_below(&children, &project.id, 0)
        } else {
            shown(rows).await?
        };
    }
    Ok(())
}

fn ids_below(children: &HashMap<&str, Vec<&Project>>, id: &str, depth: usize) -> Value {
    let Some(rows) = children.get(id).filter(|_| depth <= MAX_DEPTH + 1) else { return Value::Null };
    Value::Object(rows.iter().map(|p| (p.id.clone(), ids_below(children, &p.id, depth + 1))).collect())
}

pub(super) async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let found = allowed(&app, &ctx, &id, "identity:update_project").await?;
    let input = UPDATE.object(&body.0, "project")?;
    input::same_id(input, &id, "project")?;
    if found.is_domain == 0 {
        let parent = input.get("parent_id").filter(|v| **v != json!(found.parent_id));
        let domain = input.get("domain_id").filter(|v| **v != json!(found.domain_id));
        if parent.is_some() {
            return Err(faults::forbidden_action("Update of `parent_id` is not allowed.").into());
        }
        if domain.is_some() {
            return Err(Error::bad_request("Update of `domain_id` is not allowed.").into());
        }
    }
    if input::flag(input, "is_domain").is_some_and(|v| v != (found.is_domain == 1)) {
        return Err(Error::bad_request("Update of `is_domain` is not allowed.").into());
    }
    let enabled = input::flag(input, "enabled");
    if found.is_domain == 0
        && enabled == Some(true)
        && above(&app, &found).await?.iter().any(|p| p.enabled == 0)
    {
        return Err(faults::forbidden_action(&format!(
            "cannot enable project {} since it has disabled parents.",
            found.id
        ))
        .into());
    }
    if found.is_domain == 0 && enabled == Some(false) {
        let below = store::project::list_below(app.db.reader(), &found.id).await?;
        if below.iter().any(|p| p.enabled == 1) {
            return Err(faults::forbidden_action(&format!(
                "cannot disable project {} since its subtree contains enabled projects.",
                found.id
            ))
            .into());
        }
    }
    let (row, tags) = change(&app, &id, input, "project").await?;
    json(&json!({"project": view::project::project(&row, &tags, &base_url(&req))}))
}

/// Applies a checked update to a project or domain and revokes the tokens of one that it disables.
pub(super) async fn change(
    app: &App,
    id: &str,
    input: &Map<String, Value>,
    what: &str,
) -> Result<(Project, Vec<(String, String)>)> {
    let mut work = app.begin().await?;
    let mut row = store::project::get(&mut *work.tx, id).await?.ok_or_else(|| faults::not_found(what, id))?;
    if row.immutable() && !input::only_unlocks(input) {
        return Err(faults::immutable("update", what, id));
    }
    let was_enabled = row.enabled == 1;
    if let Some(name) = input::string(input, "name") {
        row.name = name.to_owned();
    }
    if let Some(text) = input.get("description") {
        row.description = text.as_str().unwrap_or_default().to_owned();
    }
    if let Some(enabled) = input::flag(input, "enabled") {
        row.enabled = enabled.into();
    }
    row.options = input::options(&row.options, input);
    row.extra = input::keep(&row.extra, input, KNOWN);
    if store::project::update(&mut *work.tx, &row).await? != Change::Updated {
        return Err(faults::raced(what));
    }
    if let Some(tags) = input::strings(input, "tags") {
        store::project::remove_tags(&mut *work.tx, id, "").await?;
        for tag in tags {
            store::project::add_tag(&mut *work.tx, id, &tag).await?;
        }
    }
    let tags = store::project::tags(&mut *work.tx, id).await?;
    if was_enabled && row.enabled == 0 {
        match row.is_domain {
            1 => work.revoke_domain(id),
            _ => work.revoke_project(id),
        }
    }
    app.commit(work).await?;
    Ok((row, tags))
}

pub(super) async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let found = allowed(&app, &ctx, &id, "identity:delete_project").await?;
    if found.is_domain == 1 {
        super::domains::remove(&app, &found).await?;
        return no_content();
    }
    if found.immutable() {
        return Err(faults::immutable("delete", "project", &id).into());
    }
    let mut work = app.begin().await?;
    let tx = &mut *work.tx;
    if !store::hold(&mut *tx, "project", &id).await? {
        return Err(faults::not_found("project", &id).into());
    }
    if store::project::has_children(&mut *tx, &id).await? {
        return Err(faults::forbidden_action(&format!(
            "cannot delete the project {id} since it is not a leaf in the hierarchy. Use the cascade option if you want to delete a whole subtree."
        ))
        .into());
    }
    store::assignment::delete_on_target(&mut *tx, "project", &id).await?;
    store::trust::delete_of_project(&mut *tx, &id, Timestamp::now()).await?;
    store::user::clear_default_project(&mut *tx, &id).await?;
    if store::project::delete(&mut *tx, &id).await? == 0 {
        return Err(faults::not_found("project", &id).into());
    }
    work.revoke_project(&id);
    app.commit(work).await?;
    no_content()
}
