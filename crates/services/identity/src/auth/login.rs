//! A user's password, with all that guards it: limits, lockout, disabled users.
//!
//! A login fails in one way, whatever the reason: 401 with the same body after the same work, which is one slow hash
//! and, where users are locked out, one write. What differs (that the user is unknown, locked, idle) is only logged.

use crate::{
    app::App,
    auth::factors,
    compliance::has_option,
    source::Source,
    store::{self, user::User},
};
use ferrostack_db::{Change, db_error};
use ferrostack_model::{Error, Result, Timestamp};
use moka::sync::Cache;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// How long a user counts as known at an address after a login from there.
const KNOWN_FOR: i64 = 30 * 24 * 3600;
/// Addresses of a user that are known.
const MAX_KNOWN: i64 = 16;
/// How long a login is not noted again.
const NOTED_FOR: Duration = Duration::from_secs(12 * 3600);
/// Rows that stand for users who do not exist.
const NOBODIES: u64 = 64;
/// How often the last activity is written, microseconds.
const ACTIVITY_EVERY: i64 = 3600 * 1_000_000;
/// How long failures are kept, seconds.
const FAILURES_FOR: i64 = 30 * 24 * 3600;

/// From where users have logged in, as far as it is written down.
pub struct Known(Cache<(String, Source), ()>);

impl Default for Known {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(100_000).time_to_live(NOTED_FOR).build())
    }
}

/// The user, if `password` is its and it may log in: 401 otherwise, 429 after too many failures. `named` is what
/// the client called the user. Whether the password has expired is for the caller to ask, and the login is to be
/// [completed](complete).
pub async fn check(
    app: &App,
    found: Option<User>,
    named: &str,
    password: &str,
    from: &Source,
) -> Result<User> {
    let id = found.as_ref().map(|user| user.id.clone()).unwrap_or_default();
    let part = if is_known(app, &id, from).await? { from.as_str() } else { "" };
    let name = if id.is_empty() { named } else { &id };
    app.throttle.admit_user(name, part)?;
    let stored = found.as_ref().map(|user| user.password_hash.as_str());
    let right = app.passwords.verify(password, stored).await?;
    let now = Timestamp::now();
    // Asked after the hash: of many guesses at once none counts that ends after the one too many.
    let locked = is_locked(app, found.as_ref(), part, now).await?;
    match found {
        Some(user) if right && !locked && user.enabled == 1 && !app.compliance.is_idle(&user, now) => {
            if !app.passwords.is_current(&user.password_hash) {
                rehash(app, &user, password).await;
            }
            Ok(user)
        }
        found => {
            app.throttle.user_failed(name, part);
            let why = match &found {
                None => "unknown user",
                Some(_) if locked => "locked out",
                Some(_) if !right => "wrong password",
                Some(_) => "disabled",
            };
            count(app, found.as_ref().filter(|_| !right), name, part, now).await?;
            Err(Error::unauthorized().with_internal(format!("login of {name}: {why}")))
        }
    }
}

/// Whether the user has lately logged in from there: then its failures there count apart.
pub(super) async fn is_known(app: &App, id: &str, from: &Source) -> Result<bool> {
    if app.known.0.contains_key(&(id.to_owned(), from.clone())) {
        return Ok(true);
    }
    let since = Timestamp::now().plus_seconds(-KNOWN_FOR).0;
    store::login::is_known(app.db.reader(), id, from.as_str(), since).await
}

/// After how many failures one is locked out, and since when they count.
fn lockout(app: &App, now: Timestamp) -> Option<(i64, i64)> {
    let rules = app.compliance.rules();
    let since = match rules.lockout_duration {
        0 => i64::MIN,
        seconds => now.plus_seconds(-seconds).0,
    };
    Some((i64::from(rules.lockout_failure_attempts?), since))
}

fn is_exempt(user: &User) -> bool {
    has_option(user, "ignore_lockout_failure_attempts")
}

pub(super) async fn is_locked(app: &App, user: Option<&User>, part: &str, now: Timestamp) -> Result<bool> {
    let Some((most, since)) = lockout(app, now) else { return Ok(false) };
    let id = user.map_or("", |user| user.id.as_str());
    let row = store::login::failures(app.db.reader(), id, part).await?;
    let exempt = user.is_some_and(is_exempt);
    Ok(!exempt && row.is_some_and(|row| row.failures >= most && row.last_at > since))
}

