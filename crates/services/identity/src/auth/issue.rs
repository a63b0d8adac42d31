//! Issuing a token, and finding out what a token stands for now.

use super::{
    Context, Scope,
    delegation::Delegation,
    factors, find,
    methods::{self, Parent, Proven},
    receipt::{self, Partial},
    request::{AuthRequest, ScopeWish},
    roles::{Target, effective},
    trust::{self, Lent},
};
use crate::{
    app::App,
    faults,
    source::Source,
    store::{self, project::Project, revocation::Clock, user::User},
};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ferrostack_db::db_error;
use ferrostack_model::{Error, ErrorKind, Result, Timestamp, TokenClaims};
use parking_lot::Mutex;
use serde_json::Value;

/// Times an authentication starts over because its user was changed meanwhile.
const ATTEMPTS: usize = 4;

/// A token with what it stands for.
pub struct Issued {
    /// The compact JWS.
    pub id: String,
    /// Its claims.
    pub claims: TokenClaims,
    /// User, scope and roles as in the database.
    pub context: Context,
}

/// Authenticates and issues: 401 whatever is wrong with user, password or scope; 404 for a bad token as method; 429
/// after too many failures `from` there.
///
/// A token's time of issue lies before anything was read for it and after every rule that was known then, so a
/// rule that comes in between refuses it. Such a rule is looked for at the end and makes us start over.
pub async fn issue(app: &App, body: &Value, from: &Source) -> Result<Issued> {
    match login(app, body, from, None).await? {
        Login::Token(issued) => Ok(*issued),
        Login::Receipt(_) => Err(Error::unauthorized()),
    }
}

/// What a login led to.
pub enum Login {
    /// A token.
    Token(Box<Issued>),
    /// The user's rules ask for more methods.
    Receipt(Box<Partial>),
}

/// [`issue`], with the receipt of an earlier login by other methods.
pub async fn login(app: &App, body: &Value, from: &Source, earlier: Option<&str>) -> Result<Login> {
    let request = AuthRequest::parse(body)?;
    let partial = Mutex::new(None);
    let issued = issue_to(app, &request.scope, async |now| {
        let mut proven = methods::prove(app, &request.methods, now, from).await?;
        let until = match earlier {
            Some(earlier) => receipt::add(app, earlier, &mut proven, now)?,
            None => None,
        };
        if let Some(passcode) = proven.passcode.take() {
            passcode.spend(app, from).await?;
        }
        match factors::missing(&proven.user, &proven.methods) {
            None => Ok(proven),
            Some(required) => {
                // What was lent does not help to get more.
                if !proven.is_delegated() {
                    *partial.lock() = Some(receipt::issue(app, &proven, required, now, until)?);
                }
                Err(Error::unauthorized())
            }
        }
    })
    .await;
    match (issued, partial.into_inner()) {
        (Ok(issued), _) => Ok(Login::Token(Box::new(issued))),
        (Err(error), Some(partial)) if error.kind == ErrorKind::Unauthorized => {
            Ok(Login::Receipt(Box::new(partial)))
        }
        (Err(error), _) => Err(error),
    }
}

/// [`issue`] to whom `prove` shows, which may be asked several times.
pub async fn issue_to(
    app: &App,
    scope: &ScopeWish,
    prove: impl AsyncFn(Timestamp) -> Result<Proven>,
) -> Result<Issued> {
    for _ in 0..ATTEMPTS {
        let clock = app.look().await?;
        let now = Timestamp(Timestamp::now().0.max(clock.stamp + 1));
        let proven = prove(now).await?;
        let (mut expires, mut audit) = match &proven.parent {
            Some(parent) => (parent.expires, vec![parent.chain.clone()]),
            None => (now.plus_seconds(app.token_ttl), Vec::new()),
        };
        audit.insert(0, audit_id()?);
        let methods = proven.methods.clone();
        if let Some(parent) = &proven.parent {
            may_rescope(app, parent, scope)?;
        }
        let context = match scope {
            ScopeWish::Trust(id) => trust::scope(app, proven, id, now).await?,
            wish => scoped(app, proven, wish).await?,
        };
        if let Some(end) = context.delegation.as_ref().and_then(Delegation::expires) {
            expires = expires.min(end);
        }
        let claims = context.claims(now, expires, audit, methods);
        let current = settled_clock(app).await?;
        app.revocations.catch_up(&app.db, current).await?;
        if current.seq == clock.seq || !app.revocations.concerns_since(clock.seq, &claims) {
            if let Some(Delegation::Trust(lent)) = &context.delegation {
                consume(app, lent).await?;
            }
            return Ok(Issued { id: app.keys.sign(&claims)?, claims, context });
        }
    }
    Err(Error::unauthorized())
}

