//! The lists of users, groups, projects, domains and roles: which statement, and what it leaves to filter.

use crate::{
    app::App,
    list::{self, Source},
    store::{
        self, After, Wanted,
        group::Group,
        project::{Project, Tagged},
        role::Role,
        user::User,
    },
    view,
};
use actix_web::web;
use ferrostack_model::Result;
use serde_json::Value;

/// What every source has.
pub struct Base {
    /// For the database.
    pub app: web::Data<App>,
    /// The query.
    pub query: Vec<(String, String)>,
    /// What of it the statement filters by.
    pub wanted: Wanted,
}

/// Users, or (with `wanted.owner`) a group's.
pub struct Users {
    /// What every source has.
    pub base: Base,
    /// The filter by the password's expiry.
    pub expires: Box<dyn Fn(&User) -> bool>,
}

impl Source for Users {
    type Row = User;
    async fn fetch(&self, after: &After, limit: i64) -> Result<Vec<User>> {
        let Base { app, wanted, .. } = &self.base;
        match wanted.owner.is_empty() {
            true => store::user::list(app.db.reader(), wanted, after, limit).await,
            false => store::user::page_of_group(app.db.reader(), wanted, after, limit).await,
        }
    }
    async fn find(&self, id: &str) -> Result<Option<After>> {
        Ok(store::user::get(self.base.app.db.reader(), id).await?.map(|row| self.place(&row)))
    }
    fn place(&self, row: &User) -> After {
        After::row(row.created_at, &row.id)
    }
    fn keeps(&self, row: &User) -> bool {
        list::passes(&self.base.query, "name", &row.name)
            && list::passes_enabled(&self.base.query, row.enabled)
            && (self.expires)(row)
    }
    fn view(&self, row: &User, base: &str) -> Value {
        view::user::user(row, base)
    }
}

/// Groups, or (with `wanted.owner`) a user's.
pub struct Groups(pub Base);

impl Source for Groups {
    type Row = Group;
    async fn fetch(&self, after: &After, limit: i64) -> Result<Vec<Group>> {
        let Base { app, wanted, .. } = &self.0;
        match wanted.owner.is_empty() {
            true => store::group::list(app.db.reader(), wanted, after, limit).await,
            false => store::group::page_of_user(app.db.reader(), wanted, after, limit).await,
        }
    }
    async fn find(&self, id: &str) -> Result<Option<After>> {
        Ok(store::group::get(self.0.app.db.reader(), id).await?.map(|row| self.place(&row)))
    }
    fn place(&self, row: &Group) -> After {
        After::row(row.created_at, &row.id)
    }
    fn keeps(&self, row: &Group) -> bool {
        list::passes(&self.0.query, "name", &row.name)
    }
    fn view(&self, row: &Group, base: &str) -> Value {
        view::group::group(row, base)
    }
}

/// Projects or domains.
pub struct Projects {
    /// What every source has; `wanted.owner`: a user's projects.
    pub base: Base,
    /// Of a user's projects only those a token can be got for.
    pub usable: bool,
    /// How a row looks.
    pub view: fn(&Project, &[(String, String)], &str) -> Value,
}

impl Source for Projects {
    type Row = Tagged;
    async fn fetch(&self, after: &After, limit: i64) -> Result<Vec<Tagged>> {
        let Base { app, wanted, .. } = &self.base;
        match wanted.owner.is_empty() {
            true => store::project::list(app.db.reader(), wanted, after, limit).await,
            false => store::project::page_of_user(app.db.reader(), wanted, self.usable, after, limit).await,
        }
    }
    async fn find(&self, id: &str) -> Result<Option<After>> {
        let row = store::project::get(self.base.app.db.reader(), id).await?;
        Ok(row.map(|row| After::row(row.created_at, &row.id)))
    }
    fn place(&self, row: &Tagged) -> After {
        After::row(row.project.created_at, &row.project.id)
    }
    fn keeps(&self, row: &Tagged) -> bool {
        let query = &self.base.query;
        let tags: Vec<&str> = row.tags.split(',').collect();
        list::passes(query, "name", &row.project.name)
            && list::passes(query, "description", &row.project.description)
            && list::passes_enabled(query, row.project.enabled)
            && passes_tags(query, &tags)
    }
    fn view(&self, row: &Tagged, base: &str) -> Value {
        (self.view)(&row.project, &row.pairs(), base)
    }
}

/// The tag that a project must have for the query's filters, if there is one.
pub fn needed_tag(query: &[(String, String)]) -> String {
    let one = |name: &str, value: &'_ str| match name {
        "tags" => value.split(',').find(|tag| !tag.is_empty()).map(str::to_owned),
        "tags-any" if !value.is_empty() && !value.contains(',') => Some(value.to_owned()),
        _ => None,
    };
    query.iter().find_map(|(name, value)| one(name, value)).unwrap_or_default()
}

/// `tags` (all of), `tags-any`, `not-tags` (not all of), `not-tags-any`; lists are separated by commas.
fn passes_tags(query: &[(String, String)], have: &[&str]) -> bool {
    let has = |tag: &str| have.contains(&tag);
    query.iter().all(|(name, value)| {
        let mut wanted = value.split(',').filter(|t| !t.is_empty());
        match name.as_str() {
            "tags" => wanted.all(has),
            "tags-any" => wanted.any(has),
            "not-tags" => !wanted.all(has),
            "not-tags-any" => !wanted.any(has),
            _ => true,
        }
    })
}

/// Roles, global or of a domain.
pub struct Roles(pub Base);

impl Source for Roles {
    type Row = Role;
    async fn fetch(&self, after: &After, limit: i64) -> Result<Vec<Role>> {
        store::role::list(self.0.app.db.reader(), &self.0.wanted, after, limit).await
    }
    async fn find(&self, id: &str) -> Result<Option<After>> {
        Ok(store::role::get(self.0.app.db.reader(), id).await?.map(|row| self.place(&row)))
    }
    fn place(&self, row: &Role) -> After {
        After::row(row.created_at, &row.id)
    }
    fn keeps(&self, row: &Role) -> bool {
        list::passes(&self.0.query, "name", &row.name)
    }
    fn view(&self, row: &Role, base: &str) -> Value {
        view::role::role(row, base)
    }
}
