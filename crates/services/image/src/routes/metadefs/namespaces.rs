//! Namespaces.

use super::{deleted, enforce, enforce_own, find, last, load, protected};
use crate::{
    app::App,
    metadefs::{Visibility, check},
    store::{
        self,
        list::Viewer,
        metadefs::{
            Deleted, Part,
            namespaces::{Query, SortKey},
        },
    },
    view::metadefs::namespaces as view,
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, HttpResponse, http::header, web},
    base_url, json, no_content, query_pairs,
};
use ferrostack_model::{Error, Timestamp};

/// Items of a page that names no limit.
const DEFAULT_LIMIT: i64 = 25;
/// Most items of a page.
const MAX_LIMIT: i64 = 1000;
/// How often a change is tried again when somebody else's came in between.
const ATTEMPTS: usize = 10;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/metadefs/namespaces", || web::get().to(list))
            .policy(&["get_metadef_namespaces", "list_metadef_resource_types"])
            .summary("Lists namespaces of metadata definitions."),
        Route::post("/v2/metadefs/namespaces", || web::post().to(create))
            .policy(&[
                "add_metadef_namespace",
                "add_metadef_resource_type_association",
                "add_metadef_object",
                "add_metadef_property",
                "add_metadef_tag",
            ])
            .success(201)
            .summary("Makes a namespace with all that the body puts into it.")
            .request_schema(check::NAMESPACE),
        Route::get("/v2/metadefs/namespaces/{namespace}", || web::get().to(show))
            .policy(&["get_metadef_namespace"])
            .summary("Shows a namespace and all that is in it."),
        Route::put("/v2/metadefs/namespaces/{namespace}", || web::put().to(update))
            .policy(&["modify_metadef_namespace"])
            .summary("Replaces a namespace's attributes.")
            .request_schema(check::NAMESPACE),
        Route::delete("/v2/metadefs/namespaces/{namespace}", || web::delete().to(delete))
            .policy(&["delete_metadef_namespace"])
            .success(204)
            .summary("Deletes a namespace and all that is in it."),
        Route::delete("/v2/metadefs/namespaces/{namespace}/properties", || {
            web::delete().to(clear_properties)
        })
        .policy(&["delete_metadef_namespace"])
        .success(204)
        .summary("Deletes all properties of a namespace."),
        Route::delete("/v2/metadefs/namespaces/{namespace}/objects", || web::delete().to(clear_objects))
            .policy(&["delete_metadef_namespace"])
            .success(204)
            .summary("Deletes all objects of a namespace."),
        Route::delete("/v2/metadefs/namespaces/{namespace}/tags", || web::delete().to(clear_tags))
            .policy(&["delete_metadef_namespace", "delete_metadef_tags"])
            .success(204)
            .summary("Deletes all tags of a namespace."),
    ]
}

/// What a name that is not there is called where a whole namespace is asked for.
fn not_there(name: &str) -> Error {
    let name = crate::text::short(name);
    Error::not_found(format!("Metadata definition namespace={name} was not found."))
}

async fn list(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    enforce_own(&ctx, "get_metadef_namespaces")?;
    enforce_own(&ctx, "list_metadef_resource_types")?;
    let pairs = query_pairs(req.query_string());
    if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(Error::bad_request("A query must not contain NUL.").into());
    }
    let descending = super::descending(&pairs)?;
    let visibility = super::visibility(&pairs, &["public", "private"])?;
    let query = Query {
        visibility: visibility.and_then(Visibility::parse),
        resource_types: last(&pairs, "resource_types").map(|t| t.split(',').map(str::to_owned).collect()),
        limit: super::limit(&pairs, 0)?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
        sort_key: SortKey::parse(last(&pairs, "sort_key").unwrap_or("created_at"))
            .ok_or_else(super::bad_sort_key)?,
        descending,
    };
    if query.resource_types.as_ref().is_some_and(|types| types.len() > 100) {
        return Err(Error::bad_request("resource_types: at most 100 can be asked for.").into());
    }
    let marker = match last(&pairs, "marker").filter(|m| !m.is_empty()) {
        None => None,
        Some(name) => Some(find(&app, &ctx, name).await?.ok_or_else(|| not_there(name))?),
    };
    let caller = ctx.caller()?;
    let viewer = Viewer { project: caller.project_id().to_owned(), admin: caller.is_admin() };
    let mut page = store::metadefs::namespaces::list(&app.db, &query, &viewer, marker.as_ref()).await?;
    let full = query.limit > 0 && i64::try_from(page.len()).is_ok_and(|n| n == query.limit);
    page.retain(|n| ctx.may("get_metadef_namespace", &n.target()));
    let ids: Vec<String> = page.iter().map(|n| n.id.clone()).collect();
    let associations = store::metadefs::associations::of(&app.db, &ids).await?;
    json(&view::namespaces(&page, &associations, &pairs, full))
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let owner = ctx.caller()?.project_id().to_owned();
    enforce_own(&ctx, "add_metadef_namespace")?;
    let (namespace, contents) = check::namespace(&body.0, &owner, Timestamp::now())?;
    for (given, rule) in [
        (!contents.associations.is_empty(), "add_metadef_resource_type_association"),
        (!contents.objects.is_empty(), "add_metadef_object"),
        (!contents.properties.is_empty(), "add_metadef_property"),
        (!contents.tags.is_empty(), "add_metadef_tag"),
    ] {
        if given {
            enforce_own(&ctx, rule)?;
        }
    }
    store::metadefs::namespaces::insert(&app.db, &namespace, &contents).await?;
    let mut answer = view::namespace(&namespace);
    // As the client gave it.
    for name in ["resource_type_associations", "properties", "objects", "tags"] {
        if let Some(given) = body.0.get(name) {
            answer[name] = given.clone();
        }
    }
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location(&req, &namespace.name)))
        .json(answer))
}

