//! `/v3/users/{user_id}/password`, and what else users' passwords need.

use crate::{
    app::App,
    auth::login,
    compliance::By,
    faults,
    input::{self, Checks},
    source::Source,
    store::{self, user::User},
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, JsonBody, Route, no_content};
use ferrostack_model::{Error, ErrorKind, Result, Timestamp};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::post("/v3/users/{user_id}/password", || web::route().to(change))
            .body(|| PASSWORD.body("user"))
            .public()
            .success(204)
            .summary("Change one's own password"),
    ]
}

static PASSWORD: LazyLock<Checks> = LazyLock::new(|| {
    Checks::new(
        json!({"original_password": input::text(), "password": input::text()}),
        &["original_password", "password"],
    )
});

/// The hash of a new password that an administrator gives: `Some("")` to take the password away.
pub(super) async fn given(app: &App, input: &Map<String, Value>) -> Result<Option<String>> {
    match input.get("password") {
        Some(Value::String(password)) => {
            app.compliance.check_form(password)?;
            Ok(Some(app.passwords.hash(password).await?))
        }
        Some(_) if app.compliance.rules().password_regex.is_some() => {
            Err(Error::bad_request("Password validation error: Password must be a string type."))
        }
        Some(_) => Ok(Some(String::new())),
        None => Ok(None),
    }
}

/// Gives the user, not yet stored, another password, and keeps the old one for comparisons.
pub(super) async fn replace(
    app: &App,
    db: &mut ferrostack_db::sqlx::AnyConnection,
    user: &mut User,
    hash: String,
    by: By,
) -> Result<()> {
    let keep = app.compliance.earlier().unwrap_or(0);
    store::password::remember(db, &user.id, user.generation, &user.password_hash, keep).await?;
    app.compliance.set(user, hash, by, Timestamp::now());
    Ok(())
}

async fn change(app: web::Data<App>, req: HttpRequest, id: web::Path<String>, body: JsonBody) -> ApiResult {
    let input = PASSWORD.object(&body.0, "user")?;
    let (old, new) = (
        input::string(input, "original_password").unwrap_or_default(),
        input::string(input, "password").unwrap_or_default(),
    );
    let from = Source::of(&req, &app.compliance.rules().trusted_proxies);
    let found = store::user::get(app.db.reader(), &id).await?;
    let turn = app.throttle.admit(&from, app.passwords.load())?;
    // An expired password still serves for this.
    let user = login::check(&app, found, &id, old, &from).await.inspect_err(|error| {
        if error.kind == ErrorKind::Unauthorized {
            turn.failed();
        }
    })?;
    login::complete(&app, &user, &["password".to_owned()], &from).await?;
    app.compliance.check_form(new)?;
    app.compliance.check_unlocked(&user)?;
    app.compliance.check_age(&user, Timestamp::now())?;
    if let Some(earlier) = app.compliance.earlier() {
        let mut hashes = store::password::list(app.db.reader(), &user.id, earlier).await?;
        hashes.push(user.password_hash.clone());
        if app.passwords.is_any(new, hashes).await? {
            return Err(app.compliance.reused().into());
        }
    }
    let hash = app.passwords.hash(new).await?;
    let mut work = app.begin().await?;
    let mut now = store::user::get(&mut *work.tx, &id).await?.ok_or_else(Error::unauthorized)?;
    if now.password_created_at != user.password_created_at || now.enabled == 0 {
        return Err(Error::unauthorized().into());
    }
    replace(&app, &mut work.tx, &mut now, hash, By::Oneself).await?;
    if store::user::update(&mut *work.tx, &now).await? != Change::Updated {
        return Err(faults::raced("user").into());
    }
    work.revoke_user(&now.id);
    app.commit(work).await?;
    no_content()
}

/// Whether a user stays in a list.
pub(super) type Keep = Box<dyn Fn(&User) -> bool>;
type Compare = fn(&i64, &i64) -> bool;

/// Whether the user passes the query's `password_expires_at=lt:2026-12-08T22:02:00Z`; operators `lt`, `lte`, `gt`,
/// `gte`, `eq` and `neq`. A password that does not expire passes none.
pub(super) fn expiry_filter(query: &[(String, String)]) -> Result<Keep> {
    let mut wanted: Vec<(Compare, i64)> = Vec::new();
    for (_, value) in query.iter().filter(|(name, _)| name == "password_expires_at") {
        let (operator, time) = value.split_once(':').unwrap_or(("", value));
        let compare = match operator {
            "lt" => i64::lt,
            "lte" => i64::le,
            "gt" => i64::gt,
            "gte" => i64::ge,
            "eq" => i64::eq,
            "neq" => i64::ne,
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(Error::bad_request(format!(
                    "The given operator {shown} is not valid. It must be one of the following: 'eq', 'neq', 'lt', 'lte', 'gt', or 'gte'."
                )));
            }
        };
        let time = Timestamp::parse(time).ok_or_else(|| {
            Error::bad_request(
                "Timestamp not in expected format. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.",
            )
        })?;
        wanted.push((compare, time.0));
    }
    Ok(Box::new(move |user: &User| {
        wanted
            .iter()
            .all(|(compare, time)| user.password_expires_at != 0 && compare(&user.password_expires_at, time))
    }))
}