/// Counts a failure: of `user`, or of nobody at the same price.
pub(super) async fn count(
    app: &App,
    user: Option<&User>,
    name: &str,
    part: &str,
    now: Timestamp,
) -> Result<()> {
    let Some((most, since)) = lockout(app, now) else { return Ok(()) };
    let row = match user.filter(|user| !is_exempt(user)) {
        Some(user) => (user.id.clone(), part.to_owned()),
        None => {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            (String::new(), format!("nobody {}", hasher.finish() % NOBODIES))
        }
    };
    store::login::fail(app.db.writer(), &row.0, &row.1, most, since, now.0).await?;
    Ok(())
}

/// The user has shown `methods`: welcome, if they are all that its rules ask for. Where a second factor is missing,
/// guesses at it are not forgiven for a right password, and the place is not known yet.
pub async fn complete(app: &App, user: &User, methods: &[String], from: &Source) -> Result<()> {
    if factors::missing(user, methods).is_some() {
        return Ok(());
    }
    let part = if is_known(app, &user.id, from).await? { from.as_str() } else { "" };
    welcome(app, user, part, from, Timestamp::now()).await
}

/// Forgives the failures of who has logged in, and notes from where.
pub(super) async fn welcome(app: &App, user: &User, part: &str, from: &Source, now: Timestamp) -> Result<()> {
    if let Some((..)) = lockout(app, now)
        && store::login::failures(app.db.reader(), &user.id, part).await?.is_some()
    {
        store::login::forgive(app.db.writer(), &user.id, part).await?;
    }
    let place = (user.id.clone(), from.clone());
    if !app.known.0.contains_key(&place) {
        let mut tx = app.db.begin_write().await?;
        // A user who was deleted meanwhile has no sources; the token is refused at the end of the login.
        if store::user::get(&mut *tx, &user.id).await?.is_some() {
            store::login::note_source(&mut tx, &user.id, from.as_str(), MAX_KNOWN, now.0).await?;
            tx.commit().await.map_err(db_error)?;
        }
        app.known.0.insert(place, ());
    }
    if app.compliance.idle_before(now).is_some() && user.last_active_at < now.0 - ACTIVITY_EVERY {
        store::login::note_activity(app.db.writer(), &user.id, now.0).await?;
    }
    Ok(())
}

/// Stores the password in the current form. If that fails (too many hashes wait, the user was changed meanwhile) the
/// next login tries again.
async fn rehash(app: &App, user: &User, password: &str) {
    let done = async {
        let hash = app.passwords.hash(password).await?;
        store::password::rehash(app.db.writer(), &user.id, user.generation, &hash).await
    };
    match done.await {
        Ok(Change::Updated) => {
            tracing::info!(user_id = user.id, "a password hash was brought to the current form");
        }
        Ok(_) => tracing::debug!(user_id = user.id, "a user was changed while its password was hashed anew"),
        Err(error) => tracing::warn!(error = error.for_log(), "a password was not hashed anew"),
    }
}

/// Disables users who were away for too long, and refuses their tokens.
pub async fn disable_idle(app: &App, now: Timestamp) -> Result<()> {
    const BATCH: i64 = 500;
    let Some(before) = app.compliance.idle_before(now) else { return Ok(()) };
    let mut after = String::new();
    loop {
        let users = store::login::idle(app.db.reader(), before, &after, BATCH).await?;
        let Some((last, _)) = users.last() else { return Ok(()) };
        after.clone_from(last);
        let mut work = app.begin().await?;
        let mut any = false;
        for (id, options) in users {
            let user = User { options, ..User::default() };
            if !has_option(&user, "ignore_user_inactivity")
                && store::login::disable_idle(&mut *work.tx, &id, before).await? > 0
            {
                tracing::info!(user_id = id, "a user without a login for too long was disabled");
                work.revoke_user(&id);
                any = true;
            }
        }
        // What changes nothing shall not make anybody read anew.
        if any {
            app.commit(work).await?;
        }
    }
}

/// Forgets failures and addresses that count for nothing any more.
pub async fn clean(app: &App, now: Timestamp) -> Result<()> {
    let mut tx = app.db.begin_write().await?;
    let (failures, sources) = (now.plus_seconds(-FAILURES_FOR).0, now.plus_seconds(-KNOWN_FOR).0);
    store::login::delete_old(&mut tx, failures, sources).await?;
    tx.commit().await.map_err(db_error)
}
