//! Image data: upload, stage, download.

use super::{Seen, load};
use crate::{
    app::App,
    download,
    image::{Image, Status},
    upload,
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
        Route::put("/v2/images/{image_id}/file", || web::put().to(put_file))
            .policy(&["upload_image"])
            .success(204)
            .summary("Uploads the data of a queued image."),
        Route::get("/v2/images/{image_id}/file", || web::get().to(get_file))
            .policy(&["download_image"])
            .summary("Downloads the data, or a range of it."),
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

async fn take(
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
        check(&req, &seen, to, app.settings.max_image_bytes)?;
        upload::receive(&app, &seen.image, to, &into, &mut body).await
    }
    .await;
    if let Err(error) = result {
        drain(&mut body).await;
        return Err(error.into());
    }
    no_content()
}

fn check(req: &HttpRequest, seen: &Seen, to: Status, limit: u64) -> Result<()> {
    let given = super::content_type(req);
    if given != "application/octet-stream" {
        let short: String = given.chars().take(80).collect();
        return Err(Error::new(
            ErrorKind::UnsupportedMediaType,
            format!(
                "The request media type {short} is not supported by this server. Invalid content type {short}"
            ),
        ));
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
    if length.and_then(|l| l.parse::<u64>().ok()).is_some_and(|l| l > limit) {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("The incoming image is too large: the limit is {limit} bytes."),
        ));
    }
    Ok(())
}

/// Reads on for a little, so that a client in the middle of sending gets to see why it was refused.
async fn drain(body: &mut web::Payload) {
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

async fn get_file(app: web::Data<App>, ctx: Ctx, req: HttpRequest, path: web::Path<String>) -> ApiResult {
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
    let range = req.headers().get(header::RANGE).and_then(|v| v.to_str().ok());
    let range = download::range(range, size)?;
    let Some(object) = download::open(&app.stores, &image).await? else {
        // Deleted between our look at the record and now.
        load(&app, &ctx, &path).await?;
        return Err(Error::internal(format!("the data of image {} is missing", image.id)).into());
    };
    let mut answer = match &range {
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
    answer.insert_header((header::ACCEPT_RANGES, "bytes")).content_type("application/octet-stream");
    Ok(answer.body(download::body(object, range.unwrap_or(0..size))))
}
