//! Import: data gets into an image by a job.

use super::{Seen, load};
use crate::text::short;
use crate::{
    app::App,
    image::{Image, Status},
    jobs::import::{self, Data, Method},
    quota::Import,
    store,
    stores::Stores,
    task::{self, Task},
};
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, HttpResponse, web},
};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{Caller, Error, Result, Timestamp, id};
use serde_json::{Value, json};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2/images/{image_id}/import", || web::post().to(import))
            .policy(&["modify_image", "copy_image"])
            .success(202)
            .summary("Begins to import data into an image, or to copy it to further stores."),
    ]
}

/// What a request asks for, as far as its body says it.
struct Asked {
    method: String,
    parameters: Value,
    stores: Option<Vec<String>>,
    all_stores: bool,
    all_must_succeed: bool,
}

impl Asked {
    fn parse(body: &Value) -> Result<Self> {
        let bad = |text: &str| Error::bad_request(text);
        let parameters =
            body.get("method").ok_or_else(|| bad("Import request requires a 'method' field."))?;
        let method = parameters.get("name").and_then(Value::as_str);
        let method = method.ok_or_else(|| bad("Import request requires a 'name' field."))?;
        if !super::info::IMPORT_METHODS.contains(&method) {
            return Err(bad(&format!("Unknown import method name '{}'.", short(method))));
        }
        let flag = |name: &str, default| match body.get(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(bad(&format!("'{name}' must be boolean value only"))),
        };
        let (all_must_succeed, all_stores) =
            (flag("all_stores_must_succeed", true)?, flag("all_stores", false)?);
        let stores = match body.get("stores") {
            None => None,
            Some(list) => {
                Some(names(list).ok_or_else(|| bad("'stores' must be a list of store identifiers"))?)
            }
        };
        Ok(Self {
            method: method.to_owned(),
            parameters: parameters.clone(),
            stores,
            all_stores,
            all_must_succeed,
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).and_then(Value::as_str)
    }

    /// 409 for an image that this method is not for.
    fn check_state(&self, image: &Image) -> Result<()> {
        let copy = self.method == "copy-image";
        let conflict = |text: &str| Err(Error::conflict(text));
        match image.status {
            Status::Active if !copy => {
                return conflict("Image with status active cannot be target for import");
            }
            Status::Active => {}
            _ if copy => return conflict("Only images with status active can be targeted for copying"),
            Status::Uploading if self.method == "glance-direct" => {}
            _ if self.method == "glance-direct" => {
                return conflict("Image needs to be staged before 'glance-direct' method can be used");
            }
            Status::Queued => {}
            _ => {
                return conflict(&format!(
                    "Image needs to be in 'queued' state to use '{}' method",
                    self.method
                ));
            }
        }
        for (name, value) in
            [("container_format", &image.container_format), ("disk_format", &image.disk_format)]
        {
            if value.is_none() {
                return conflict(&format!("'{name}' needs to be set before import"));
            }
        }
        Ok(())
    }

    /// 400 for parameters that are missing or wrong. Of an address only the text is looked at here.
    fn method(&self, app: &App) -> Result<Method> {
        let needed = |name: &str| {
            self.parameter(name).ok_or_else(|| {
                Error::bad_request(format!("'{name}' needs to be set for glance-download import method"))
            })
        };
        Ok(match self.method.as_str() {
            "glance-direct" => Method::GlanceDirect,
            "copy-image" => Method::CopyImage,
            "glance-download" => {
                let (region, image_id) = (needed("glance_region")?, needed("glance_image_id")?);
                if !id::is_uuid_like(image_id) || image_id.len() != 36 {
                    return Err(Error::bad_request(format!(
                        "Remote image id does not look like a UUID: {}",
                        short(image_id)
                    )));
                }
                let interface = self.parameter("glance_service_interface").unwrap_or("public");
                Method::GlanceDownload {
                    image_id: image_id.to_ascii_lowercase(),
                    region: region.to_owned(),
                    interface: interface.to_owned(),
                }
            }
            _ => Method::WebDownload { uri: address(app, self.parameter("uri"))? },
        })
    }

    /// The stores to be filled.
    fn stores(&self, stores: &Stores, header: Option<&str>) -> Result<Vec<String>> {
        let bad = |text: &str| Err(Error::bad_request(text));
        // Glance refuses `all_stores_must_succeed: false` here, which the openstack client always sends.
        if !stores.named() {
            return Ok(vec![stores.default().id.clone()]);
        }
        if self.all_stores {
            if self.stores.is_some() || header.is_some() {
                return bad(
                    "All_stores parameter can't be used with x-image-meta-store header or stores parameter",
                );
            }
            return Ok(stores.iter().filter(|s| !s.kind.read_only()).map(|s| s.id.clone()).collect());
        }
        let asked = match (&self.stores, header) {
            (Some(_), Some(_)) => {
                return bad("Stores parameter and x-image-meta-store header can't be both specified");
            }
            (Some(list), None) => list.clone(),
            (None, Some(store)) => vec![store.to_owned()],
            (None, None) => vec![stores.default().id.clone()],
        };
        for name in &asked {
            match stores.get(name) {
                None => {
                    return Err(Error::conflict(format!("Store for identifier {} not found", short(name))));
                }
                Some(store) if store.kind.read_only() => {
                    return Err(Error::conflict(format!("Store {name} is read-only")));
                }
                Some(_) => {}
            }
        }
        Ok(asked)
    }
}

/// An address that may be fetched from; 400 in Glance's words if not.
pub(super) fn address(app: &App, uri: Option<&str>) -> Result<String> {
    let text = uri.unwrap_or("None");
    match app.fetcher.read(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(Error::bad_request(format!(
            "URI for web-download does not pass filtering: {}",
            text.chars().filter(|c| !c.is_control()).take(255).collect::<String>()
        ))
        .with_internal(why)),
    }
}

/// A list of texts, each once.
fn names(list: &Value) -> Option<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    for name in list.as_array().filter(|l| !l.is_empty() && l.len() <= 100)? {
        let name = name.as_str()?;
        if !out.iter().any(|n| n == name) {
            out.push(name.to_owned());
        }
    }
    Some(out)
}

