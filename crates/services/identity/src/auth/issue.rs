//! Issuing a token, and finding out what a token stands for now.

use super::{
    Context, Scope,
    request::{AuthRequest, DomainKey, Key, Method, ScopeWish},
    roles::{Target, effective},
};
use crate::{
    app::App,
    faults,
    store::{self, project::Project, revocation::Clock, user::User},
};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ferrostack_db::db_error;
use ferrostack_model::{Error, Result, Timestamp, TokenClaims};
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

/// Who the caller has proven to be.
struct Proven {
    user: User,
    user_domain: Project,
    methods: Vec<String>,
    /// Of the token method: the first token's expiry and chain id.
    parent: Option<(Timestamp, String)>,
}

/// Authenticates and issues: 401 whatever is wrong with user, password or scope; 404 for a bad token as method.
///
/// A token's time of issue lies before anything was read for it and after every rule that was known then, so a
/// rule that comes in between refuses it. Such a rule is looked for at the end and makes us start over.
pub async fn issue(app: &App, body: &Value) -> Result<Issued> {
    let request = AuthRequest::parse(body)?;
    for _ in 0..ATTEMPTS {
        let clock = app.revocations.sync(&app.db).await?;
        let now = Timestamp(Timestamp::now().0.max(clock.stamp + 1));
        let proven = prove(app, &request.methods, now).await?;
        let (expires, mut audit) = match &proven.parent {
            Some((expires, chain)) => (*expires, vec![chain.clone()]),
            None => (now.plus_seconds(app.token_ttl), Vec::new()),
        };
        audit.insert(0, audit_id()?);
        let methods = proven.methods.clone();
        let context = scoped(app, proven, &request.scope).await?;
        let claims = context.claims(now, expires, audit, methods);
        let current = settled_clock(app).await?;
        app.revocations.catch_up(&app.db, current).await?;
        if current.seq == clock.seq || !app.revocations.concerns_since(clock.seq, &claims) {
            return Ok(Issued { id: app.keys.sign(&claims)?, claims, context });
        }
    }
    Err(Error::unauthorized())
}

/// The clock while no rule of this process is stamped and not yet committed.
async fn settled_clock(app: &App) -> Result<Clock> {
    // The connection first: those who stamp hold one, and must not wait for us while we wait for one of theirs.
    let mut connection = app.db.reader().acquire().await.map_err(db_error)?;
    let _no_rule_is_being_stamped = app.stamping.read().await;
    store::revocation::clock(&mut *connection).await
}

/// What a token stands for: `None` if it is no token, has expired, was revoked, or its user, scope or roles are gone.
pub async fn subject_of(app: &App, token: &str) -> Result<Option<(TokenClaims, Context)>> {
    let Some(claims) = app.keys.read(token) else { return Ok(None) };
    if claims.exp_us <= Timestamp::now() {
        return Ok(None);
    }
    app.revocations.sync(&app.db).await?;
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

async fn prove(app: &App, methods: &[Method], now: Timestamp) -> Result<Proven> {
    let mut user: Option<User> = None;
    let mut names: Vec<String> = Vec::new();
    let mut parent = None;
    for method in methods {
        let found = match method {
            Method::Password(key, password) => {
                let found = find_user(app, key).await?;
                let stored = found.as_ref().map(|u| u.password_hash.as_str());
                if !app.passwords.verify(&password.0, stored).await? {
                    return Err(Error::unauthorized());
                }
                names.push("password".into());
                found
            }
            Method::Token(token) => {
                let claims = app.keys.read(&token.0).ok_or_else(faults::no_such_token)?;
                if claims.exp_us <= now || app.revocations.refuses(&claims) {
                    return Err(faults::no_such_token());
                }
                names.push("token".into());
                names.extend(claims.methods);
                parent = Some((claims.exp_us, claims.aud_ids.last().cloned().unwrap_or_default()));
                store::user::get(app.db.reader(), &claims.sub).await?
            }
        };
        let found = found.ok_or_else(Error::unauthorized)?;
        if user.as_ref().is_some_and(|u| u.id != found.id) {
            return Err(Error::unauthorized());
        }
        user = Some(found);
    }
    let user = user.ok_or_else(Error::unauthorized)?;
    let user_domain = Context::user_domain(&app.db, &user).await?.ok_or_else(Error::unauthorized)?;
    let mut methods: Vec<String> = Vec::new();
    for name in names {
        if !methods.contains(&name) {
            methods.push(name);
        }
    }
    if !satisfies_factors(&user, &methods) {
        return Err(Error::unauthorized());
    }
    Ok(Proven { user, user_domain, methods, parent })
}

/// The user option `multi_factor_auth_rules`: one of the lists must be wholly among the methods.
fn satisfies_factors(user: &User, methods: &[String]) -> bool {
    let options = store::members(&user.options);
    if options.get("multi_factor_auth_enabled") != Some(&Value::Bool(true)) {
        return true;
    }
    let Some(rules) = options.get("multi_factor_auth_rules").and_then(Value::as_array) else { return true };
    rules.is_empty()
        || rules
            .iter()
            .filter_map(Value::as_array)
            .any(|rule| rule.iter().all(|m| m.as_str().is_some_and(|m| methods.iter().any(|have| have == m))))
}

async fn find_domain(app: &App, key: &DomainKey) -> Result<Option<Project>> {
    match key {
        DomainKey::Id(id) => store::domain::get(app.db.reader(), id).await,
        DomainKey::Name(name) => store::domain::get_by_name(app.db.reader(), name).await,
    }
}

async fn find_user(app: &App, key: &Key) -> Result<Option<User>> {
    match key {
        Key::Id(id) => store::user::get(app.db.reader(), id).await,
        Key::Name(name, domain) => match find_domain(app, domain).await? {
            Some(domain) => store::user::get_by_name(app.db.reader(), &domain.id, name).await,
            None => Ok(None),
        },
    }
}

async fn find_project(app: &App, key: &Key) -> Result<Option<Project>> {
    match key {
        Key::Id(id) => store::project::get(app.db.reader(), id).await,
        Key::Name(name, domain) => match find_domain(app, domain).await? {
            Some(domain) => store::project::get_by_name(app.db.reader(), &domain.id, name).await,
            None => Ok(None),
        },
    }
}

async fn scoped(app: &App, proven: Proven, wish: &ScopeWish) -> Result<Context> {
    let Proven { user, user_domain, .. } = proven;
    let scope = match wish {
        ScopeWish::Unscoped => Some(Scope::Unscoped),
        ScopeWish::Default => Some(default_scope(app, &user).await?),
        ScopeWish::Project(key) => match find_project(app, key).await? {
            Some(project) => Context::project_scope(&app.db, project).await?,
            None => None,
        },
        ScopeWish::Domain(key) => {
            find_domain(app, key).await?.filter(|d| d.enabled == 1).map(|d| Scope::Domain(Box::new(d)))
        }
        ScopeWish::System => Some(Scope::System),
        ScopeWish::Unknown => None,
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
