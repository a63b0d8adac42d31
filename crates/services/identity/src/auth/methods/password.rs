//! User and password.

use super::{Shown, find};
use crate::{
    app::App,
    auth::{login, request::Key},
    source::Source,
};
use ferrostack_model::{Error, ErrorKind, Result, Timestamp, auth::Secret};

/// Costs and answers the same whether there is such a user or not. Only who knows the password is told that it has
/// expired, as it must be to set another.
pub async fn show(app: &App, key: &Key, password: &Secret, from: &Source) -> Result<Shown> {
    let user = find::user(app, key).await?;
    let user = login::check(app, user, &format!("{key:?}"), &password.0, from).await?;
    if app.compliance.is_expired(&user, Timestamp::now()) {
        let text = format!("The password is expired and needs to be changed for user: {}.", user.id);
        return Err(Error::new(ErrorKind::Unauthorized, text));
    }
    Ok(Shown { user: Some(user), names: vec!["password".into()], parent: None, delegation: None })
}
