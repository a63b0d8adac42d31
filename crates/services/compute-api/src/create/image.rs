//! The image of a new server, with its kernel and ramdisk, against the flavor.

use crate::{app::App, image::Image, store::flavors::Flavor};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Result, id, image::ImageSource};

const ZERO_DISK: &str = "os_compute_api:servers:create:zero_disk_flavor";
/// Bytes of a GiB.
const GIB: i64 = 1 << 30;

/// What the server boots from.
pub struct Images {
    pub root: ImageSource,
    pub kernel: Option<ImageSource>,
    pub ramdisk: Option<ImageSource>,
    /// `img_config_drive` is `mandatory`.
    pub needs_config_drive: bool,
    /// GiB and MiB that the image wants of flavors.
    pub minimum: (i64, i64),
    /// `auto_disk_config` of the image.
    pub auto_disk: bool,
}

/// Reads and checks the images.
pub async fn check(app: &App, ctx: &Ctx, image_id: &str, flavor: &Flavor) -> Result<Images> {
    let image = get(app, ctx, image_id, "Can not find requested image").await?;
    if image.status != "active" {
        return Err(Error::bad_request(format!("Image {} is not active.", image.source.id)));
    }
    fits(ctx, &image, flavor)?;
    let property = |name: &str| image.source.properties.get(name).map(String::as_str);
    let truth = |name: &str| property(name).is_some_and(crate::input::truth);
    let mut extra: [Option<ImageSource>; 2] = [None, None];
    for (slot, name) in extra.iter_mut().zip(["kernel_id", "ramdisk_id"]) {
        let Some(wanted) = property(name).filter(|v| !v.is_empty() && *v != "nokernel") else { continue };
        if !id::is_uuid_like(wanted) {
            return Err(Error::bad_request(format!("Invalid {name} of image {}.", image.source.id)));
        }
        let part = get(app, ctx, wanted, &format!("Image {wanted} could not be found.")).await?;
        if part.status != "active" {
            return Err(Error::bad_request(format!("Image {wanted} is not active.")));
        }
        *slot = Some(part.source);
    }
    let [kernel, ramdisk] = extra;
    Ok(Images {
        needs_config_drive: property("img_config_drive") == Some("mandatory"),
        minimum: (image.min_disk, image.min_ram),
        auto_disk: truth("auto_disk_config") || truth("hw_auto_disk_config"),
        root: image.source,
        kernel,
        ramdisk,
    })
}

async fn get(app: &App, ctx: &Ctx, image_id: &str, missing: &str) -> Result<Image> {
    app.image.get(image_id, ctx.caller()?, &ctx.request_id).await.map_err(|e| match e.kind {
        ErrorKind::NotFound | ErrorKind::BadRequest => Error::bad_request(missing),
        _ => e,
    })
}

fn fits(ctx: &Ctx, image: &Image, flavor: &Flavor) -> Result<()> {
    if image.min_ram > flavor.memory_mb {
        return Err(Error::bad_request("Flavor's memory is too small for requested image."));
    }
    if flavor.root_gb == 0 {
        // The disk is as large as the image, which the flavor's owner did not foresee: admins only, as in Nova.
        if !ctx.may(ZERO_DISK, &[("project_id", ctx.caller()?.project_id())]) {
            return Err(Error::forbidden(
                "Only volume-backed servers are allowed for flavors with zero disk.",
            ));
        }
        return Ok(());
    }
    let disk = flavor.root_gb.saturating_mul(GIB);
    let minimum = image.min_disk.saturating_mul(GIB);
    if minimum > disk {
        return Err(Error::bad_request(format!(
            "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is {disk} bytes, minimum size is {minimum} bytes."
        )));
    }
    let size = image.source.size.max(image.source.virtual_size);
    if i64::try_from(size).unwrap_or(i64::MAX) > disk {
        return Err(Error::bad_request(format!(
            "Flavor's disk is too small for requested image. Flavor disk is {disk} bytes, image is {size} bytes."
        )));
    }
    Ok(())
}
