//! `/v2.0/endpoints`: what v3 has as one endpoint for each interface is one with three URLs here.

use super::{given, nothing};
use crate::{
    app::App,
    faults,
    routes::endpoints,
    store::{self, endpoint::Endpoint},
};
use actix_web::web;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content};
use ferrostack_model::{Error, Timestamp, id};
use serde_json::{Map, Value, json};

/// The member of the three rows that names them together, as in Keystone.
const LEGACY: &str = "legacy_endpoint_id";
const URLS: [(&str, &str); 3] = [("publicurl", "public"), ("internalurl", "internal"), ("adminurl", "admin")];

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get("/v2.0/endpoints", || web::route().to(index))
            .policy(&["identity:list_endpoints"])
            .summary("List endpoints (v2.0)"),
        Route::post("/v2.0/endpoints", || web::route().to(create))
            .policy(&["identity:create_endpoint"])
            .summary("Create an endpoint (v2.0)"),
        Route::delete("/v2.0/endpoints/{endpoint_id}", || web::route().to(delete))
            .policy(&["identity:delete_endpoint"])
            .success(204)
            .summary("Delete an endpoint (v2.0)"),
    ]
}

/// Rows that are one endpoint here: made together by v2.0, or of the same service and region.
fn together(rows: Vec<Endpoint>) -> Vec<Vec<Endpoint>> {
    let key = |row: &Endpoint| {
        let legacy =
            store::members(&row.extra).get(LEGACY).and_then(Value::as_str).unwrap_or_default().to_owned();
        (legacy, row.service_id.clone(), row.region_id.clone())
    };
    let mut groups: Vec<((String, String, String), Vec<Endpoint>)> = Vec::new();
    for row in rows {
        let of = key(&row);
        match groups.iter_mut().find(|(k, _)| *k == of) {
            Some((_, group)) => group.push(row),
            None => groups.push((of, vec![row])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The id: as v2.0 gave it, else the public one's.
fn id_of(group: &[Endpoint]) -> String {
    let first = group.iter().find(|e| e.interface == "public").or(group.first());
    let legacy =
        first.and_then(|e| store::members(&e.extra).get(LEGACY).and_then(Value::as_str).map(str::to_owned));
    legacy.or_else(|| first.map(|e| e.id.clone())).unwrap_or_default()
}

fn view(group: &[Endpoint]) -> Value {
    let any = group.first();
    let mut out = json!({
        "id": id_of(group), "region": any.map(|e| &e.region_id), "service_id": any.map(|e| &e.service_id),
        "enabled": group.iter().all(|e| e.enabled == 1),
    });
    for (name, interface) in URLS {
        out[name] = json!(group.iter().find(|e| e.interface == interface).map(|e| &e.url));
    }
    out
}

async fn index(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    ctx.enforce("identity:list_endpoints", &[])?;
    let rows = store::endpoint::list(app.db.reader(), "", "", "").await?;
    let endpoints: Vec<Value> = together(rows).iter().map(|group| view(group)).collect();
    json(&json!({"endpoints": endpoints, "endpoints_links": []}))
}

async fn create(app: web::Data<App>, ctx: Ctx, input: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_endpoint", &[])?;
    let wanted = given(&input, "endpoint")?;
    if !wanted.contains_key("publicurl") {
        return Err(faults::expected("publicurl", "endpoint").into());
    }
    let (legacy, now) = (id::hex(), Timestamp::now().0);
    let mut rows = Vec::new();
    let mut region = None;
    for (name, interface) in URLS {
        let Some(url) = wanted.get(name) else { continue };
        let mut one = Map::new();
        for (to, from) in [("service_id", "service_id"), ("region", "region"), ("enabled", "enabled")] {
            if let Some(value) = wanted.get(from) {
                one.insert(to.into(), value.clone());
            }
        }
        one.insert("interface".into(), json!(interface));
        one.insert("url".into(), url.clone());
        let body = json!({"endpoint": one});
        let one = endpoints::CREATE.object(&body, "endpoint")?;
        region = endpoints::check(&app, one).await?;
        rows.push(Endpoint {
            id: id::hex(),
            service_id: one["service_id"].as_str().unwrap_or_default().into(),
            interface: interface.into(),
            region_id: region.clone().unwrap_or_default(),
            url: url.as_str().unwrap_or_default().into(),
            enabled: one.get("enabled").and_then(Value::as_bool).unwrap_or(true).into(),
            extra: json!({LEGACY: legacy}).to_string(),
            created_at: now + i64::try_from(rows.len()).unwrap_or_default(),
            generation: 1,
        });
    }
    let mut work = app.begin().await?;
    if let Some(region) = &region {
        store::region::ensure(&mut *work.tx, region, now).await?;
    }
    for row in &rows {
        store::endpoint::insert(&mut *work.tx, row).await?;
    }
    app.commit(work).await?;
    json(&json!({"endpoint": view(&rows)}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_endpoint", &[])?;
    let mut work = app.begin().await?;
    let rows = store::endpoint::list(&mut *work.tx, "", "", "").await?;
    let mine = together(rows).into_iter().find(|group| id_of(group) == *id);
    let mine = mine.ok_or_else(|| faults::not_found("endpoint", &id))?;
    for row in &mine {
        if store::endpoint::delete(&mut *work.tx, &row.id).await? == 0 {
            return Err(Error::internal("an endpoint went away within a transaction").into());
        }
    }
    app.commit(work).await?;
    nothing(no_content())
}
