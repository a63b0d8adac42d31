//! A user on a scope, as the database has it now.

use super::{
    delegation::Delegation,
    roles::{Target, effective},
};
use crate::store::{self, project::Project, role::Role, user::User};
use ferrostack_db::Db;
use ferrostack_model::{DomainRef, ProjectRef, Result, Timestamp, TokenClaims};

/// What a token is for.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Nothing: only for getting another token.
    Unscoped,
    /// A project and its domain.
    Project(Box<Project>, Box<Project>),
    /// A domain.
    Domain(Box<Project>),
    /// The deployment.
    System,
}

/// An enabled user with the roles on a usable scope.
#[derive(Clone)]
pub struct Context {
    /// The user.
    pub user: User,
    /// The user's domain.
    pub user_domain: Project,
    /// The scope.
    pub scope: Scope,
    /// Roles there, implied ones included; never empty unless unscoped.
    pub roles: Vec<Role>,
    /// What limits the login.
    pub delegation: Option<Delegation>,
}

/// A domain by id and name.
pub fn domain_ref(domain: &Project) -> DomainRef {
    DomainRef { id: domain.id.clone(), name: domain.name.clone() }
}

impl Context {
    /// The user's domain if user and domain are enabled.
    pub async fn user_domain(db: &Db, user: &User) -> Result<Option<Project>> {
        if user.enabled != 1 {
            return Ok(None);
        }
        let domain = store::domain::get(db.reader(), &user.domain_id).await?;
        Ok(domain.filter(|d| d.enabled == 1))
    }

    /// A project scope if the project and its domain are enabled.
    pub async fn project_scope(db: &Db, project: Project) -> Result<Option<Scope>> {
        // A domain acts as a project only through its own scope.
        if project.is_domain == 1 || project.enabled != 1 {
            return Ok(None);
        }
        let domain = store::domain::get(db.reader(), &project.domain_id).await?;
        Ok(domain.filter(|d| d.enabled == 1).map(|d| Scope::Project(Box::new(project), Box::new(d))))
    }

    /// The user on the scope; `None` without a role there.
    pub async fn on(db: &Db, user: User, user_domain: Project, scope: Scope) -> Result<Option<Self>> {
        let roles = match &scope {
            Scope::Unscoped => Vec::new(),
            Scope::Project(project, _) => effective(db, &user.id, Target::Project(project)).await?,
            Scope::Domain(domain) => effective(db, &user.id, Target::Domain(&domain.id)).await?,
            Scope::System => effective(db, &user.id, Target::System).await?,
        };
        if roles.is_empty() && !matches!(scope, Scope::Unscoped) {
            return Ok(None);
        }
        Ok(Some(Self { user, user_domain, scope, roles, delegation: None }))
    }

    /// What `claims` say, read anew; `None` if any of it is gone, disabled or not granted any more.
    pub async fn of_claims(db: &Db, claims: &TokenClaims) -> Result<Option<Self>> {
        let Some(user) = store::user::get(db.reader(), &claims.sub).await? else { return Ok(None) };
        let Some(user_domain) = Self::user_domain(db, &user).await? else { return Ok(None) };
        match Delegation::of_claims(db, claims).await? {
            Some(Some(limit)) => return limit.context(db, user, user_domain).await,
            Some(None) => return Ok(None),
            None => {}
        }
        let scope = if let Some(project) = &claims.project {
            match store::project::get(db.reader(), &project.id).await? {
                Some(project) => Self::project_scope(db, project).await?,
                None => None,
            }
        } else if let Some(domain) = &claims.domain {
            let domain = store::domain::get(db.reader(), &domain.id).await?;
            domain.filter(|d| d.enabled == 1).map(|d| Scope::Domain(Box::new(d)))
        } else if claims.system {
            Some(Scope::System)
        } else {
            Some(Scope::Unscoped)
        };
        match scope {
            Some(scope) => Self::on(db, user, user_domain, scope).await,
            None => Ok(None),
        }
    }

    /// The project's id, for the catalog.
    pub fn project_id(&self) -> Option<&str> {
        match &self.scope {
            Scope::Project(project, _) => Some(&project.id),
            _ => None,
        }
    }

    /// A token's claims.
    pub fn claims(
        &self,
        issued: Timestamp,
        expires: Timestamp,
        audit: Vec<String>,
        methods: Vec<String>,
    ) -> TokenClaims {
        let mut claims = TokenClaims {
            sub: self.user.id.clone(),
            name: self.user.name.clone(),
            dom: domain_ref(&self.user_domain),
            iat_us: issued,
            exp_us: expires,
            aud_ids: audit,
            methods,
            project: None,
            domain: None,
            system: false,
            roles: self.roles.iter().map(|r| r.name.clone()).collect(),
            ..Default::default()
        };
        match &self.scope {
            Scope::Unscoped => {}
            Scope::Project(p, d) => {
                claims.project =
                    Some(ProjectRef { id: p.id.clone(), name: p.name.clone(), domain: domain_ref(d) });
            }
            Scope::Domain(d) => claims.domain = Some(domain_ref(d)),
            Scope::System => claims.system = true,
        }
        if let Some(limit) = &self.delegation {
            limit.mark(&mut claims);
        }
        claims
    }
}
