//! OS-ENDPOINT-POLICY: which policy is for an endpoint, a service, or a service in a region.

use super::policies::find;
use crate::{
    app::App,
    faults, list,
    store::{self, endpoint::Endpoint, policy_association::Association, region::Region},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, base_url, json, no_content, query_pairs};
use ferrostack_model::{Error, Result};
use serde_json::json;
use std::collections::HashSet;

const ENDPOINT: &str = "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}";
const SERVICE: &str = "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}";
const REGION: &str = "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}";

pub(super) fn rows() -> Vec<Route> {
    let mut rows = vec![
        Route::get("/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints", || web::route().to(endpoints))
            .policy(&["identity:list_endpoints_for_policy"])
            .summary("List the endpoints that a policy is for"),
        Route::get("/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy", || web::route().to(policy))
            .policy(&["identity:get_policy_for_endpoint"])
            .summary("Show the policy that is for an endpoint"),
    ];
    for path in [ENDPOINT, SERVICE, REGION] {
        let rules = rules(path);
        rows.extend([
            Route::put(path, || web::route().to(associate))
                .policy(rules.create)
                .success(204)
                .summary("Associate a policy"),
            Route::get(path, || web::route().to(check))
                .policy(rules.check)
                .success(204)
                .summary("Check a policy's association"),
            Route::delete(path, || web::route().to(dissociate))
                .policy(rules.delete)
                .success(204)
                .summary("Remove a policy's association"),
        ]);
    }
    rows
}

type Rule = &'static [&'static str];

struct Rules {
    create: Rule,
    check: Rule,
    delete: Rule,
}

fn rules(path: &str) -> Rules {
    match path {
        ENDPOINT => Rules {
            create: &["identity:create_policy_association_for_endpoint"],
            check: &["identity:check_policy_association_for_endpoint"],
            delete: &["identity:delete_policy_association_for_endpoint"],
        },
        SERVICE => Rules {
            create: &["identity:create_policy_association_for_service"],
            check: &["identity:check_policy_association_for_service"],
            delete: &["identity:delete_policy_association_for_service"],
        },
        _ => Rules {
            create: &["identity:create_policy_association_for_region_and_service"],
            check: &["identity:check_policy_association_for_region_and_service"],
            delete: &["identity:delete_policy_association_for_region_and_service"],
        },
    }
}

/// The association that the path names, after the policy, if all of it exists.
async fn named(app: &App, ctx: &Ctx, path: &Named, rule: impl Fn(&Rules) -> Rule) -> Result<Association> {
    let kind = match (&path.endpoint_id, &path.region_id) {
        (Some(_), _) => ENDPOINT,
        (None, None) => SERVICE,
        (None, Some(_)) => REGION,
    };
    for rule in rule(&rules(kind)) {
        ctx.enforce(rule, &[])?;
    }
    find(app, &path.policy_id).await?;
    if let Some(id) = &path.endpoint_id
        && store::endpoint::get(app.db.reader(), id).await?.is_none()
    {
        return Err(faults::not_found("endpoint", id));
    }
    if let Some(id) = &path.service_id
        && store::service::get(app.db.reader(), id).await?.is_none()
    {
        return Err(faults::not_found("service", id));
    }
    if let Some(id) = &path.region_id
        && store::region::get(app.db.reader(), id).await?.is_none()
    {
        return Err(faults::not_found("region", id));
    }
    Ok(Association {
        policy_id: path.policy_id.clone(),
        endpoint_id: path.endpoint_id.clone(),
        service_id: path.service_id.clone(),
        region_id: path.region_id.clone(),
    })
}

/// What a path may name.
#[derive(serde::Deserialize)]
struct Named {
    policy_id: String,
    endpoint_id: Option<String>,
    service_id: Option<String>,
    region_id: Option<String>,
}

fn no_association() -> Error {
    Error::not_found("Could not find policy association.")
}

async fn associate(app: web::Data<App>, ctx: Ctx, path: web::Path<Named>) -> ApiResult {
    let row = named(&app, &ctx, &path, |r| r.create).await?;
    app.write(async |tx| store::policy_association::set(tx, &row).await).await?;
    no_content()
}

async fn check(app: web::Data<App>, ctx: Ctx, path: web::Path<Named>) -> ApiResult {
    let row = named(&app, &ctx, &path, |r| r.check).await?;
    let policy = store::policy_association::policy_of(app.db.reader(), &row).await?;
    if policy.as_deref() != Some(row.policy_id.as_str()) {
        return Err(no_association().into());
    }
    no_content()
}

/// Keystone does not say whether there was one.
async fn dissociate(app: web::Data<App>, ctx: Ctx, path: web::Path<Named>) -> ApiResult {
    let row = named(&app, &ctx, &path, |r| r.delete).await?;
    app.write(async |tx| store::policy_association::delete(tx, &row).await).await?;
    no_content()
}

/// A region and all below it.
fn with_below<'r>(regions: &'r [Region], top: &'r str) -> HashSet<&'r str> {
    let mut found = HashSet::from([top]);
    let mut next = vec![top];
    while let Some(id) = next.pop() {
        for region in regions.iter().filter(|r| r.parent_region_id == id) {
            if found.insert(&region.id) {
                next.push(&region.id);
            }
        }
    }
    found
}

async fn endpoints(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:list_endpoints_for_policy", &[])?;
    let policy = find(&app, &id).await?;
    let rows = store::policy_association::list_of_policy(app.db.reader(), &policy.id).await?;
    let regions = store::region::list(app.db.reader(), "").await?;
    let mut endpoints = store::endpoint::list(app.db.reader(), "", "", "").await?;
    let is_for = |row: &Association, endpoint: &Endpoint| match (&row.service_id, &row.region_id) {
        (Some(service), None) => endpoint.service_id == *service,
        (Some(service), Some(region)) => {
            endpoint.service_id == *service
                && with_below(&regions, region).contains(endpoint.region_id.as_str())
        }
        (None, _) => row.endpoint_id.as_deref() == Some(endpoint.id.as_str()),
    };
    endpoints.retain(|e| rows.iter().any(|row| is_for(row, e)));
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "endpoints", endpoints, |e| &e.id, view::service::endpoint)
}

/// The endpoint's own policy, else that of its service in its region or the nearest above, else its service's.
async fn policy(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:get_policy_for_endpoint", &[])?;
    let endpoint = store::endpoint::get(app.db.reader(), &id).await?;
    let endpoint = endpoint.ok_or_else(|| faults::not_found("endpoint", &id))?;
    let regions = store::region::list(app.db.reader(), "").await?;
    let service = Some(endpoint.service_id.clone());
    let mut wanted = vec![Association { endpoint_id: Some(endpoint.id.clone()), ..Default::default() }];
    let (mut region, mut seen) = (endpoint.region_id.as_str(), HashSet::new());
    while !region.is_empty() && seen.insert(region) {
        wanted.push(Association {
            service_id: service.clone(),
            region_id: Some(region.to_owned()),
            ..Default::default()
        });
        region = regions.iter().find(|r| r.id == region).map_or("", |r| r.parent_region_id.as_str());
    }
    wanted.push(Association { service_id: service, ..Default::default() });
    for row in wanted {
        if let Some(id) = store::policy_association::policy_of(app.db.reader(), &row).await? {
            let policy = find(&app, &id).await?;
            return json(&json!({"policy": view::policy::policy(&policy, &base_url(&req))}));
        }
    }
    Err(Error::not_found(format!("No policy is associated with endpoint {}.", endpoint.id)).into())
}
