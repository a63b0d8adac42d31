//! User and one-time password of a credential of type `totp`.

use super::{Shown, find};
use crate::{
    app::App,
    auth::{login, request::Key},
    source::Source,
    store::{self, credential::TOTP, user::User},
    totp,
};
use ferrostack_model::{Error, Result, Timestamp, auth::Secret};
use parking_lot::Mutex;
use std::sync::Arc;

/// A wrong passcode weighs as so many wrong passwords: there are only a million of them.
const WEIGHT: usize = 10;

/// The passcodes of a request, by credential and step, as far as they are used up. A request that has to start over
/// may use its own again; no other may, on no replica.
#[derive(Clone, Debug, Default)]
pub struct Spent(Arc<Mutex<Vec<(String, i64)>>>);

/// A passcode that fits: to be [spent](Self::spend) when all else is shown.
pub struct Fitting {
    /// The credentials that show it, and when: one secret may lie in several.
    steps: Vec<(String, i64)>,
    user: User,
    part: String,
    spent: Spent,
}

/// Whether the passcode is one that a credential of the user shows now or showed shortly before, and was not used
/// yet. Fails in one way and after the same work whether there is such a user or not, and is limited as wrong
/// passwords are.
pub async fn show(
    app: &App,
    key: &Key,
    passcode: &Secret,
    spent: &Spent,
    from: &Source,
) -> Result<(Shown, Fitting)> {
    let user = find::user(app, key).await?;
    // Nobody has that id, but it costs a look as well.
    let id = user.as_ref().map_or("-", |user| &user.id);
    let part = if login::is_known(app, id, from).await? { from.as_str() } else { "" };
    let name = if user.is_some() { id.to_owned() } else { format!("{key:?}") };
    app.throttle.admit_user(&name, part)?;
    let now = Timestamp::now();
    let mut steps = Vec::new();
    let mut used = false;
    for row in store::credential::list(app.db.reader(), id, TOTP).await? {
        let blob = match app.vault.open(&row.context(), &row.blob) {
            Ok(blob) => blob,
            Err(error) => {
                tracing::error!(credential = row.id, error = error.for_log(), "a one-time password's secret");
                continue;
            }
        };
        let Some(secret) = totp::secret(&blob) else { continue };
        let step = totp::matching_step(&secret, &passcode.0, totp::step_of(now), app.totp_windows);
        if let Some(step) = step {
            // Used up in one credential, it is used up in all.
            used |= step <= row.totp_step && !spent.0.lock().contains(&(row.id.clone(), step));
            steps.push((row.id, step));
        }
    }
    let locked = login::is_locked(app, user.as_ref(), part, now).await?;
    match user {
        Some(user) if !steps.is_empty() && !used && !locked => {
            let fitting = Fitting { steps, user: user.clone(), part: part.to_owned(), spent: spent.clone() };
            let shown =
                Shown { user: Some(user), names: vec!["totp".into()], parent: None, delegation: None };
            Ok((shown, fitting))
        }
        user => {
            // Who shows a passcode a second time has not guessed.
            let weight = if used { 1 } else { WEIGHT };
            (0..weight).for_each(|_| app.throttle.user_failed(&name, part));
            login::count(app, user.as_ref().filter(|_| steps.is_empty()), &name, part, now).await?;
            let why = match &user {
                None => "unknown user",
                Some(_) if locked => "locked out",
                Some(_) if used => "passcode used before",
                Some(_) => "wrong passcode",
            };
            Err(Error::unauthorized().with_internal(format!("login of {name}: {why}")))
        }
    }
}

impl Fitting {
    /// Uses the passcode up, for all replicas. 401 if another request was faster.
    pub async fn spend(self, app: &App, from: &Source) -> Result<()> {
        for mine in self.steps {
            if self.spent.0.lock().contains(&mine) {
                continue;
            }
            if store::credential::take_step(app.db.writer(), &mine.0, mine.1).await? == 0 {
                return Err(Error::unauthorized().with_internal("passcode used before"));
            }
            self.spent.0.lock().push(mine);
        }
        login::welcome(app, &self.user, &self.part, from, Timestamp::now()).await
    }
}
