//! The ways to prove who one is, one file each. All methods of a request must hold, for the same user.

mod application_credential;
mod password;
mod token;
mod totp;

pub use totp::{Fitting, Spent};

use super::{Context, delegation::Delegation, find, login, request::Method};
use crate::{
    app::App,
    source::Source,
    store::{project::Project, user::User},
};
use ferrostack_model::{Error, ErrorKind, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// What one method has shown.
pub struct Shown {
    /// The user; `None`: nobody, which is answered like a wrong secret.
    pub user: Option<User>,
    /// Names for the token's `methods`, this one's first.
    pub names: Vec<String>,
    /// Of a token: what the new one inherits.
    pub parent: Option<Parent>,
    /// What limits the login.
    pub delegation: Option<Delegation>,
}

/// The token that another is got with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parent {
    /// The first token's expiry, which the new one keeps.
    pub expires: Timestamp,
    /// The first token's audit id.
    pub chain: String,
    /// Whether the token is for the system.
    pub system: bool,
    /// Whether the token is for a project or domain.
    pub scoped: bool,
}

/// Who the caller has proven to be.
pub struct Proven {
    /// An enabled user.
    pub user: User,
    /// Its enabled domain.
    pub user_domain: Project,
    /// For the token's `methods`.
    pub methods: Vec<String>,
    /// Of a re-scoped token.
    pub parent: Option<Parent>,
    /// What limits the login: its token is for that and nothing else.
    pub delegation: Option<Delegation>,
    /// The passcode that was one of the methods: to be spent when all else is right, so that a slip elsewhere does
    /// not cost it.
    pub passcode: Option<Fitting>,
}

impl Proven {
    /// Whether the caller acts by a delegation.
    pub fn is_delegated(&self) -> bool {
        let lent = ["application_credential", "ec2credential"];
        self.delegation.is_some() || self.methods.iter().any(|name| lent.contains(&name.as_str()))
    }
}

/// Tries every method. 401 whatever is wrong; 404 for a bad token as method; 429 after too many failures `from`
/// there. Getting a token for a token is not limited: it costs no slow hash and nothing can be guessed.
pub async fn prove(app: &App, methods: &[Method], now: Timestamp, from: &Source) -> Result<Proven> {
    if methods.iter().all(|method| matches!(method, Method::Token(_))) {
        return prove_all(app, methods, now, from).await;
    }
    let turn = app.throttle.admit(from, app.passwords.load())?;
    let proven = prove_all(app, methods, now, from).await;
    if let Ok(proven) = &proven
        && methods.iter().any(|method| matches!(method, Method::Password(..)))
    {
        login::complete(app, &proven.user, &proven.methods, from).await?;
    }
    if proven.as_ref().is_err_and(|error| error.kind == ErrorKind::Unauthorized) {
        turn.failed();
    }
    proven
}

async fn prove_all(app: &App, methods: &[Method], now: Timestamp, from: &Source) -> Result<Proven> {
    let mut user: Option<User> = None;
    let mut names: Vec<String> = Vec::new();
    let mut parent = None;
    let mut passcode_shown = None;
    let mut delegation: Option<Delegation> = None;
    for method in methods {
        let shown = match method {
            Method::Password(key, password) => password::show(app, key, password, from).await?,
            Method::Token(token) => token::show(app, token, now).await?,
            Method::AppCred(which, secret) => application_credential::show(app, which, secret).await?,
            Method::Totp(key, passcode, spent) => {
                let (shown, fitting) = totp::show(app, key, passcode, spent, from).await?;
                passcode_shown = Some(fitting);
                shown
            }
        };
        let found = shown.user.ok_or_else(Error::unauthorized)?;
        if user.as_ref().is_some_and(|u| u.id != found.id) {
            return Err(Error::unauthorized());
        }
        user = Some(found);
        parent = shown.parent.or(parent);
        if let Some(limit) = shown.delegation {
            // Two limits at once would have to be met in the middle; nobody needs that.
            if delegation.as_ref().is_some_and(|d| !d.same(&limit)) {
                return Err(Error::unauthorized());
            }
            delegation = Some(limit);
        }
        for name in shown.names {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let user = user.ok_or_else(Error::unauthorized)?;
    let user_domain = Context::user_domain(&app.db, &user).await?.ok_or_else(Error::unauthorized)?;
    Ok(Proven { user, user_domain, methods: names, parent, delegation, passcode: passcode_shown })
}
