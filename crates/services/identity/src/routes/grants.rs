//! Roles of users and groups on projects, domains and the system.
//!
//! One set of handlers for all forms of the path: its segments say who and where.

use crate::{
    app::{App, Work},
    faults, input, list,
    store::{
        self,
        assignment::{Assignment, Scan},
        group::Group,
        project::Project,
        role::Role,
        user::User,
    },
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, no_content, query_pairs};
use ferrostack_model::{Error, Result, RevocationEvent};

pub(super) fn rows() -> Vec<Route> {
    let places: [(&'static str, &'static str); 10] = [
        (
            "/v3/projects/{project_id}/users/{user_id}/roles",
            "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}",
        ),
        (
            "/v3/projects/{project_id}/groups/{group_id}/roles",
            "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}",
        ),
        (
            "/v3/domains/{domain_id}/users/{user_id}/roles",
            "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}",
        ),
        (
            "/v3/domains/{domain_id}/groups/{group_id}/roles",
            "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}",
        ),
        ("/v3/system/users/{user_id}/roles", "/v3/system/users/{user_id}/roles/{role_id}"),
        ("/v3/system/groups/{group_id}/roles", "/v3/system/groups/{group_id}/roles/{role_id}"),
        (
            "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects",
            "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
        ),
        (
            "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects",
            "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
        ),
        (
            "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects",
            "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
        ),
        (
            "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects",
            "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
        ),
    ];
    let mut rows = Vec::new();
    for (all, one) in places {
        // Only domains have a list of inherited grants.
        if !all.starts_with("/v3/OS-INHERIT/projects") {
            rows.push(
                Route::get(all, || web::route().to(index))
                    .policy(rules(all)[0])
                    .summary("List roles granted"),
            );
        }
        rows.push(
            Route::get(one, || web::route().to(check))
                .policy(rules(all)[1])
                .success(204)
                .summary("Check a grant"),
        );
        rows.push(
            Route::put(one, || web::route().to(grant))
                .policy(rules(all)[2])
                .success(204)
                .summary("Grant a role"),
        );
        rows.push(
            Route::delete(one, || web::route().to(revoke))
                .policy(rules(all)[3])
                .success(204)
                .summary("Revoke a grant"),
        );
    }
    rows
}

