//! An application credential with its secret.

use super::{Shown, find};
use crate::{
    app::App,
    auth::{delegation::Delegation, request::AppCredKey},
    store,
};
use ferrostack_model::{Error, Result, Timestamp, auth::Secret};

/// A wrong secret costs the same whether there is such a credential or not. Named by id with an owner, the owner
/// must be the credential's.
pub async fn show(app: &App, which: &AppCredKey, secret: &Secret) -> Result<Shown> {
    let (owner, cred) = match which {
        AppCredKey::Id(id, owner) => {
            let cred = store::application_credential::get(app.db.reader(), id).await?;
            let named = match owner {
                Some(key) => Some(find::user(app, key).await?),
                None => None,
            };
            let owner = match &cred {
                Some(cred) => store::user::get(app.db.reader(), &cred.row.user_id).await?,
                None => None,
            };
            let is_owner = |named: &Option<_>| {
                let id = |user: &Option<store::user::User>| user.as_ref().map(|u| u.id.clone());
                id(named).is_some() && id(named) == id(&owner)
            };
            (owner.clone(), cred.filter(|_| named.as_ref().is_none_or(is_owner)))
        }
        AppCredKey::Name(name, owner) => {
            let owner = find::user(app, owner).await?;
            let cred = match &owner {
                Some(user) => {
                    store::application_credential::get_by_name(app.db.reader(), &user.id, name).await?
                }
                None => None,
            };
            (owner, cred)
        }
    };
    let stored = cred.as_ref().map(|c| c.row.secret.as_str());
    if !app.passwords.verify_secret(&app.keys, &secret.0, stored).await? {
        return Err(Error::unauthorized());
    }
    let cred = cred.filter(|c| !c.expired(Timestamp::now())).ok_or_else(Error::unauthorized)?;
    Ok(Shown {
        user: owner,
        names: vec!["application_credential".into()],
        parent: None,
        delegation: Some(Delegation::AppCred(Box::new(cred))),
    })
}
