//! `/v3/domains/{domain_id}/config`: kept and shown. The only identity driver is our own, so nothing follows from it.

use crate::{
    app::App,
    bootstrap::DEFAULT_DOMAIN,
    faults,
    input::Checks,
    store::{self, domain_config::ConfigOption},
    view::domain_config as view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, created, json, no_content};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const ALL: &str = "/v3/domains/{domain_id}/config";
const GROUP: &str = "/v3/domains/{domain_id}/config/{group}";
const OPTION: &str = "/v3/domains/{domain_id}/config/{group}/{option}";
const SECURITY: &str = "/v3/domains/{domain_id}/config/security_compliance";
const SECURITY_OPTION: &str = "/v3/domains/{domain_id}/config/security_compliance/{option}";
/// Settings of `[identity.security]` that everybody may read.
const READABLE: [&str; 2] = ["password_regex", "password_regex_description"];

pub(super) fn rows() -> Vec<Route> {
    let get = &["identity:get_domain_config"];
    let defaults = &["identity:get_domain_config_default"];
    let security = &["identity:get_security_compliance_domain_config"];
    let mut rows = vec![
        Route::put(ALL, || web::route().to(create))
            .policy(&["identity:create_domain_config"])
            .body(|| CONFIG.body("config"))
            .success(201)
            .summary("Set a domain's options (kept only: LDAP is not supported)"),
        Route::get(SECURITY, || web::route().to(security_group))
            .policy(security)
            .summary("Show what passwords must be like"),
        Route::get(SECURITY_OPTION, || web::route().to(security_option))
            .policy(security)
            .summary("Show what passwords must be like, one option"),
        Route::get("/v3/domains/config/default", || web::route().to(default))
            .policy(defaults)
            .summary("List the defaults of domains' options"),
        Route::get("/v3/domains/config/{group}/default", || web::route().to(default))
            .policy(defaults)
            .summary("List the defaults of a group of domains' options"),
        Route::get("/v3/domains/config/{group}/{option}/default", || web::route().to(default))
            .policy(defaults)
            .summary("Show the default of a domains' option"),
    ];
    for path in [ALL, GROUP, OPTION] {
        rows.extend([
            Route::get(path, || web::route().to(show)).policy(get).summary("Show a domain's options"),
            Route::patch(path, || web::route().to(update))
                .policy(&["identity:update_domain_config"])
                .body(|| CONFIG.body("config"))
                .summary("Update a domain's options (kept only: LDAP is not supported)"),
            Route::delete(path, || web::route().to(delete))
                .policy(&["identity:delete_domain_config"])
                .success(204)
                .summary("Remove a domain's options"),
        ]);
    }
    rows
}

/// What is wrong inside is a 403 of Keystone's and no schema's.
static CONFIG: LazyLock<Checks> = LazyLock::new(|| {
    Checks::of(json!({
        "type": "object",
        "description": "Groups (`identity`, `ldap`) with their options; below an option's path that option alone.",
    }))
});

/// What the path names; empty where it is shorter.
struct Place {
    domain_id: String,
    group: String,
    option: String,
}

impl Place {
    fn of(req: &HttpRequest) -> Self {
        let part = |name| req.match_info().get(name).unwrap_or_default().to_owned();
        Self { domain_id: part("domain_id"), group: part("group"), option: part("option") }
    }

    /// 404 naming what is not there.
    fn nothing(&self) -> Error {
        let (group, option) = (&self.group, &self.option);
        let what = match (group.as_str(), option.as_str()) {
            ("", _) => "any options".to_owned(),
            (_, "") => format!("group {group}"),
            _ => format!("option {option} in group {group}"),
        };
        let domain = faults::short(&self.domain_id);
        Error::not_found(format!("Could not find {what} in domain configuration for domain {domain}."))
    }
}

/// The place, after the policy, if its domain, group and option can be.
async fn place(app: &App, ctx: &Ctx, req: &HttpRequest, rule: &str) -> Result<Place> {
    ctx.enforce(rule, &[])?;
    let place = Place::of(req);
    if store::domain::get(app.db.reader(), &place.domain_id).await?.is_none() {
        return Err(faults::not_found("domain", &place.domain_id));
    }
    if !place.group.is_empty() {
        view::check(&place.group, &place.option)?;
    }
    Ok(place)
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let place = place(&app, &ctx, &req, "identity:get_domain_config").await?;
    let mut rows =
        store::domain_config::list(app.db.reader(), &place.domain_id, &place.group, &place.option).await?;
    rows.retain(|r| r.sensitive == 0);
    if rows.is_empty() {
        return Err(place.nothing().into());
    }
    let groups = view::groups(&rows);
    json(&json!({"config": if place.option.is_empty() { groups } else { groups[&place.group].clone() }}))
}