/// The rules to list, check, create and revoke below `path`.
fn rules(path: &str) -> [&'static [&'static str]; 4] {
    match (path.starts_with("/v3/system/"), path.contains("/users/")) {
        (false, _) => [
            &["identity:list_grants"],
            &["identity:check_grant"],
            &["identity:create_grant"],
            &["identity:revoke_grant"],
        ],
        (true, true) => [
            &["identity:list_system_grants_for_user"],
            &["identity:check_system_grant_for_user"],
            &["identity:create_system_grant_for_user"],
            &["identity:revoke_system_grant_for_user"],
        ],
        (true, false) => [
            &["identity:list_system_grants_for_group"],
            &["identity:check_system_grant_for_group"],
            &["identity:create_system_grant_for_group"],
            &["identity:revoke_system_grant_for_group"],
        ],
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    List = 0,
    Check = 1,
    Create = 2,
    Revoke = 3,
}

/// What a path names, as far as it exists.
struct Named {
    row: Assignment,
    role: Option<Role>,
    user: Option<User>,
    group: Option<Group>,
    target: Option<Project>,
}

impl Named {
    async fn read(app: &App, req: &HttpRequest) -> Result<Self> {
        let segment = |name: &str| req.match_info().get(name).map(str::to_owned);
        let (actor_kind, actor_id) = match (segment("user_id"), segment("group_id")) {
            (Some(id), _) => ("user", id),
            (None, Some(id)) => ("group", id),
            (None, None) => return Err(Error::internal("a grant's path names nobody")),
        };
        let (target_kind, target_id) = match (segment("project_id"), segment("domain_id")) {
            (Some(id), _) => ("project", id),
            (None, Some(id)) => ("domain", id),
            (None, None) => ("system", "system".to_owned()),
        };
        let db = app.db.reader();
        let role_id = segment("role_id").unwrap_or_default();
        Ok(Self {
            role: if role_id.is_empty() { None } else { store::role::get(db, &role_id).await? },
            user: if actor_kind == "user" { store::user::get(db, &actor_id).await? } else { None },
            group: if actor_kind == "group" { store::group::get(db, &actor_id).await? } else { None },
            target: match target_kind {
                "project" => store::project::get(db, &target_id).await?,
                "domain" => store::domain::get(db, &target_id).await?,
                _ => None,
            },
            row: Assignment {
                actor_kind: actor_kind.into(),
                actor_id,
                target_kind: target_kind.into(),
                target_id,
                role_id,
                inherited: req.path().starts_with("/v3/OS-INHERIT/").into(),
            },
        })
    }

    fn enforce(&self, ctx: &Ctx, path: &str, verb: Verb) -> Result<()> {
        let actor = match (&self.user, &self.group) {
            (Some(user), _) => Some(("target.user.domain_id", user.domain_id.as_str())),
            (None, Some(group)) => Some(("target.group.domain_id", group.domain_id.as_str())),
            (None, None) => None,
        };
        let target = policy_target(self.role.as_ref(), actor, self.target.as_ref(), &self.row.target_kind);
        ctx.enforce(rules(path)[verb as usize][0], &target)
    }

    /// 404 for the first that does not exist; the actor of a grant to revoke may be gone.
    fn complete(&self, verb: Verb) -> Result<()> {
        if self.role.is_none() && verb != Verb::List {
            return Err(faults::not_found("role", &self.row.role_id));
        }
        if self.user.is_none() && self.group.is_none() && verb != Verb::Revoke {
            return Err(faults::not_found(&self.row.actor_kind, &self.row.actor_id));
        }
        if self.target.is_none() && self.row.target_kind != "system" {
            return Err(faults::not_found(&self.row.target_kind, &self.row.target_id));
        }
        Ok(())
    }

    fn absent(&self) -> Error {
        Error::not_found(format!(
            "Could not find role assignment with role: {}, user or group: {}, project, domain, or system: {}.",
            self.row.role_id, self.row.actor_id, self.row.target_id
        ))
    }
}

/// What the policy of grants is asked about: the role, whose domain gets it, and where.
fn policy_target<'a>(
    role: Option<&'a Role>,
    actor: Option<(&'a str, &'a str)>,
    place: Option<&'a Project>,
    kind: &str,
) -> Vec<(&'a str, &'a str)> {
    let mut target = Vec::from_iter(actor);
    if let Some(role) = role {
        target.push(("target.role.name", role.name.as_str()));
        target.push(("target.role.domain_id", input::or_none(&role.domain_id)));
    }
    if let Some(place) = place {
        target.push(match kind {
            "domain" => ("target.domain.id", place.id.as_str()),
            _ => ("target.project.domain_id", input::or_none(&place.domain_id)),
        });
    }
    target
}

async fn named(app: &App, ctx: &Ctx, req: &HttpRequest, verb: Verb) -> Result<Named> {
    let named = Named::read(app, req).await?;
    // Keystone needs all that the path names to ask the policy, so 404 comes before 403 here.
    named.complete(verb)?;
    named.enforce(ctx, req.path(), verb)?;
    Ok(named)
}

async fn granted(app: &App, named: &Named) -> Result<Vec<Assignment>> {
    let row = &named.row;
    let wanted = Scan {
        actor_kind: row.actor_kind.clone(),
        actor_id: row.actor_id.clone(),
        target_kind: row.target_kind.clone(),
        target_id: row.target_id.clone(),
        role_id: row.role_id.clone(),
        ..Default::default()
    };
    let mut rows = store::assignment::list(app.db.reader(), &wanted, None, i64::MAX).await?;
    rows.retain(|r| r.inherited == row.inherited);
    Ok(rows)
}

