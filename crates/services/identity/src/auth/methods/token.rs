//! A token got before, for another scope.

use super::{Parent, Shown};
use crate::{app::App, auth::delegation::Delegation, faults, store};
use ferrostack_model::{Result, Timestamp, auth::Secret};

/// 404 for what is no valid token, 403 for a trust's. What limits the token limits what is got with it.
pub async fn show(app: &App, token: &Secret, now: Timestamp) -> Result<Shown> {
    let claims = app.keys.read(&token.0).ok_or_else(faults::no_such_token)?;
    if claims.exp_us <= now || app.revocations.refuses(&claims) {
        return Err(faults::no_such_token());
    }
    if claims.trust.is_some() {
        return Err(faults::forbidden_action(
            "Using trust-scoped token to create another token. Create a new trust-scoped token instead",
        ));
    }
    let delegation = match Delegation::of_claims(&app.db, &claims).await? {
        Some(limit) => Some(limit.ok_or_else(faults::no_such_token)?),
        None => None,
    };
    let parent = Parent {
        expires: claims.exp_us,
        chain: claims.aud_ids.last().cloned().unwrap_or_default(),
        system: claims.system,
        scoped: claims.project.is_some() || claims.domain.is_some(),
    };
    let mut names = vec!["token".to_owned()];
    names.extend(claims.methods);
    let user = store::user::get(app.db.reader(), &claims.sub).await?;
    Ok(Shown { user, names, parent: Some(parent), delegation })
}
