//! Image data: upload, stage, download.

use super::{Seen, load};
use crate::{
    app::App,
    download,
    image::{Image, Status},
    range::{self, Asked},
    receive,
    upload::{self, Sizes},
};
use ferrostack_http::{
    ApiResult, Ctx, Route,
    actix_web::{HttpRequest, HttpResponse, http::header, web},
    no_content,
};
use ferrostack_model::{Error, ErrorKind, Result};
use futures_util::StreamExt;
use std::time::Duration;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/images/{image_id}/file", || web::get().to(get_file))
            .policy(&["download_image"])
            .summary("Downloads the data, or a range of it."),
        Route::put("/v2/images/{image_id}/file", || web::put().to(put_file))
            .policy(&["upload_image"])
            .success(204)
            .summary("Uploads the data of a queued image."),
        Route::put("/v2/images/{image_id}/stage", || web::put().to(stage))
            .policy(&["modify_image"])
            .success(204)
            .summary("Uploads data for an import."),
    ]
}

async fn put_file(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
    body: web::Payload,
) -> ApiResult {
    take(app, ctx, req, path, body, "upload_image", Status::Saving).await
}

async fn stage(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
    body: web::Payload,
) -> ApiResult {
    take(app, ctx, req, path, body, "modify_image", Status::Uploading).await
}

pub(super) async fn take(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
    mut body: web::Payload,
    rule: &str,
    to: Status,
) -> ApiResult {
    let app = app.into_inner();
    let result = async {
        // Staged data lies in the default store whatever the request says, so that every replica finds it.
        let into = match to {
            Status::Saving => super::stores::chosen(&app, &req)?,
            _ => app.stores.default().clone(),
        };
        let seen = load(&app, &ctx, &path).await?;
        seen.enforce(&ctx, rule)?;
        let sizes = check(&req, &seen, to, app.settings.max_image_bytes)?;
        upload::receive(&app, &seen.image, to, &into, sizes, &mut body).await
    }
    .await;
    if let Err(error) = result {
        // Whoever sends to a deleted image is cut off at once.
        if error.kind != ErrorKind::Gone {
            drain(&mut body).await;
        }
        ferrostack_http::leave_unread(&req, body);
        return Err(error.into());
    }
    no_content()
}

/// Whether the image takes data; how many bytes the client says they will be.
fn check(req: &HttpRequest, seen: &Seen, to: Status, limit: u64) -> Result<Sizes> {
    let given = super::content_type(req);
    if given != "application/octet-stream" {
        let short = crate::text::short(&given);
        return Err(Error::new(ErrorKind::UnsupportedMediaType, format!("Invalid content type {short}")));
    }
    let image: &Image = &seen.image;
    if image.status != Status::Queued {
        return Err(upload::not_allowed(image.status, to));
    }
    if image.disk_format.is_none() || image.container_format.is_none() {
        return Err(Error::bad_request(
            "Properties disk_format, container_format must be set prior to saving data.",
        ));
    }
    let length = req.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let length = length.and_then(|l| l.parse::<u64>().ok());
    if length.is_some_and(|l| l > limit) {
        return Err(receive::too_large());
    }
    let expected = declared_size(req)?;
    if let (Some(expected), Some(length)) = (expected, length) {
        upload::check_size(expected, length)?;
    }
    Ok(Sizes { expected, announced: expected.or(length) })
}

/// `x-openstack-image-size`; 0 says nothing, as in Glance.
fn declared_size(req: &HttpRequest) -> Result<Option<u64>> {
    let old = req.headers().get("x-image-meta-size").filter(|_| req.path().starts_with("/v1/"));
    let Some(value) = req.headers().get("x-openstack-image-size").or(old) else { return Ok(None) };
    let size = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let size = size.ok_or_else(|| Error::bad_request("Invalid or missing image size in request headers."))?;
    Ok((size > 0).then_some(size))
}

/// Reads on for a little, so that a client in the middle of sending gets to see why it was refused.
pub(super) async fn drain(body: &mut web::Payload) {
    const MOST: usize = 64 << 20;
    let mut seen = 0;
    let _ = tokio::time::timeout(Duration::from_secs(2), async {
        while let Some(Ok(chunk)) = body.next().await {
            seen += chunk.len();
            if seen > MOST {
                return;
            }
        }
    })
    .await;
}

pub(super) async fn get_file(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    seen.enforce(&ctx, "download_image")?;
    let image = seen.image;
    if image.status == Status::Deactivated && !ctx.may("context_is_admin", &[]) {
        return Err(Error::forbidden(
            "The requested image has been deactivated. Image data download is forbidden.",
        )
        .into());
    }
    let (Some(size), true) = (image.size, image.status.has_data()) else {
        return no_content();
    };
    let size = u64::try_from(size).unwrap_or(0);
    // Data never changes, so its hash names it.
    let etag = image.checksum.as_deref().map(|md5| format!("\"{md5}\""));
    let part = match range::asked(req.headers(), size, etag.as_deref())? {
        Asked::Failed => return Ok(HttpResponse::PreconditionFailed().finish()),
        Asked::Unchanged => {
            let mut answer = HttpResponse::NotModified();
            answer.insert_header((header::ETAG, etag.unwrap_or_default()));
            return Ok(answer.finish());
        }
        Asked::Whole => None,
        Asked::Part(part) => Some(part),
    };
    let wanted = part.clone().unwrap_or(0..size);
    let Some(body) = download::body(&app, &image, size, wanted).await? else {
        // Deleted between our look at the record and now.
        load(&app, &ctx, &path).await?;
        return Err(Error::internal(format!("the data of image {} is missing", image.id)).into());
    };
    let mut answer = match &part {
        Some(part) => {
            let mut answer = HttpResponse::PartialContent();
            let (first, last) = (part.start, part.end - 1);
            answer.insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}")));
            answer
        }
        None => HttpResponse::Ok(),
    };
    if let Some(md5) = &image.checksum {
        answer.insert_header(("Content-MD5", md5.as_str()));
    }
    if let Some(etag) = etag {
        answer.insert_header((header::ETAG, etag));
    }
    answer.insert_header((header::ACCEPT_RANGES, "bytes")).content_type("application/octet-stream");
    Ok(answer.body(body))
}
