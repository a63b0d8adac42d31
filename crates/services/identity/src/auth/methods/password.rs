//! User and password.

use super::{Shown, find};
use crate::{app::App, auth::request::Key};
use ferrostack_model::{Error, Result, auth::Secret};

/// Costs the same whether there is such a user or not.
pub async fn show(app: &App, key: &Key, password: &Secret) -> Result<Shown> {
    let user = find::user(app, key).await?;
    let stored = user.as_ref().map(|u| u.password_hash.as_str());
    if !app.passwords.verify(&password.0, stored).await? {
        return Err(Error::unauthorized());
    }
    Ok(Shown { user, names: vec!["password".into()], parent: None, delegation: None })
}
