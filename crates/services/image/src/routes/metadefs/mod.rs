//! Metadata definitions, one noun a file.

mod associations;
mod namespaces;
mod objects;
mod properties;
mod schemas;
mod tags;

use crate::{
    app::App,
    metadefs::{Namespace, Visibility, no_namespace},
    store::{self, metadefs::Deleted},
};
use ferrostack_http::{Ctx, Route};
use ferrostack_model::{Error, Result};

/// Every row.
pub fn routes() -> Vec<Route> {
    [
        schemas::routes(),
        namespaces::routes(),
        associations::routes(),
        properties::routes(),
        objects::routes(),
        tags::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The namespace, if the caller sees it; 404 otherwise.
async fn load(app: &App, ctx: &Ctx, name: &str) -> Result<Namespace> {
    find(app, ctx, name).await?.ok_or_else(|| no_namespace(name))
}

/// The namespace, if the caller sees it.
async fn find(app: &App, ctx: &Ctx, name: &str) -> Result<Option<Namespace>> {
    let caller = ctx.caller()?;
    if name.contains('\0') {
        return Ok(None);
    }
    let found = store::metadefs::namespaces::get(&app.db, name).await?;
    let project = caller.project_id();
    Ok(found.filter(|n| {
        n.visibility == Visibility::Public || caller.is_admin() || (!project.is_empty() && n.owner == project)
    }))
}

/// 403 unless the caller may do `rule` to what is in `namespace`; 404 if it may not even see that.
fn enforce(ctx: &Ctx, rule: &str, namespace: &Namespace) -> Result<()> {
    enforce_target(ctx, rule, &namespace.target())
}

/// The same for what is no namespace's: the caller's project counts.
fn enforce_own(ctx: &Ctx, rule: &str) -> Result<()> {
    let project = ctx.caller()?.project_id().to_owned();
    enforce_target(ctx, rule, &[("project_id", &project)])
}

fn enforce_target(ctx: &Ctx, rule: &str, target: &[(&str, &str)]) -> Result<()> {
    let refused = match ctx.enforce(rule, target) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if rule == "get_metadef_namespace" || !ctx.may("get_metadef_namespace", target) {
        return Err(Error::not_found("The resource could not be found."));
    }
    Err(refused)
}

/// 403 in the words of `protected`, 404 in those of `missing`.
fn deleted(
    done: Deleted,
    protected: impl FnOnce() -> String,
    missing: impl FnOnce() -> String,
) -> Result<()> {
    match done {
        Deleted::Done => Ok(()),
        Deleted::Protected => Err(Error::forbidden(protected())),
        Deleted::Missing => Err(Error::not_found(missing())),
    }
}

/// What a protected namespace says when it or all of a kind in it shall go.
fn protected(namespace: &Namespace) -> String {
    format!("Metadata definition namespace {} is protected and cannot be deleted.", namespace.name)
}

/// The last value of `name` in a query.
fn last<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// `sort_dir`: whether the largest comes first, as it does without.
fn descending(pairs: &[(String, String)]) -> Result<bool> {
    match last(pairs, "sort_dir") {
        None | Some("desc") => Ok(true),
        Some("asc") => Ok(false),
        Some(other) => {
            Err(Error::bad_request(format!("Invalid sort direction: {}", crate::text::short(other))))
        }
    }
}

/// `limit`: 400 if it is no number of `least` and more.
fn limit(pairs: &[(String, String)], least: i64) -> Result<Option<i64>> {
    let Some(text) = last(pairs, "limit") else { return Ok(None) };
    match text.trim().parse::<i64>() {
        Ok(n) if n >= least => Ok(Some(n)),
        Ok(_) => Err(Error::bad_request("limit param must be positive")),
        Err(_) => Err(Error::bad_request("limit param must be an integer")),
    }
}

/// 400 for a `visibility` that is none of `known`.
fn visibility<'a>(pairs: &'a [(String, String)], known: &[&str]) -> Result<Option<&'a str>> {
    match last(pairs, "visibility").filter(|v| !v.is_empty()) {
        Some(other) if !known.contains(&other) => {
            Err(Error::bad_request(format!("Invalid visibility value: {}", crate::text::short(other))))
        }
        known => Ok(known),
    }
}

fn bad_sort_key() -> Error {
    Error::bad_request("Sort key supplied was not valid.")
}
