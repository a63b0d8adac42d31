//! `/v3/role_assignments`

use crate::{
    app::App,
    auth::closure,
    input, list,
    store::{
        self,
        assignment::{Assignment, Wanted},
        project::Project,
    },
    view::assignment::{Entry, Names, assignment},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, base_url, json, query_pairs};
use ferrostack_model::{Error, Result};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get("/v3/role_assignments", || web::route().to(index))
            .policy(&["identity:list_role_assignments", "identity:list_role_assignments_for_tree"])
            .summary("List role assignments"),
    ]
}

/// The query's filters.
struct Filter<'q> {
    user: &'q str,
    group: &'q str,
    role: &'q str,
    project: &'q str,
    domain: &'q str,
    system: bool,
    inherited: bool,
    effective: bool,
    subtree: bool,
}

impl<'q> Filter<'q> {
    fn read(query: &'q [(String, String)]) -> Result<Self> {
        let filter = Self {
            user: list::last(query, "user.id"),
            group: list::last(query, "group.id"),
            role: list::last(query, "role.id"),
            project: list::last(query, "scope.project.id"),
            domain: list::last(query, "scope.domain.id"),
            system: query.iter().any(|(k, v)| k == "scope.system" && !v.is_empty()),
            inherited: query.iter().any(|(k, v)| k == "scope.OS-INHERIT:inherited_to" && !v.is_empty()),
            effective: list::flag(query, "effective"),
            subtree: list::flag(query, "include_subtree"),
        };
        let wrong = |text: &str| Err(Error::bad_request(text));
        if !filter.user.is_empty() && !filter.group.is_empty() {
            return wrong("Specify a user or group, not both");
        }
        let scopes = [!filter.project.is_empty(), !filter.domain.is_empty(), filter.system];
        if scopes.iter().filter(|s| **s).count() > 1 {
            return wrong("Specify system, domain, or project, not more than one");
        }
        if filter.effective && !filter.group.is_empty() {
            return wrong("Combining effective and group filter will always result in an empty list.");
        }
        if filter.effective && filter.inherited && !filter.domain.is_empty() {
            return wrong(
                "Combining effective, domain and inherited filters will always result in an empty list.",
            );
        }
        if filter.subtree && filter.project.is_empty() {
            return wrong("scope.project.id must be specified if include_subtree is also specified");
        }
        Ok(filter)
    }

    /// Whether an entry passes; `projects` are those wanted, if a project is.
    fn passes(&self, row: &Assignment, from: bool, projects: &HashSet<String>) -> bool {
        let actor = |kind: &str, id: &str| id.is_empty() || (row.actor_kind == kind && row.actor_id == id);
        actor("user", self.user)
            && actor("group", self.group)
            && (self.role.is_empty() || row.role_id == self.role)
            && (self.project.is_empty()
                || (row.target_kind == "project" && projects.contains(&row.target_id)))
            && (self.domain.is_empty() || (row.target_kind == "domain" && row.target_id == self.domain))
            && (!self.system || row.target_kind == "system")
            && (!self.inherited || row.inherited == 1 || from)
    }
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = query_pairs(req.query_string());
    let filter = Filter::read(&query)?;
    let projects = store::project::list(app.db.reader(), &Default::default()).await?;
    let own = input::own_domain(&ctx)?;
    if filter.subtree {
        let domain = projects.iter().find(|p| p.id == filter.project).map(|p| p.domain_id.as_str());
        ctx.enforce(
            "identity:list_role_assignments_for_tree",
            &[("target.domain_id", domain.unwrap_or("None"))],
        )?;
    } else {
        match &own {
            Some(domain) => ctx.enforce("identity:list_role_assignments", &[("target.domain_id", domain)])?,
            None => ctx.enforce("identity:list_role_assignments", &[])?,
        }
    }
    let mut wanted: HashSet<String> = HashSet::from([filter.project.to_owned()]);
    if filter.subtree {
        wanted.extend(below(&projects, filter.project).into_iter().map(|p| p.id.clone()));
    }
    let rows = store::assignment::list(app.db.reader(), &Wanted::default()).await?;
    let mut entries: Vec<Entry> = if filter.effective {
        effective(&app, rows, &projects).await?
    } else {
        rows.into_iter().map(|row| Entry { row, through_group: None, prior_role: None, from: None }).collect()
    };
    entries.retain(|e| filter.passes(&e.row, e.from.is_some(), &wanted));
    if let Some(own) = &own {
        let in_own = |e: &Entry| match e.row.target_kind.as_str() {
            "domain" => e.row.target_id == *own,
            "project" => projects.iter().any(|p| p.id == e.row.target_id && p.domain_id == *own),
            _ => false,
        };
        entries.retain(in_own);
    }
    let names = if list::flag(&query, "include_names") { Some(names(&app, projects).await?) } else { None };
    let base = base_url(&req);
    let shown: Vec<Value> = entries.iter().map(|e| assignment(e, names.as_ref(), &base)).collect();
    json(&json!({
        "role_assignments": shown,
        "links": {"next": null, "self": format!("{base}{}", req.uri()), "previous": null},
    }))
}

