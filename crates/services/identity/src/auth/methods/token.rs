//! A token got before, for another scope.

use super::{Parent, Shown};
use crate::{app::App, faults, store};
use ferrostack_model::{Result, Timestamp, auth::Secret};

/// 404 for what is no valid token.
pub async fn show(app: &App, token: &Secret, now: Timestamp) -> Result<Shown> {
    let claims = app.keys.read(&token.0).ok_or_else(faults::no_such_token)?;
    if claims.exp_us <= now || app.revocations.refuses(&claims) {
        return Err(faults::no_such_token());
    }
    let mut names = vec!["token".to_owned()];
    names.extend(claims.methods);
    let parent = Parent { expires: claims.exp_us, chain: claims.aud_ids.last().cloned().unwrap_or_default() };
    let user = store::user::get(app.db.reader(), &claims.sub).await?;
    Ok(Shown { user, names, parent: Some(parent) })
}