/// The record of an import that `caller` asks for.
pub(super) fn new_task(kind: &str, caller: &Caller, ctx: &Ctx, image_id: &str, input: &Value) -> Task {
    let now = Timestamp::now();
    Task {
        id: id::uuid(),
        image_id: image_id.to_owned(),
        kind: kind.into(),
        status: task::PROCESSING.into(),
        owner: caller.project_id().to_owned(),
        user_id: caller.user_id().to_owned(),
        request_id: ctx.request_id.clone(),
        input: input.to_string(),
        message: String::new(),
        created_at: now,
        updated_at: now,
        expires_at: None,
    }
}

/// Whether the images of `caller` are given the operator's properties.
pub(super) fn injects(app: &App, caller: &Caller) -> bool {
    let ignored = &app.settings.import.inject_ignore_roles;
    !caller.claims.roles.iter().any(|role| ignored.iter().any(|i| i.eq_ignore_ascii_case(role)))
}

async fn import(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let asked = Asked::parse(&body.0)?;
    let seen = load(&app, &ctx, &path).await?;
    asked.check_state(&seen.image)?;
    // What the method needs is said before whether the caller may, as in Glance; an address after it.
    let copy = asked.method == "copy-image";
    if asked.method == "glance-download" {
        asked.method(&app)?;
    }
    seen.enforce(&ctx, if copy { "copy_image" } else { "modify_image" })?;
    let header = req.headers().get("x-image-meta-store").and_then(|v| v.to_str().ok());
    let mut stores = asked.stores(&app.stores, header)?;
    if copy && !missing(&asked, &seen, &mut stores)? {
        return Ok(HttpResponse::Accepted().finish());
    }
    let method = asked.method(&app)?;
    let image = &seen.image;
    let caller = ctx.caller()?;
    let backend = if app.stores.named() { json!(stores) } else { json!([null]) };
    let input = json!({"image_id": image.id, "import_req": body.0, "backend": backend});
    let task = new_task(task::API_IMPORT, caller, &ctx, &image.id, &input);
    let mut data = Data::new(&task.id, method, stores.clone(), asked.all_must_succeed);
    data.inject = injects(&app, caller);
    let job = Enqueue {
        kind: import::KIND,
        first_step: import::FIRST,
        target: &image.id,
        data: serde_json::to_value(&data).map_err(|e| Error::internal(format!("job data: {e}")))?,
        request_id: Some(&ctx.request_id),
    };
    if matches!(data.method, Method::GlanceDownload { .. }) {
        app.callers.keep(&task.id, caller);
    }
    let shown = if app.stores.named() { stores.as_slice() } else { &[] };
    let to = if copy { Status::Active } else { Status::Importing };
    let begun = async {
        let limits = app.quota.of(image).await?;
        let size = u64::try_from(image.size.unwrap_or(0)).unwrap_or(0);
        let copies = if copy { stores.len() as u64 } else { 1 };
        let fetches = asked.method != "glance-direct";
        let charge = limits.map(|limits| Import { limits, bytes: size.saturating_mul(copies), fetches });
        store::import::begin(&app.db, &task, image.status, to, shown, job, charge.as_ref()).await
    }
    .await;
    if let Err(error) = begun {
        app.callers.forget(&task.id);
        return Err(error.into());
    }
    app.poke();
    Ok(HttpResponse::Accepted().finish())
}

/// Leaves of `stores` those that a copy is to be made for; whether there are any. 400 for a named one that has one.
fn missing(asked: &Asked, seen: &Seen, stores: &mut Vec<String>) -> Result<bool> {
    let has = |store: &String| seen.image.locations.iter().any(|l| l.store == *store);
    if asked.all_stores {
        stores.retain(|store| !has(store));
    } else if let Some(there) = stores.iter().find(|store| has(store)) {
        return Err(Error::bad_request(format!("Image is already present at store '{there}'")));
    }
    Ok(!stores.is_empty())
}
