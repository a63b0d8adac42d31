//! Tags of networks, subnets and ports.

use super::{State, Target, commit, enforce};
use crate::{
    app::App,
    attribute::{check, invalid},
    error::http_bad_request,
    store::{self, TRIES},
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, HttpResponse, web},
    json, no_content,
};
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::{Value, json};

macro_rules! rows {
    ($noun:literal, $get:literal, $update:literal, $delete:literal) => {
        vec![
            Route::get(concat!("/v2.0/", $noun, "/{id}/tags"), || web::get().to(list))
                .policy(&[$get])
                .summary("Lists tags"),
            Route::put(concat!("/v2.0/", $noun, "/{id}/tags"), || web::put().to(replace))
                .policy(&[$update])
                .summary("Replaces all tags"),
            Route::delete(concat!("/v2.0/", $noun, "/{id}/tags"), || web::delete().to(clear))
                .policy(&[$delete])
                .success(204)
                .summary("Removes all tags"),
            Route::get(concat!("/v2.0/", $noun, "/{id}/tags/{tag}"), || web::get().to(confirm))
                .policy(&[$get])
                .success(204)
                .summary("Whether there is the tag"),
            Route::put(concat!("/v2.0/", $noun, "/{id}/tags/{tag}"), || web::put().to(add))
                .policy(&[$update])
                .success(201)
                .summary("Adds a tag"),
            Route::delete(concat!("/v2.0/", $noun, "/{id}/tags/{tag}"), || web::delete().to(remove))
                .policy(&[$delete])
                .success(204)
                .summary("Removes a tag"),
        ]
    };
}

pub(super) fn routes() -> Vec<Route> {
    let mut rows = rows!("networks", "get_network:tags", "update_network:tags", "delete_network:tags");
    rows.extend(rows!("subnets", "get_subnet:tags", "update_subnet:tags", "delete_subnet:tags"));
    rows.extend(rows!("ports", "get_port:tags", "update_port:tags", "delete_port:tags"));
    rows
}

/// A tagged resource as it was read.
enum Tagged {
    Network(store::network::Network),
    Subnet(Box<store::subnet::Subnet>),
    Port(Box<store::port::Port>),
}

impl Tagged {
    fn tags(&mut self) -> &mut Vec<String> {
        match self {
            Self::Network(n) => &mut n.tags,
            Self::Subnet(s) => &mut s.tags,
            Self::Port(p) => &mut p.tags,
        }
    }

    async fn write(&mut self, app: &App) -> Result<Change> {
        let now = Timestamp::now();
        let mut tx = app.db.begin_write().await?;
        let change = match self {
            Self::Network(n) => {
                n.updated_at = now;
                store::network::update(&mut tx, n).await?
            }
            Self::Subnet(s) => {
                s.updated_at = now;
                store::subnet::update(&mut tx, s).await?
            }
            Self::Port(p) => {
                p.updated_at = now;
                store::port::update(&mut tx, p).await?.unwrap_or(Change::Stale)
            }
        };
        if change == Change::Updated {
            commit(tx).await?;
        }
        Ok(change)
    }
}

/// The resource, if the caller may see it and do `verb` (`get`, `update`, `delete`) to its tags.
async fn find(ctx: &Ctx, app: &App, noun: &str, id: &str, verb: &str) -> Result<Tagged> {
    let (found, rule, target) = match noun {
        "networks" => {
            let network = super::network::visible(ctx, app, id).await?;
            let target = Target::on(&network, &network.project_id);
            (Tagged::Network(network), "network", target)
        }
        "subnets" => {
            let (subnet, network) = super::subnet::visible(ctx, app, id).await?;
            let target = Target::on(&network, &subnet.project_id);
            (Tagged::Subnet(Box::new(subnet)), "subnet", target)
        }
        _ => {
            let port = super::port::visible(ctx, app, id).await?;
            let target = super::port::target(&port);
            (Tagged::Port(Box::new(port)), "port", target)
        }
    };
    enforce(ctx, &format!("{verb}_{rule}:tags"), &target.pairs())?;
    Ok(found)
}

/// Changes the tags until no other change comes in between.
async fn change(
    ctx: &Ctx,
    app: &App,
    (noun, id): (&str, &str),
    verb: &str,
    edit: impl Fn(&mut Vec<String>) -> Result<()>,
) -> Result<Vec<String>> {
    for _ in 0..TRIES {
        let mut found = find(ctx, app, noun, id, verb).await?;
        edit(found.tags())?;
        if found.tags().len() > 50 {
            return Err(http_bad_request("at most 50 tags are allowed"));
        }
        if found.write(app).await? == Change::Updated {
            return Ok(std::mem::take(found.tags()));
        }
    }
    Err(store::contended(noun, id))
}

fn one_tag(tag: &str) -> Result<String> {
    check::tag(&json!(tag)).map_err(|reason| invalid("tag", reason))?;
    Ok(tag.to_owned())
}

fn missing(tag: &str) -> Error {
    Error::not_found(format!("Tag {} could not be found.", check::short(tag))).named("TagNotFound")
}

/// `networks`, `subnets` or `ports`.
fn noun(req: &HttpRequest) -> &str {
    req.path().split('/').nth(2).unwrap_or("")
}
fn id(req: &HttpRequest) -> &str {
    req.match_info().query("id")
}
fn tag(req: &HttpRequest) -> &str {
    req.match_info().query("tag")
}

async fn list(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let mut found = find(&ctx, &app, noun(&req), id(&req), "get").await?;
    json(&json!({"tags": found.tags()}))
}

async fn replace(req: HttpRequest, ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let given =
        body.0.get("tags").ok_or_else(|| http_bad_request("Unable to find 'tags' in request body"))?;
    let tags = check::tags(given).map_err(|reason| invalid("tags", reason))?;
    let wanted: Vec<String> =
        tags.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let tags = change(&ctx, &app, (noun(&req), id(&req)), "update", |tags| {
        tags.clone_from(&wanted);
        Ok(())
    })
    .await?;
    json(&json!({"tags": tags}))
}

async fn clear(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    change(&ctx, &app, (noun(&req), id(&req)), "delete", |tags| {
        tags.clear();
        Ok(())
    })
    .await?;
    no_content()
}

async fn confirm(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let mut found = find(&ctx, &app, noun(&req), id(&req), "get").await?;
    if !found.tags().iter().any(|t| t == tag(&req)) {
        return Err(missing(tag(&req)).into());
    }
    no_content()
}

async fn add(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let tag = one_tag(tag(&req))?;
    change(&ctx, &app, (noun(&req), id(&req)), "update", |tags| {
        if !tags.contains(&tag) {
            tags.push(tag.clone());
        }
        Ok(())
    })
    .await?;
    Ok(HttpResponse::Created().finish())
}

async fn remove(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    change(&ctx, &app, (noun(&req), id(&req)), "delete", |tags| {
        let at = tags.iter().position(|t| *t == tag(&req)).ok_or_else(|| missing(tag(&req)))?;
        tags.remove(at);
        Ok(())
    })
    .await?;
    no_content()
}
