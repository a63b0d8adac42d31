//! What limits a login to less than its user has: an application credential, a trust, an EC2 credential.
//!
//! What a delegated token may do is decided by how it was got, which its claims keep through every re-scope, and
//! never by its scope.

use super::{
    Context, Scope,
    roles::{Target, countable, held, with_implied},
    trust::Lent,
};
use crate::{
    app::App,
    faults,
    store::{self, application_credential::AppCred, project::Project, user::User},
};
use ferrostack_db::Db;
use ferrostack_model::{AccessRule, AppCredRef, Error, Result, Timestamp, TokenClaims, TrustRef};
use std::collections::HashSet;

/// The limit of a login.
#[derive(Clone)]
pub enum Delegation {
    /// An application credential: its project, its roles.
    AppCred(Box<AppCred>),
    /// A trust: its project, its roles, which its owner must still have, all of them.
    Trust(Box<Lent>),
    /// This project only, by id: an EC2 credential without more.
    Project(String),
}

impl Delegation {
    /// What `claims` were limited by, as the database has it now. `None`: nothing. The inner `None`: it is gone, has
    /// expired, or is not what the claims say.
    pub async fn of_claims(db: &Db, claims: &TokenClaims) -> Result<Option<Option<Self>>> {
        if let Some(cred) = &claims.app_cred {
            let project = claims.project.as_ref().map(|p| p.id.as_str());
            let found = store::application_credential::get(db.reader(), &cred.id).await?;
            let fits = found.filter(|c| {
                c.row.user_id == claims.sub
                    && project == Some(c.row.project_id.as_str())
                    && !c.expired(Timestamp::now())
            });
            return Ok(Some(fits.map(|c| Self::AppCred(Box::new(c)))));
        }
        if let Some(trust) = &claims.trust {
            let project = claims.project.as_ref().map_or("", |p| p.id.as_str());
            let found = Lent::get(db, &trust.id, Timestamp::now()).await?;
            let fits = found.filter(|l| l.trust().user_id() == claims.sub && l.trust().project_id == project);
            let Some(lent) = fits else { return Ok(Some(None)) };
            let stands = lent.stands(db).await?;
            return Ok(Some(stands.then(|| Self::Trust(Box::new(lent)))));
        }
        if claims.is_delegated() {
            return Ok(Some(claims.project.as_ref().map(|p| Self::Project(p.id.clone()))));
        }
        Ok(None)
    }

    /// Whether two are the same limit.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AppCred(one), Self::AppCred(two)) => one.row.id == two.row.id,
            (Self::Trust(one), Self::Trust(two)) => one.trust().id == two.trust().id,
            (Self::Project(one), Self::Project(two)) => one == two,
            _ => false,
        }
    }

    /// The only project of its tokens; empty: none.
    pub fn project_id(&self) -> &str {
        match self {
            Self::AppCred(cred) => &cred.row.project_id,
            Self::Trust(lent) => &lent.trust().project_id,
            Self::Project(id) => id,
        }
    }

    /// When its tokens end at the latest.
    pub fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::AppCred(cred) if cred.row.expires_at != 0 => Some(Timestamp(cred.row.expires_at)),
            Self::Trust(lent) => lent.expires(),
            _ => None,
        }
    }

    /// The user within the limit; `None` if nothing is left of it: the project or its domain closed, no role held
    /// any more.
    pub async fn context(self, db: &Db, user: User, user_domain: Project) -> Result<Option<Context>> {
        if let (Self::Trust(lent), "") = (&self, self.project_id()) {
            let limit = lent.roles.is_empty().then_some(self);
            return Ok(limit.map(|limit| Context {
                user,
                user_domain,
                scope: Scope::Unscoped,
                roles: Vec::new(),
                delegation: Some(limit),
            }));
        }
        let Some(project) = store::project::get(db.reader(), self.project_id()).await? else {
            return Ok(None);
        };
        let Some(scope) = Context::project_scope(db, project).await? else { return Ok(None) };
        let Scope::Project(project, _) = &scope else { return Ok(None) };
        let owner = match &self {
            Self::Trust(lent) => lent.owner(),
            Self::AppCred(_) | Self::Project(_) => &user.id,
        };
        let has = held(db, owner, Target::Project(project)).await?;
        let given = match &self {
            // What it was given and the user still holds, with what that implies.
            Self::AppCred(cred) => {
                let kept = cred.roles.iter().filter(|id| has.contains(*id)).cloned().collect();
                with_implied(db, kept).await?
            }
            Self::Trust(lent) => {
                let lent: HashSet<String> = lent.roles.iter().cloned().collect();
                let given = with_implied(db, lent).await?;
                if !given.is_subset(&has) {
                    return Ok(None);
                }
                given
            }
            Self::Project(_) => has,
        };
        let roles = countable(db, &given).await?;
        if roles.is_empty() {
            return Ok(None);
        }
        Ok(Some(Context { user, user_domain, scope, roles, delegation: Some(self) }))
    }

    /// Notes the limit in a token's claims.
    pub fn mark(&self, claims: &mut TokenClaims) {
        match self {
            Self::AppCred(cred) => {
                let rules = cred.rules.iter().map(|r| AccessRule {
                    service: r.service.clone(),
                    method: r.method.clone(),
                    path: r.path.clone(),
                });
                claims.app_cred = Some(AppCredRef {
                    id: cred.row.id.clone(),
                    restricted: !cred.unrestricted(),
                    access_rules: (!cred.rules.is_empty()).then(|| rules.collect()),
                });
            }
            Self::Trust(lent) => {
                let trust = lent.trust();
                claims.trust = Some(TrustRef {
                    id: trust.id.clone(),
                    trustor: trust.trustor_user_id.clone(),
                    trustee: trust.trustee_user_id.clone(),
                    impersonation: trust.impersonation == 1,
                });
            }
            Self::Project(_) => {}
        }
    }
}

