//! `/v3/role_assignments`

use crate::{
    app::App,
    auth::closure,
    faults, input,
    list::{self, Items, Pieces},
    store::{
        self,
        assignment::{Assignment, Scan},
        role::Role,
    },
    view::assignment::{Entry, Names, assignment},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, base_url, query_pairs};
use ferrostack_model::{Error, Result};
use std::collections::{HashMap, HashSet};

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get("/v3/role_assignments", || web::route().to(index))
            .policy(&["identity:list_role_assignments", "identity:list_role_assignments_for_tree"])
            .summary("List role assignments"),
    ]
}

/// Assignments read at once.
const BATCH: i64 = 500;

/// The query's filters.
struct Filter {
    user: String,
    group: String,
    role: String,
    project: String,
    domain: String,
    system: bool,
    inherited: bool,
    effective: bool,
    subtree: bool,
}

impl Filter {
    fn read(query: &[(String, String)]) -> Result<Self> {
        let last = |name: &str| list::last(query, name).to_owned();
        let filter = Self {
            user: last("user.id"),
            group: last("group.id"),
            role: last("role.id"),
            project: last("scope.project.id"),
            domain: last("scope.domain.id"),
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
    fn passes(&self, row: &Assignment, from: bool, projects: &HashMap<String, String>) -> bool {
        let actor = |kind: &str, id: &str| id.is_empty() || (row.actor_kind == kind && row.actor_id == id);
        actor("user", &self.user)
            && actor("group", &self.group)
            && (self.role.is_empty() || row.role_id == self.role)
            && (self.project.is_empty()
                || (row.target_kind == "project" && projects.contains_key(&row.target_id)))
            && (self.domain.is_empty() || (row.target_kind == "domain" && row.target_id == self.domain))
            && (!self.system || row.target_kind == "system")
            && (!self.inherited || row.inherited == 1 || from)
    }

    /// The assignments to look at: all that an entry can come from. `above` are the places that the wanted projects
    /// inherit from.
    async fn scans(
        &self,
        app: &App,
        within: &str,
        projects: &HashMap<String, String>,
        above: &[String],
    ) -> Result<Vec<Scan>> {
        let any = Scan { within: within.to_owned(), ..Default::default() };
        let actor = |kind: &str, id: &str| Scan {
            actor_kind: kind.to_owned(),
            actor_id: id.to_owned(),
            ..any.clone()
        };
        if self.effective && !self.user.is_empty() {
            let mut scans = vec![actor("user", &self.user)];
            let groups = store::group::ids_of_user(app.db.reader(), &self.user).await?;
            scans.extend(groups.iter().map(|group| actor("group", group)));
            return Ok(scans);
        }
        let on = |kind: &str, id: &str, inherited: bool| Scan {
            target_kind: kind.to_owned(),
            target_id: id.to_owned(),
            inherited,
            ..any.clone()
        };
        if self.effective {
            return Ok(if !self.project.is_empty() {
                let mut scans: Vec<Scan> = projects.keys().map(|id| on("project", id, false)).collect();
                for id in above {
                    scans.extend([on("project", id, true), on("domain", id, true)]);
                }
                scans
            } else if !self.domain.is_empty() {
                vec![on("domain", &self.domain, false)]
            } else if self.system {
                vec![on("system", "system", false)]
            } else {
                vec![any]
            });
        }
        let mut scan = any.clone();
        scan.role_id.clone_from(&self.role);
        scan.inherited = self.inherited;
        if !self.user.is_empty() {
            (scan.actor_kind, scan.actor_id) = ("user".into(), self.user.clone());
        } else if !self.group.is_empty() {
            (scan.actor_kind, scan.actor_id) = ("group".into(), self.group.clone());
        }
        if !self.domain.is_empty() {
            (scan.target_kind, scan.target_id) = ("domain".into(), self.domain.clone());
        } else if self.system {
            (scan.target_kind, scan.target_id) = ("system".into(), "system".into());
        } else if !self.project.is_empty() {
            let on =
                |id: &String| Scan { target_kind: "project".into(), target_id: id.clone(), ..scan.clone() };
            return Ok(projects.keys().map(on).collect());
        }
        Ok(vec![scan])
    }
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = query_pairs(req.query_string());
    let asked = list::last(&query, "scope.project.id");
    let project = match asked.is_empty() {
        true => None,
        false => store::project::get(app.db.reader(), asked).await?.filter(|p| p.is_domain == 0),
    };
    let own = input::own_domain(&ctx)?;
    if list::flag(&query, "include_subtree") {
        let rule = "identity:list_role_assignments_for_tree";
        match &project {
            Some(project) => ctx.enforce(rule, &[("target.domain_id", &project.domain_id)])?,
            None if asked.is_empty() => ctx.enforce(rule, &[])?,
            // As in Keystone, which needs the project to ask the policy.
            None => return Err(faults::not_found("project", asked).into()),
        }
    } else {
        match &own {
            Some(domain) => ctx.enforce("identity:list_role_assignments", &[("target.domain_id", domain)])?,
            None => ctx.enforce("identity:list_role_assignments", &[])?,
        }
    }
    let filter = Filter::read(&query)?;
    // The wanted projects with what is right above each.
    let mut projects: HashMap<String, String> = HashMap::new();
    let mut above = Vec::new();
    if let Some(project) = &project {
        above = crate::auth::ancestors(&app.db, project).await?;
        if filter.subtree {
            let below = store::project::list_below(app.db.reader(), &project.id).await?;
            projects.extend(below.into_iter().map(|p| (p.id, p.parent_id)));
        }
        projects.insert(project.id.clone(), project.parent_id.clone());
    }
    let mut parents = projects.clone();
    for (n, id) in above.iter().enumerate() {
        parents.insert(id.clone(), above.get(n + 1).cloned().unwrap_or_default());
    }
    let mut scans = filter.scans(&app, own.as_deref().unwrap_or_default(), &projects, &above).await?;
    scans.sort_by(|a, b| (&a.target_kind, &a.target_id).cmp(&(&b.target_kind, &b.target_id)));
    scans.reverse();
    let entries = Entries {
        base: base_url(&req),
        names: list::flag(&query, "include_names").then(Names::default),
        implications: store::role::implications(app.db.reader()).await?,
        roles: store::role::list_all(app.db.reader()).await?,
        rows: Vec::new().into_iter(),
        last: None,
        pending: Box::new(std::iter::empty()),
        app,
        filter,
        projects,
        parents,
        scans,
    };
    list::whole(&req, &query, "role_assignments", entries).await
}

/// The entries of the list, made as they are sent.
struct Entries {
    app: web::Data<App>,
    base: String,
    filter: Filter,
    /// The wanted projects, and these with what is above them, each with its parent.
    projects: HashMap<String, String>,
    parents: HashMap<String, String>,
    implications: Vec<(String, String)>,
    roles: Vec<Role>,
    names: Option<Names>,
    /// Still to do, the last first.
    scans: Vec<Scan>,
    last: Option<Assignment>,
    rows: std::vec::IntoIter<Assignment>,
    /// What the current assignment comes to.
    pending: Box<dyn Iterator<Item = Entry>>,
}

impl Pieces for Entries {
    async fn next(&mut self, items: &mut Items) -> Result<bool> {
        while !items.full() {
            if let Some(entry) = self.pending.next() {
                if self.filter.passes(&entry.row, entry.from.is_some(), &self.projects) {
                    if let Some(names) = &mut self.names {
                        names.learn(&self.app.db, &entry.row).await?;
                    }
                    items.push(&assignment(&entry, self.names.as_ref(), &self.base))?;
                }
            } else if let Some(row) = self.rows.next() {
                self.pending = match self.filter.effective {
                    true => self.effective(row).await?,
                    false => Box::new(std::iter::once(Entry {
                        row,
                        through_group: None,
                        prior_role: None,
                        from: None,
                    })),
                };
            } else {
                let Some(scan) = self.scans.last() else { return Ok(false) };
                let rows =
                    store::assignment::list(self.app.db.reader(), scan, self.last.as_ref(), BATCH).await?;
                self.last = rows.last().cloned();
                if i64::try_from(rows.len()).unwrap_or(i64::MAX) < BATCH {
                    self.scans.pop();
                    self.last = None;
                }
                self.rows = rows.into_iter();
            }
        }
        Ok(true)
    }
}

impl Entries {
    /// What an assignment comes to: for users, on single projects and domains, with implied roles.
    async fn effective(&self, row: Assignment) -> Result<Box<dyn Iterator<Item = Entry>>> {
        let db = self.app.db.reader();
        let actors: Vec<(String, Option<String>)> = if row.actor_kind == "user" {
            vec![(row.actor_id.clone(), None)]
        } else if !self.filter.user.is_empty() {
            // Only the groups of that user are looked at.
            vec![(self.filter.user.clone(), Some(row.actor_id.clone()))]
        } else {
            let users = store::user::ids_of_group(db, &row.actor_id).await?;
            users.into_iter().map(|user| (user, Some(row.actor_id.clone()))).collect()
        };
        let targets: Vec<(String, String)> = if row.inherited == 0 {
            vec![(row.target_kind.clone(), row.target_id.clone())]
        } else if !self.filter.project.is_empty() {
            let inherits = self.projects.keys().filter(|id| self.is_below(id, &row.target_id));
            inherits.map(|id| ("project".to_owned(), id.clone())).collect()
        } else {
            let below = store::project::list_below(db, &row.target_id).await?;
            below.into_iter().map(|p| ("project".to_owned(), p.id)).collect()
        };
        let from = (row.inherited == 1).then(|| (row.target_kind.clone(), row.target_id.clone()));
        let implied = closure(HashSet::from([row.role_id.clone()]), &self.implications);
        let roles: Vec<String> = self
            .roles
            .iter()
            .filter(|r| r.domain_id.is_empty() && implied.contains(&r.id))
            .map(|r| r.id.clone())
            .collect();
        let (counts, total) = ((actors.len(), targets.len()), roles.len() * actors.len() * targets.len());
        Ok(Box::new((0..total).map(move |n| {
            let role = &roles[n / (counts.0 * counts.1)];
            let (user, group) = &actors[n / counts.1 % counts.0];
            let (kind, target) = &targets[n % counts.1];
            Entry {
                row: Assignment {
                    actor_kind: "user".into(),
                    actor_id: user.clone(),
                    target_kind: kind.clone(),
                    target_id: target.clone(),
                    role_id: role.clone(),
                    inherited: 0,
                },
                through_group: group.clone(),
                prior_role: (*role != row.role_id).then(|| row.role_id.clone()),
                from: from.clone(),
            }
        })))
    }

    /// Whether a wanted project lies below another project or domain.
    fn is_below(&self, id: &str, other: &str) -> bool {
        let up = |id: &&String| self.parents.get(*id).filter(|parent| !parent.is_empty());
        std::iter::successors(self.parents.get(id), up).take(self.parents.len() + 1).any(|at| at == other)
    }
}