pub(super) async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let named = named(&app, &ctx, &req, Verb::List).await?;
    let rows = granted(&app, &named).await?;
    let mut roles = store::role::list_all(app.db.reader()).await?;
    roles.retain(|role| rows.iter().any(|row| row.role_id == role.id));
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "roles", roles, |r| &r.id, view::role::role)
}

async fn check(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let named = named(&app, &ctx, &req, Verb::Check).await?;
    if granted(&app, &named).await?.is_empty() {
        return Err(named.absent().into());
    }
    no_content()
}

pub(super) async fn grant(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let named = named(&app, &ctx, &req, Verb::Create).await?;
    if let Some(role) = named.role.as_ref().filter(|r| !r.domain_id.is_empty()) {
        let owner = named.target.as_ref().map(|t| if t.is_domain == 1 { &t.id } else { &t.domain_id });
        if owner != Some(&role.domain_id) {
            return Err(Error::forbidden(format!(
                "Project {} must be in the same domain as the role {} being assigned.",
                named.row.target_id, role.id
            ))
            .into());
        }
    }
    let row = &named.row;
    let mut work = app.begin().await?;
    for (kind, id) in [(&row.target_kind, &row.target_id), (&row.actor_kind, &row.actor_id)] {
        if kind != "system" && !store::hold(&mut *work.tx, kind, id).await? {
            return Err(faults::not_found(kind, id).into());
        }
    }
    store::assignment::insert(&mut *work.tx, row).await?;
    app.commit(work).await?;
    no_content()
}

pub(super) async fn revoke(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let named = named(&app, &ctx, &req, Verb::Revoke).await?;
    let mut work = app.begin().await?;
    if store::assignment::delete(&mut *work.tx, &named.row).await? == 0 {
        return Err(named.absent().into());
    }
    let users: Vec<String> = if named.row.actor_kind == "user" {
        vec![named.row.actor_id.clone()]
    } else {
        store::user::ids_of_group(&mut *work.tx, &named.row.actor_id).await?
    };
    for user in users {
        revoke_tokens(&mut work, user, &named.row);
    }
    app.commit(work).await?;
    no_content()
}

/// Refuses a user's tokens for where `row` gave it a role; all of them where that cannot be said more narrowly.
pub(super) fn revoke_tokens(work: &mut Work, user_id: String, row: &Assignment) {
    let mut rule = RevocationEvent { user_id: Some(user_id), ..Default::default() };
    match row.target_kind.as_str() {
        "project" if row.inherited == 0 => rule.project_id = Some(row.target_id.clone()),
        "domain" => rule.domain_id = Some(row.target_id.clone()),
        _ => {}
    }
    work.revoke(rule);
}

/// 403 unless the caller could grant all of `held`, what a user or group of `domain_id` has, itself. Who may fill groups
/// or set passwords must not get by that what the policy of grants refuses. Keystone has no such check.
pub(super) async fn could_give(
    app: &App,
    ctx: &Ctx,
    held: &[Assignment],
    domain_id: &str,
    action: &str,
) -> Result<()> {
    // An admin may give anything, wherever the token is scoped to.
    if ctx.enforce("admin_required", &[]).is_ok() {
        return Ok(());
    }
    for row in held {
        let user = row.actor_kind == "user";
        let rule = match (row.target_kind == "system", user) {
            (true, true) => "identity:create_system_grant_for_user",
            (true, false) => "identity:create_system_grant_for_group",
            (false, _) => "identity:create_grant",
        };
        let role = store::role::get(app.db.reader(), &row.role_id).await?;
        let place = store::project::get(app.db.reader(), &row.target_id).await?;
        let actor = (if user { "target.user.domain_id" } else { "target.group.domain_id" }, domain_id);
        let target = policy_target(role.as_ref(), Some(actor), place.as_ref(), &row.target_kind);
        ctx.enforce(rule, &target).map_err(|_| faults::forbidden_action(&format!("{action}.")))?;
    }
    Ok(())
}
