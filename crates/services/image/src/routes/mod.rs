//! The route table: one module a noun, each with its own rows.

mod actions;
mod cache;
mod data;
mod images;
mod import;
mod info;
mod locations;
mod members;
mod metadefs;
mod schemas;
mod stores;
mod tags;
mod tasks;
mod v1;
mod versions;

pub use schemas::IMAGE as IMAGE_SCHEMA;

use crate::{app::App, image::Image, store};
use ferrostack_http::{
    ApiError, Ctx, JsonBody, Route,
    actix_web::{FromRequest, HttpRequest, http::header, web},
};
use ferrostack_model::{Error, ErrorKind, Result, id};

/// Every route of the image API, below `/v2` (the edge maps the advertised `/v2.N` to it).
pub fn table() -> Vec<Route> {
    [
        versions::routes(),
        schemas::routes(),
        images::routes(),
        data::routes(),
        import::routes(),
        actions::routes(),
        tags::routes(),
        members::routes(),
        info::routes(),
        stores::routes(),
        locations::routes(),
        tasks::routes(),
        metadefs::routes(),
        cache::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every route of v1, there with `image.v1_api`.
pub fn v1_table() -> Vec<Route> {
    v1::routes()
}

/// What is served, with v1 or without.
pub fn served(v1_api: bool) -> Vec<Route> {
    let mut routes = table();
    if v1_api {
        routes.extend(v1_table());
    }
    routes
}

/// An image that the caller may see, with what it may do to it.
struct Seen {
    image: Image,
    project: String,
    is_member: bool,
}

impl Seen {
    /// 403 unless the caller may do `rule` to the image.
    fn enforce(&self, ctx: &Ctx, rule: &str) -> Result<()> {
        ctx.enforce(rule, &self.image.target(&self.project, self.is_member))
    }
}

fn no_image(id: &str) -> Error {
    let short = crate::text::short(id);
    Error::not_found(format!("No image found with ID {short}"))
}

/// Loads an image; 404 also if the caller may not know that it exists.
async fn load(app: &App, ctx: &Ctx, image_id: &str) -> Result<Seen> {
    let caller = ctx.caller()?;
    let key = image_id.to_ascii_lowercase();
    if key.len() != 36 || !id::is_uuid_like(&key) {
        return Err(no_image(image_id));
    }
    let image = store::image::get(&app.db, &key).await?.ok_or_else(|| no_image(image_id))?;
    let project = caller.project_id().to_owned();
    use crate::image::Visibility::{Community, Public, Shared};
    let owns = !project.is_empty() && image.owner.as_deref() == Some(&project);
    let mut is_member = false;
    if !owns && image.visibility == Shared && !project.is_empty() {
        is_member = store::member::is_member(&app.db, &key, &project).await?;
    }
    let visible = owns || is_member || caller.is_admin() || matches!(image.visibility, Public | Community);
    let seen = Seen { image, project, is_member };
    if !visible || !ctx.may("get_image", &seen.image.target(&seen.project, is_member)) {
        return Err(no_image(image_id));
    }
    Ok(seen)
}

/// The same with Glance's text for members and tags of an image that is not there.
async fn load_parent(app: &App, ctx: &Ctx, image_id: &str) -> Result<Seen> {
    load(app, ctx, image_id).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => {
            let short = crate::text::short(image_id);
            Error::not_found(format!("Image {short} not found."))
        }
        _ => error,
    })
}

/// The request's media type without parameters, in lower case.
fn content_type(req: &HttpRequest) -> String {
    let text = req.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The JSON body of a request whose media type has been looked at before.
async fn json_body(req: &HttpRequest, payload: web::Payload) -> std::result::Result<JsonBody, ApiError> {
    JsonBody::from_request(req, &mut payload.into_inner()).await
}
