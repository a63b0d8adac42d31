//! Role assignments as JSON.

use super::segment;
use crate::store::{self, assignment::Assignment, group::Group, project::Project, role::Role, user::User};
use ferrostack_db::{Db, sqlx};
use ferrostack_model::Result;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Names for `include_names`.
#[derive(Default)]
pub struct Names {
    /// By id.
    pub users: HashMap<String, User>,
    /// By id.
    pub groups: HashMap<String, Group>,
    /// Projects and domains by id.
    pub projects: HashMap<String, Project>,
    /// By id.
    pub roles: HashMap<String, Role>,
}

/// Names kept at once; a longer list reads some again.
const MAX_NAMES: usize = 20_000;

impl Names {
    /// Reads the names in an assignment that are not known yet.
    pub async fn learn(&mut self, db: &Db, row: &Assignment) -> Result<()> {
        if self.users.len() + self.groups.len() + self.projects.len() > MAX_NAMES {
            *self = Self { roles: std::mem::take(&mut self.roles), ..Self::default() };
        }
        let db = db.reader();
        let mut domains = Vec::new();
        if row.actor_kind == "user" {
            if !self.users.contains_key(&row.actor_id)
                && let Some(user) = store::user::get(db, &row.actor_id).await?
            {
                self.users.insert(user.id.clone(), user);
            }
            domains.extend(self.users.get(&row.actor_id).map(|u| u.domain_id.clone()));
        } else {
            if !self.groups.contains_key(&row.actor_id)
                && let Some(group) = store::group::get(db, &row.actor_id).await?
            {
                self.groups.insert(group.id.clone(), group);
            }
            domains.extend(self.groups.get(&row.actor_id).map(|g| g.domain_id.clone()));
        }
        if !self.roles.contains_key(&row.role_id)
            && let Some(role) = store::role::get(db, &row.role_id).await?
        {
            self.roles.insert(role.id.clone(), role);
        }
        domains.extend(self.roles.get(&row.role_id).map(|r| r.domain_id.clone()));
        if row.target_kind != "system" {
            self.learn_project(db, &row.target_id).await?;
            domains.extend(self.projects.get(&row.target_id).map(|p| p.domain_id.clone()));
        }
        for domain in domains.iter().filter(|id| !id.is_empty()) {
            self.learn_project(db, domain).await?;
        }
        Ok(())
    }

    async fn learn_project(&mut self, db: &sqlx::AnyPool, id: &str) -> Result<()> {
        if !self.projects.contains_key(id)
            && let Some(project) = store::project::get(db, id).await?
        {
            self.projects.insert(id.to_owned(), project);
        }
        Ok(())
    }

    fn domain(&self, id: &str) -> Value {
        json!({"id": id, "name": self.projects.get(id).map_or("", |d| d.name.as_str())})
    }
}

/// One entry of a list: an assignment as made, or as it works out for a user.
pub struct Entry {
    /// Who, what and where.
    pub row: Assignment,
    /// The group it comes through, if it was made to one.
    pub through_group: Option<String>,
    /// The role that was granted, if it implies this one.
    pub prior_role: Option<String>,
    /// The project or domain it is inherited from, as (kind, id).
    pub from: Option<(String, String)>,
}

/// The entry; with names where `names` are given.
pub fn assignment(entry: &Entry, names: Option<&Names>, base: &str) -> Value {
    let row = &entry.row;
    let mut out = Map::new();
    out.insert("links".into(), links(entry, base));
    let mut scope = match row.target_kind.as_str() {
        "system" => json!({"system": {"all": true}}),
        kind => {
            let mut target = json!({"id": row.target_id});
            if let Some(project) = names.and_then(|n| n.projects.get(&row.target_id)) {
                target["name"] = json!(project.name);
                if kind == "project"
                    && let Some(names) = names
                {
                    target["domain"] = names.domain(&project.domain_id);
                }
            }
            json!({kind: target})
        }
    };
    if row.inherited == 1 {
        scope["OS-INHERIT:inherited_to"] = json!("projects");
    }
    out.insert("scope".into(), scope);
    let mut actor = json!({"id": row.actor_id});
    if let Some(names) = names {
        let found = match row.actor_kind.as_str() {
            "user" => names.users.get(&row.actor_id).map(|u| (&u.name, &u.domain_id)),
            _ => names.groups.get(&row.actor_id).map(|g| (&g.name, &g.domain_id)),
        };
        if let Some((name, domain)) = found {
            actor["name"] = json!(name);
            actor["domain"] = names.domain(domain);
        }
    }
    out.insert(row.actor_kind.clone(), actor);
    let mut role = json!({"id": row.role_id});
    if let Some(found) = names.and_then(|n| n.roles.get(&row.role_id)) {
        role["name"] = json!(found.name);
        if let (false, Some(names)) = (found.domain_id.is_empty(), names) {
            role["domain"] = names.domain(&found.domain_id);
        }
    }
    out.insert("role".into(), role);
    Value::Object(out)
}

fn links(entry: &Entry, base: &str) -> Value {
    let row = &entry.row;
    let (actors, actor) = match &entry.through_group {
        Some(group) => ("groups", group.as_str()),
        None if row.actor_kind == "group" => ("groups", row.actor_id.as_str()),
        None => ("users", row.actor_id.as_str()),
    };
    let (kind, target) = match &entry.from {
        Some((kind, id)) => (kind.as_str(), id.as_str()),
        None => (row.target_kind.as_str(), row.target_id.as_str()),
    };
    let inherited = row.inherited == 1 || entry.from.is_some();
    let role = entry.prior_role.as_deref().unwrap_or(&row.role_id);
    let place = match kind {
        "system" => "system".to_owned(),
        kind => format!("{kind}s/{}", segment(target)),
    };
    let grant = format!("{place}/{actors}/{}/roles/{}", segment(actor), segment(role));
    let url = if inherited {
        format!("{base}/v3/OS-INHERIT/{grant}/inherited_to_projects")
    } else {
        format!("{base}/v3/{grant}")
    };
    let mut links = json!({"assignment": url});
    if let Some(group) = &entry.through_group {
        links["membership"] =
            json!(format!("{base}/v3/groups/{}/users/{}", segment(group), segment(&row.actor_id)));
    }
    if let Some(prior) = &entry.prior_role {
        links["prior_role"] =
            json!(format!("{base}/v3/prior_role/{}/implies/{}", segment(prior), segment(&row.role_id)));
    }
    links
}