/// A name may hold what a header may not.
fn location(req: &HttpRequest, name: &str) -> String {
    use percent_encoding::{CONTROLS, utf8_percent_encode};
    const UNSAFE: &percent_encoding::AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'%').add(b'?').add(b'#').add(b'/');
    format!("{}/v2/metadefs/namespaces/{}", base_url(req), utf8_percent_encode(name, UNSAFE))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, path: web::Path<String>) -> ApiResult {
    let pairs = query_pairs(req.query_string());
    super::visibility(&pairs, &["public", "private"])?;
    let namespace = find(&app, &ctx, &path).await?.ok_or_else(|| not_there(&path))?;
    for rule in [
        "get_metadef_namespace",
        "list_metadef_resource_types",
        "get_metadef_objects",
        "get_metadef_properties",
        "get_metadef_tags",
    ] {
        enforce(&ctx, rule, &namespace)?;
    }
    let mut contents = store::metadefs::contents(&app.db, &namespace.id).await?;
    if let Some(resource_type) = last(&pairs, "resource_type") {
        contents.prefix(resource_type);
    }
    json(&view::whole(&namespace, &contents))
}

async fn update(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    for _ in 0..ATTEMPTS {
        let mut namespace = load(&app, &ctx, &path).await?;
        enforce(&ctx, "modify_metadef_namespace", &namespace)?;
        let (wanted, _) = check::namespace(&body.0, ctx.caller()?.project_id(), Timestamp::now())?;
        namespace.name = wanted.name;
        namespace.display_name = wanted.display_name;
        namespace.description = wanted.description;
        namespace.visibility = wanted.visibility;
        namespace.protected = wanted.protected;
        namespace.owner = wanted.owner;
        namespace.updated_at = wanted.updated_at;
        if store::metadefs::namespaces::update(&app.db, &namespace).await? == Change::Updated {
            return json(&view::namespace(&namespace));
        }
    }
    Err(Error::conflict("The namespace is changed by others all the time. Please try again.").into())
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "delete_metadef_namespace", &namespace)?;
    let done = store::metadefs::namespaces::delete(&app.db, &namespace.id).await?;
    let gone = || format!("The specified namespace {} could not be found", namespace.name);
    deleted(done, || protected(&namespace), gone)?;
    no_content()
}

/// Deleting all of a kind asks for the right to delete the namespace, and for `more` where there is one.
async fn clear(app: &App, ctx: &Ctx, path: &str, more: Option<&str>, part: Part) -> ApiResult {
    let namespace = load(app, ctx, path).await?;
    enforce(ctx, "delete_metadef_namespace", &namespace)?;
    if let Some(rule) = more {
        enforce(ctx, rule, &namespace)?;
    }
    if store::metadefs::delete_all(&app.db, part, &namespace.id).await? == Deleted::Protected {
        return Err(Error::forbidden(protected(&namespace)).into());
    }
    no_content()
}

async fn clear_properties(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    clear(&app, &ctx, &path, None, Part::Property).await
}

async fn clear_objects(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    clear(&app, &ctx, &path, None, Part::Object).await
}

async fn clear_tags(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    clear(&app, &ctx, &path, Some("delete_metadef_tags"), Part::Tag).await
}
