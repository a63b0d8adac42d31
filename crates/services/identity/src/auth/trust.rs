//! What a trust gives now.

use super::{Context, delegation::Delegation, find, methods::Proven};
use crate::{
    app::App,
    faults,
    store::{self, project::Project, trust::Trust, user::User},
};
use ferrostack_db::Db;
use ferrostack_model::{Error, Result, Timestamp};

/// Most trusts that one is handed on through.
const MAX_CHAIN: usize = 64;

/// A trust with those it was handed on from.
#[derive(Clone)]
pub struct Lent {
    /// Itself, then the one it was handed on from, up to the first trustor's own.
    pub chain: Vec<Trust>,
    /// Ids of its roles.
    pub roles: Vec<String>,
}

impl Lent {
    /// A trust that is neither deleted nor expired, nor any that it was handed on from.
    pub async fn get(db: &Db, id: &str, now: Timestamp) -> Result<Option<Self>> {
        let mut chain: Vec<Trust> = Vec::new();
        let mut next = id.to_owned();
        while !next.is_empty() {
            let found = store::trust::get(db.reader(), &next).await?.filter(|t| !t.expired(now));
            let Some(trust) = found.filter(|_| chain.len() < MAX_CHAIN) else { return Ok(None) };
            next.clone_from(&trust.redelegated_trust_id);
            chain.push(trust);
        }
        if chain.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { roles: store::trust::roles(db.reader(), id).await?, chain }))
    }

    /// The trust itself.
    pub fn trust(&self) -> &Trust {
        // Never empty, see `get`.
        &self.chain[0]
    }

    /// Whose roles are lent: the trustor of the first of the chain.
    pub fn owner(&self) -> &str {
        self.chain.last().map_or("", |t| t.trustor_user_id.as_str())
    }

    /// Everybody it depends on.
    pub fn parties(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.chain.iter().flat_map(|t| [t.trustor_user_id.clone(), t.trustee_user_id.clone()]).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether all of them are there and enabled, with their domains.
    pub async fn stands(&self, db: &Db) -> Result<bool> {
        for id in self.parties() {
            let Some(user) = store::user::get(db.reader(), &id).await? else { return Ok(false) };
            if Context::user_domain(db, &user).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// When its tokens end at the latest.
    pub fn expires(&self) -> Option<Timestamp> {
        self.chain.iter().map(|t| t.expires_at).filter(|at| *at != 0).min().map(Timestamp)
    }
}

/// The trustee on the trust: 401 if there is none that can be used, 403 for anybody else, for a login that is limited
/// itself, and where trustor or roles are not what they were.
pub async fn scope(app: &App, proven: Proven, id: &str, now: Timestamp) -> Result<Context> {
    if proven.delegation.is_some() {
        return Err(faults::forbidden_action("Using a delegated login to use a trust is not allowed."));
    }
    let lent = Lent::get(&app.db, id, now).await?.filter(|l| !l.trust().used_up());
    let lent = lent.ok_or_else(Error::unauthorized)?;
    let refused = || Error::forbidden("You are not authorized to perform the requested action.");
    if lent.trust().trustee_user_id != proven.user.id || !lent.stands(&app.db).await? {
        return Err(refused());
    }
    let (user, user_domain) =
        holder(&app.db, &lent, proven.user, proven.user_domain).await?.ok_or_else(refused)?;
    if !lent.trust().project_id.is_empty() {
        let key = super::request::Key::Id(lent.trust().project_id.clone());
        let open = match find::project(app, &key).await? {
            Some(project) => Context::project_scope(&app.db, project).await?,
            None => None,
        };
        open.ok_or_else(Error::unauthorized)?;
    }
    let limit = Delegation::Trust(Box::new(lent));
    limit.context(&app.db, user, user_domain).await?.ok_or_else(refused)
}

/// The user of the trust's tokens, with its domain.
async fn holder(db: &Db, lent: &Lent, trustee: User, domain: Project) -> Result<Option<(User, Project)>> {
    if lent.trust().user_id() == trustee.id {
        return Ok(Some((trustee, domain)));
    }
    let Some(trustor) = store::user::get(db.reader(), lent.trust().user_id()).await? else { return Ok(None) };
    let domain = Context::user_domain(db, &trustor).await?;
    Ok(domain.map(|domain| (trustor, domain)))
}