/// Takes one of a trust's uses. 401 if others took the last meanwhile.
async fn consume(app: &App, lent: &Lent) -> Result<()> {
    let trust = lent.trust();
    if trust.remaining_uses.is_some()
        && app.write(async |tx| store::trust::consume(tx, &trust.id).await).await? == 0
    {
        return Err(Error::unauthorized());
    }
    Ok(())
}

/// The clock while no rule of this process is stamped and not yet committed.
async fn settled_clock(app: &App) -> Result<Clock> {
    // The connection first: those who stamp hold one, and must not wait for us while we wait for one of theirs.
    let mut connection = app.db.reader().acquire().await.map_err(db_error)?;
    let _no_rule_is_being_stamped = app.stamping.read().await;
    store::revocation::clock(&mut *connection).await
}

/// What a token stands for: `None` if it is no token, has expired (more than `window` seconds ago), was revoked, or
/// its user, scope or roles are gone.
pub async fn subject_of(app: &App, token: &str, window: i64) -> Result<Option<(TokenClaims, Context)>> {
    let Some(claims) = app.keys.read(token) else { return Ok(None) };
    if claims.exp_us.plus_seconds(window) <= Timestamp::now() {
        return Ok(None);
    }
    app.look().await?;
    if app.revocations.refuses(&claims) {
        return Ok(None);
    }
    Ok(Context::of_claims(&app.db, &claims).await?.map(|context| (claims, context)))
}

fn audit_id() -> Result<String> {
    let mut raw = [0u8; 16];
    SystemRandom::new().fill(&mut raw).map_err(|_| Error::internal("no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(raw))
}

/// 403 for what no token may be exchanged for: one for the system is not for projects and domains, and with
/// `identity.allow_rescope_scoped_token` off a scoped one is for nothing else.
fn may_rescope(app: &App, parent: &Parent, wish: &ScopeWish) -> Result<()> {
    if parent.system && matches!(wish, ScopeWish::Project(_) | ScopeWish::Domain(_)) {
        return Err(faults::forbidden_action(
            "Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed.",
        ));
    }
    if parent.scoped && !app.delegation.allow_rescope_scoped_token {
        return Err(faults::forbidden_action("rescope a scoped token."));
    }
    Ok(())
}

/// The scope of a limited login: nothing said or its own project.
async fn limited(
    app: &App,
    user: User,
    user_domain: Project,
    limit: Delegation,
    wish: &ScopeWish,
) -> Result<Context> {
    let own = match wish {
        ScopeWish::Default => true,
        ScopeWish::Project(key) => {
            find::project(app, key).await?.is_some_and(|project| project.id == limit.project_id())
        }
        ScopeWish::Unscoped | ScopeWish::Domain(_) | ScopeWish::System | ScopeWish::Trust(_) => false,
    };
    if !own {
        return Err(Error::unauthorized());
    }
    limit.context(&app.db, user, user_domain).await?.ok_or_else(Error::unauthorized)
}

async fn scoped(app: &App, proven: Proven, wish: &ScopeWish) -> Result<Context> {
    let Proven { user, user_domain, delegation, .. } = proven;
    if let Some(limit) = delegation {
        return limited(app, user, user_domain, limit, wish).await;
    }
    let scope = match wish {
        ScopeWish::Unscoped => Some(Scope::Unscoped),
        ScopeWish::Default => Some(default_scope(app, &user).await?),
        ScopeWish::Project(key) => match find::project(app, key).await? {
            Some(project) => Context::project_scope(&app.db, project).await?,
            None => None,
        },
        ScopeWish::Domain(key) => {
            find::domain(app, key).await?.filter(|d| d.enabled == 1).map(|d| Scope::Domain(Box::new(d)))
        }
        ScopeWish::System => Some(Scope::System),
        // Not a scope of the user's own.
        ScopeWish::Trust(_) => None,
    };
    let scope = scope.ok_or_else(Error::unauthorized)?;
    Context::on(&app.db, user, user_domain, scope).await?.ok_or_else(Error::unauthorized)
}

/// The user's default project if it is usable, else none.
async fn default_scope(app: &App, user: &User) -> Result<Scope> {
    if user.default_project_id.is_empty() {
        return Ok(Scope::Unscoped);
    }
    let Some(project) = store::project::get(app.db.reader(), &user.default_project_id).await? else {
        return Ok(Scope::Unscoped);
    };
    let Some(scope) = Context::project_scope(&app.db, project).await? else { return Ok(Scope::Unscoped) };
    let usable = match &scope {
        Scope::Project(project, _) => {
            !effective(&app.db, &user.id, Target::Project(project)).await?.is_empty()
        }
        _ => false,
    };
    Ok(if usable { scope } else { Scope::Unscoped })
}