/// 403 if the token was got with a trust, a restricted application credential or an EC2 credential: such tokens
/// make and remove no credential, whatever their roles. `what` is for the text: `application credentials`.
pub fn in_person(claims: &TokenClaims, what: &str) -> Result<()> {
    let method = match &claims.app_cred {
        Some(cred) if cred.restricted => "application_credential",
        _ if claims.trust.is_some() => "OS-TRUST:trust",
        _ if claims.methods.iter().any(|m| m == "ec2credential") => "ec2credential",
        _ => return Ok(()),
    };
    Err(faults::forbidden_action(&format!("Using method '{method}' is not allowed for managing {what}.")))
}

/// 403 if `identity.delegation_max_token_age_seconds` is set and the token, or the first of its chain, is older:
/// whoever stole a token makes nothing of it that outlives it.
pub fn fresh_enough(app: &App, claims: &TokenClaims) -> Result<()> {
    let limit = app.delegation.max_token_age_seconds;
    // The first token's time is not in the claims, but a re-scoped one keeps its expiry.
    let issued = match claims.aud_ids.len() {
        0 | 1 => claims.iat_us,
        _ => claims.iat_us.min(claims.exp_us.plus_seconds(-app.token_ttl)),
    };
    if limit > 0 && issued.plus_seconds(limit) < Timestamp::now() {
        return Err(Error::forbidden(
            "The token is too old for managing credentials and trusts: authenticate again.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::request::{AppCredKey, DomainKey, Key, Method, ScopeWish};
    use ferrostack_model::auth::Secret;

    const MATRIX: &str = include_str!("../../tests/it/delegation.rs");

    /// The rows of the delegation matrix for a method: one that is new stops here until it has some.
    fn of_method(method: &Method) -> &'static [&'static str] {
        match method {
            Method::Password(..) => &["Password"],
            Method::Totp(..) => &["Totp"],
            Method::Token(_) => &["Rescoped"],
            Method::AppCred(..) => &["AppCred", "AppCredRestricted"],
        }
    }

    fn of_scope(wish: &ScopeWish) -> &'static [&'static str] {
        match wish {
            ScopeWish::Default => &["Default"],
            ScopeWish::Unscoped => &["Unscoped"],
            ScopeWish::Project(_) => &["OwnProject", "Project"],
            ScopeWish::Domain(_) => &["Domain"],
            ScopeWish::System => &["System"],
            ScopeWish::Trust(_) => &["Trust"],
        }
    }

    fn of_limit(limit: &Delegation) -> &'static [&'static str] {
        match limit {
            Delegation::AppCred(_) => &["AppCred", "AppCredRestricted"],
            Delegation::Trust(_) => &["Trust", "TrustImpersonating"],
            Delegation::Project(_) => &["Ec2"],
        }
    }

    #[test]
    fn every_variant_has_its_rows() {
        let has = |list: &str, rows: &[&str]| {
            for row in rows {
                let name = format!("{list}::{row}");
                let whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
                assert!(MATRIX.split(&name).skip(1).any(whole), "{name} is not in the matrix");
            }
        };
        let (key, secret) = (Key::Id("x".into()), Secret("x".into()));
        for method in [
            Method::Password(key.clone(), secret.clone()),
            Method::Token(secret.clone()),
            Method::Totp(key.clone(), secret.clone(), Default::default()),
            Method::AppCred(AppCredKey::Id("x".into(), None), secret),
        ] {
            has("How", of_method(&method));
        }
        for wish in [
            ScopeWish::Default,
            ScopeWish::Unscoped,
            ScopeWish::Project(key),
            ScopeWish::Domain(DomainKey::Id("x".into())),
            ScopeWish::System,
            ScopeWish::Trust("x".into()),
        ] {
            has("Wish", of_scope(&wish));
        }
        has("How", of_limit(&Delegation::Project("x".into())));
        has("How", &["Trust", "TrustImpersonating"]);
    }
}