/// What the assignments come to: for users, on single projects and domains, with implied roles.
async fn effective(app: &App, rows: Vec<Assignment>, projects: &[Project]) -> Result<Vec<Entry>> {
    let implications = store::role::implications(app.db.reader()).await?;
    let roles = store::role::list_all(app.db.reader()).await?;
    let mut members: HashMap<String, Vec<String>> = HashMap::new();
    for (group, user) in store::group::memberships(app.db.reader()).await? {
        members.entry(group).or_default().push(user);
    }
    let none = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for row in rows {
        let actors: Vec<(String, Option<String>)> = if row.actor_kind == "user" {
            vec![(row.actor_id.clone(), None)]
        } else {
            let users = members.get(&row.actor_id).unwrap_or(&none);
            users.iter().map(|u| (u.clone(), Some(row.actor_id.clone()))).collect()
        };
        let targets: Vec<(String, String)> = match (row.inherited, row.target_kind.as_str()) {
            (0, kind) => vec![(kind.to_owned(), row.target_id.clone())],
            (_, "domain") => on(projects.iter().filter(|p| p.domain_id == row.target_id)),
            (_, _) => on(below(projects, &row.target_id).into_iter()),
        };
        let from = (row.inherited == 1).then(|| (row.target_kind.clone(), row.target_id.clone()));
        let implied = closure(HashSet::from([row.role_id.clone()]), &implications);
        for role in roles.iter().filter(|r| r.domain_id.is_empty() && implied.contains(&r.id)) {
            for (user, group) in &actors {
                for (kind, target) in &targets {
                    entries.push(Entry {
                        row: Assignment {
                            actor_kind: "user".into(),
                            actor_id: user.clone(),
                            target_kind: kind.clone(),
                            target_id: target.clone(),
                            role_id: role.id.clone(),
                            inherited: 0,
                        },
                        through_group: group.clone(),
                        prior_role: (role.id != row.role_id).then(|| row.role_id.clone()),
                        from: from.clone(),
                    });
                }
            }
        }
    }
    Ok(entries)
}

fn on<'p>(projects: impl Iterator<Item = &'p Project>) -> Vec<(String, String)> {
    projects.map(|p| ("project".to_owned(), p.id.clone())).collect()
}

/// The projects below one, at any depth.
fn below<'p>(projects: &'p [Project], id: &str) -> Vec<&'p Project> {
    let mut found: Vec<&Project> = projects.iter().filter(|p| p.parent_id == id).collect();
    let mut at = 0;
    while at < found.len() {
        let parent = &found[at].id;
        found.extend(projects.iter().filter(|p| p.parent_id == *parent));
        at += 1;
    }
    found
}

async fn names(app: &App, projects: Vec<Project>) -> Result<Names> {
    let db = app.db.reader();
    let wanted = store::project::Wanted { domains: true, ..Default::default() };
    let domains = store::project::list(db, &wanted).await?;
    let users = store::user::list(db, "", "").await?;
    let groups = store::group::list(db, "", "").await?;
    let roles = store::role::list_all(db).await?;
    Ok(Names {
        users: users.into_iter().map(|u| (u.id.clone(), u)).collect(),
        groups: groups.into_iter().map(|g| (g.id.clone(), g)).collect(),
        projects: projects.into_iter().chain(domains).map(|p| (p.id.clone(), p)).collect(),
        roles: roles.into_iter().map(|r| (r.id.clone(), r)).collect(),
    })
}
