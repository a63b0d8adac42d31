//! Properties.

use super::{deleted, enforce, last, load};
use crate::text::short;
use crate::{
    app::App,
    metadefs::{Namespace, Property, check},
    store::metadefs::{Part, associations, delete as delete_part, properties, resource_types},
    view::metadefs::properties as view,
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, web},
    created, json, no_content, query_pairs,
};
use ferrostack_model::{Error, Result};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/metadefs/namespaces/{namespace}/properties", || web::get().to(list))
            .policy(&["get_metadef_properties"])
            .summary("Lists the properties of a namespace."),
        Route::post("/v2/metadefs/namespaces/{namespace}/properties", || web::post().to(create))
            .policy(&["add_metadef_property"])
            .success(201)
            .summary("Adds a property.")
            .request_schema(check::PROPERTY),
        Route::get("/v2/metadefs/namespaces/{namespace}/properties/{property_name}", || web::get().to(show))
            .policy(&["get_metadef_property", "get_metadef_resource_type"])
            .summary("Shows a property."),
        Route::put("/v2/metadefs/namespaces/{namespace}/properties/{property_name}", || {
            web::put().to(update)
        })
        .policy(&["modify_metadef_property"])
        .summary("Replaces a property.")
        .request_schema(check::PROPERTY),
        Route::delete("/v2/metadefs/namespaces/{namespace}/properties/{property_name}", || {
            web::delete().to(delete)
        })
        .policy(&["remove_metadef_property"])
        .success(204)
        .summary("Deletes a property."),
    ]
}

fn missing(name: &str) -> String {
    format!("Could not find property {}", short(name))
}

async fn list(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "get_metadef_properties", &namespace)?;
    json(&view::properties(&properties::list(&app.db, &namespace.id).await?))
}

async fn create(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "add_metadef_property", &namespace)?;
    let property = check::property(&body.0)?;
    properties::insert(&app.db, &namespace.id, &namespace.name, &property).await?;
    created(&view::property(&property))
}

async fn get(app: &App, namespace: &Namespace, name: &str) -> Result<Property> {
    let found =
        if name.contains('\0') { None } else { properties::get(&app.db, &namespace.id, name).await? };
    found.ok_or_else(|| Error::not_found(missing(name)))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "get_metadef_property", &namespace)?;
    let pairs = query_pairs(req.query_string());
    let name = match last(&pairs, "resource_type").filter(|t| !t.is_empty()) {
        None => path.1.as_str(),
        Some(resource_type) => {
            enforce(&ctx, "get_metadef_resource_type", &namespace)?;
            let prefix = prefix(&app, &namespace, resource_type).await?;
            let plain = prefix.as_deref().filter(|p| !p.is_empty()).and_then(|p| path.1.strip_prefix(p));
            plain.ok_or_else(|| {
                Error::not_found(format!(
                    "Property {} does not start with the expected resource type association prefix of '{}'.",
                    short(&path.1),
                    prefix.as_deref().unwrap_or("None")
                ))
            })?
        }
    };
    json(&view::property(&get(&app, &namespace, name).await?))
}

/// What properties are called by on `resource_type`; 404 if the namespace is not for it.
async fn prefix(app: &App, namespace: &Namespace, resource_type: &str) -> Result<Option<String>> {
    let all = associations::list(&app.db, &namespace.id).await?;
    if let Some(found) = all.into_iter().find(|a| a.name == resource_type) {
        return Ok(found.prefix);
    }
    let known = !resource_type.contains('\0') && resource_types::exists(&app.db, resource_type).await?;
    let name = short(resource_type);
    Err(Error::not_found(if known {
        format!(
            "The metadata definition resource-type association of resource-type={name} to namespace={}, was not found.",
            namespace.name
        )
    } else {
        format!("The metadata definition resource-type with name={name}, was not found.")
    }))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    body: JsonBody,
) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "modify_metadef_property", &namespace)?;
    let wanted = check::property(&body.0)?;
    get(&app, &namespace, &path.1).await?;
    match properties::update(&app.db, &namespace.id, &namespace.name, &path.1, &wanted).await? {
        Change::Updated => json(&view::property(&wanted)),
        _ => Err(Error::not_found(missing(&path.1)).into()),
    }
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "remove_metadef_property", &namespace)?;
    let property = get(&app, &namespace, &path.1).await?;
    let protected =
        || format!("Metadata definition property {} is protected and cannot be deleted.", property.name);
    let done = delete_part(&app.db, Part::Property, &namespace.id, &property.name).await?;
    deleted(done, protected, || missing(&path.1))?;
    no_content()
}
