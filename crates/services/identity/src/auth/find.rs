//! Users, projects and domains by id or name.

use super::request::{DomainKey, Key};
use crate::{
    app::App,
    store::{self, project::Project, user::User},
};
use ferrostack_model::Result;

/// The domain, disabled ones too.
pub async fn domain(app: &App, key: &DomainKey) -> Result<Option<Project>> {
    match key {
        DomainKey::Id(id) => store::domain::get(app.db.reader(), id).await,
        DomainKey::Name(name) => store::domain::get_by_name(app.db.reader(), name).await,
    }
}

/// The user, disabled ones too.
pub async fn user(app: &App, key: &Key) -> Result<Option<User>> {
    match key {
        Key::Id(id) => store::user::get(app.db.reader(), id).await,
        Key::Name(name, in_domain) => match domain(app, in_domain).await? {
            Some(domain) => store::user::get_by_name(app.db.reader(), &domain.id, name).await,
            None => Ok(None),
        },
    }
}

/// The project, disabled ones too.
pub async fn project(app: &App, key: &Key) -> Result<Option<Project>> {
    match key {
        Key::Id(id) => store::project::get(app.db.reader(), id).await,
        Key::Name(name, in_domain) => match domain(app, in_domain).await? {
            Some(domain) => store::project::get_by_name(app.db.reader(), &domain.id, name).await,
            None => Ok(None),
        },
    }
}