/// The options in `config`; 403 if there are none, or one that there cannot be.
fn options(config: &Map<String, Value>) -> Result<Vec<ConfigOption>> {
    if config.is_empty() {
        return Err(view::invalid("No options specified"));
    }
    let mut rows = Vec::new();
    for (group, members) in config {
        let Some(members) = members.as_object().filter(|m| !m.is_empty()) else {
            let group = faults::short(group);
            return Err(view::invalid(&format!(
                "The value of group {group} specified in the config should be a dictionary of options"
            )));
        };
        for (option, value) in members {
            view::check(group, option)?;
            let sensitive = view::sensitive(group, option);
            rows.push(ConfigOption {
                config_group: group.clone(),
                config_option: option.clone(),
                sensitive: sensitive.into(),
                // There is no driver that would need the secret, so it is not kept.
                value: if sensitive { "null".into() } else { value.to_string() },
            });
        }
    }
    Ok(rows)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let place = place(&app, &ctx, &req, "identity:create_domain_config").await?;
    let rows = options(CONFIG.object(&body.0, "config")?)?;
    let mut work = app.begin().await?;
    let before = store::domain_config::delete(&mut *work.tx, &place.domain_id, "", "").await?;
    for row in &rows {
        store::domain_config::set(&mut *work.tx, &place.domain_id, row).await?;
    }
    app.commit(work).await?;
    let answer = json!({"config": view::groups(&rows)});
    if before == 0 { created(&answer) } else { json(&answer) }
}

/// The group and option of the path must be there already, and nothing else may be in `config`.
async fn update(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let place = place(&app, &ctx, &req, "identity:update_domain_config").await?;
    let given = CONFIG.object(&body.0, "config")?;
    let (group, option) = (&place.group, &place.option);
    let config = if option.is_empty() {
        given.clone()
    } else {
        Map::from_iter([(group.clone(), Value::Object(given.clone()))])
    };
    let rows = options(&config)?;
    if !option.is_empty() && (rows.len() != 1 || rows[0].config_option != *option) {
        return Err(view::invalid(&format!(
            "Trying to update option {option} in group {group}, so that, and only that, option must be specified in the config"
        ))
        .into());
    }
    if !group.is_empty() && rows.iter().any(|r| r.config_group != *group) {
        return Err(view::invalid(&format!(
            "Trying to update group {group}, so that, and only that, group must be specified in the config"
        ))
        .into());
    }
    let mut work = app.begin().await?;
    let tx = &mut *work.tx;
    if !group.is_empty()
        && store::domain_config::list(&mut *tx, &place.domain_id, group, option).await?.is_empty()
    {
        return Err(place.nothing().into());
    }
    for row in &rows {
        store::domain_config::set(&mut *tx, &place.domain_id, row).await?;
    }
    let now = store::domain_config::list(&mut *tx, &place.domain_id, "", "").await?;
    app.commit(work).await?;
    json(&json!({"config": view::groups(&now)}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let place = place(&app, &ctx, &req, "identity:delete_domain_config").await?;
    let mut work = app.begin().await?;
    let gone =
        store::domain_config::delete(&mut *work.tx, &place.domain_id, &place.group, &place.option).await?;
    if gone == 0 && !place.group.is_empty() {
        return Err(place.nothing().into());
    }
    app.commit(work).await?;
    no_content()
}

/// The readable settings. Keystone has them for its default domain only.
fn security(app: &App, ctx: &Ctx, req: &HttpRequest) -> Result<Map<String, Value>> {
    ctx.enforce("identity:get_security_compliance_domain_config", &[])?;
    if Place::of(req).domain_id != DEFAULT_DOMAIN {
        return Err(view::invalid(
            "Reading security compliance information for any domain other than the default domain is not allowed or supported",
        ));
    }
    let description =
        Some(&app.compliance.rules().password_regex_description).filter(|text| !text.is_empty());
    let values = [json!(app.compliance.rules().password_regex), json!(description)];
    Ok(READABLE.map(str::to_owned).into_iter().zip(values).collect())
}

async fn security_group(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    json(&json!({"config": {"security_compliance": security(&app, &ctx, &req)?}}))
}

async fn security_option(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let values = security(&app, &ctx, &req)?;
    let option = Place::of(&req).option;
    let value = values.get(&option).ok_or_else(|| {
        view::invalid(
            "Reading security compliance values other than password_regex and password_regex_description is not allowed",
        )
    })?;
    json(&json!({"config": {option: value}}))
}

async fn default(ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_domain_config_default", &[])?;
    let place = Place::of(&req);
    json(&json!({"config": view::defaults(&place.group, &place.option)?}))
}
