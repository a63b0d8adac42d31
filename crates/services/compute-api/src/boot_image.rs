//! The image a server boots from, with its kernel and ramdisk, against the flavor: what every request asks that gives a
//! server an image (create, rebuild) or a flavor (resize).

use crate::{
    app::App,
    image::Image,
    jobs::power::RescueImages,
    store::{flavors::Flavor, servers::Server},
};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Result, guest_hardware::GuestHardware, id, image::ImageSource};

const ZERO_DISK: &str = "os_compute_api:servers:create:zero_disk_flavor";
/// Bytes of a GiB.
const GIB: i64 = 1 << 30;
/// Bytes of a MiB.
const MIB: u64 = 1 << 20;
/// Containers whose content is a disk as it is. What is in the others (an archive, an appliance, layers, something
/// compressed) is no disk, whatever `disk_format` says.
const BOOTABLE_CONTAINERS: [&str; 2] = ["bare", "ami"];

/// What the server boots from.
pub struct Images {
    /// The root disk's.
    pub root: ImageSource,
    /// Of a direct boot.
    pub kernel: Option<ImageSource>,
    /// Of a direct boot.
    pub ramdisk: Option<ImageSource>,
    /// `img_config_drive` is `mandatory`.
    pub needs_config_drive: bool,
    /// GiB and MiB that the image wants of flavors.
    pub minimum: (i64, i64),
    /// `auto_disk_config` of the image.
    pub auto_disk: bool,
}

/// Reads and checks the images.
///
/// # Errors
/// `BadRequest` in Nova's words if the image does not exist for the caller, is not active, cannot be booted, or does
/// not fit the flavor; `Forbidden` for a flavor without a disk.
pub async fn check(app: &App, ctx: &Ctx, image_id: &str, flavor: &Flavor) -> Result<Images> {
    check_as(app, ctx, image_id, flavor, "Can not find requested image").await
}

/// [`check`] with `missing` as the words for an image that does not exist for the caller.
pub async fn check_as(
    app: &App,
    ctx: &Ctx,
    image_id: &str,
    flavor: &Flavor,
    missing: &str,
) -> Result<Images> {
    let image = get(app, ctx, image_id, missing).await?;
    bootable(&image)?;
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
        active(&part)?;
        *slot = Some(part.source);
    }
    // They are loaded into the guest's memory; and nothing else bounds what the host would fetch.
    let loaded = extra.iter().flatten().fold(0u64, |sum, part| sum.saturating_add(part.size));
    if loaded > u64::try_from(flavor.memory_mb).unwrap_or(0).saturating_mul(MIB) {
        return Err(too_little_memory());
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

/// What a server is rescued with, if an image is named.
///
/// # Errors
/// `BadRequest` in Nova's words if the caller sees no such image, or nothing can be started from it.
pub async fn rescue(app: &App, ctx: &Ctx, image_id: &str, server: &Server) -> Result<RescueImages> {
    let refused = || Error::bad_request(format!("Requested rescue image '{image_id}' is not supported"));
    let image = app.image.get(image_id, ctx.caller()?, &ctx.request_id).await.map_err(|e| match e.kind {
        ErrorKind::NotFound | ErrorKind::BadRequest => refused(),
        _ => e,
    })?;
    let property = |name: &str| image.source.properties.get(name).map(String::as_str);
    // An image of volumes has no data of its own.
    if property("img_block_device_mapping").is_some_and(|v| !v.is_empty() && v != "[]") {
        return Err(refused());
    }
    bootable(&image)?;
    GuestHardware::of(&server.flavor, &image.source.properties)?;
    let mut extra: [Option<ImageSource>; 2] = [None, None];
    for (slot, name) in extra.iter_mut().zip(["kernel_id", "ramdisk_id"]) {
        let Some(wanted) = property(name).filter(|v| !v.is_empty() && *v != "nokernel") else { continue };
        if !id::is_uuid_like(wanted) {
            return Err(refused());
        }
        let part = get(app, ctx, wanted, &format!("Image {wanted} could not be found.")).await?;
        active(&part)?;
        *slot = Some(part.source);
    }
    let loaded = extra.iter().flatten().fold(0u64, |sum, part| sum.saturating_add(part.size));
    if loaded > server.flavor.ram_mb.saturating_mul(MIB) {
        return Err(too_little_memory());
    }
    let [kernel, ramdisk] = extra;
    Ok(RescueImages { image: image.source, kernel, ramdisk })
}

fn too_little_memory() -> Error {
    Error::bad_request("Flavor's memory is too small for requested image.")
}

fn active(image: &Image) -> Result<()> {
    if image.status == "active" {
        return Ok(());
    }
    Err(Error::bad_request(format!("Image {} is not active.", image.source.id)))
}

/// 400 if no server can be made of the image, whatever its flavor.
pub fn bootable(image: &Image) -> Result<()> {
    let unacceptable =
        |why: &str| Err(Error::bad_request(format!("Image {} is unacceptable: {why}", image.source.id)));
    if image.source.properties.get("cinder_encryption_key_id").is_some_and(|key| !key.is_empty()) {
        return unacceptable("Direct booting of an image uploaded from an encrypted volume is unsupported.");
    }
    active(image)?;
    let container = image.container_format.as_str();
    if !BOOTABLE_CONTAINERS.contains(&container) {
        return unacceptable(&format!("Booting from container format {container} is unsupported."));
    }
    if matches!(image.source.disk_format.as_str(), "aki" | "ari") {
        return unacceptable("A kernel or ramdisk is no disk.");
    }
    Ok(())
}

async fn get(app: &App, ctx: &Ctx, image_id: &str, missing: &str) -> Result<Image> {
    app.image.get(image_id, ctx.caller()?, &ctx.request_id).await.map_err(|e| match e.kind {
        ErrorKind::NotFound | ErrorKind::BadRequest => Error::bad_request(missing),
        _ => e,
    })
}

/// Whether the flavor's memory and disk hold the image, and the flavor allows what the image's properties ask for.
///
/// # Errors
/// `BadRequest` in Nova's words; `Forbidden` if the flavor has no disk and the caller may not use such a one.
pub fn fits(ctx: &Ctx, image: &Image, flavor: &Flavor) -> Result<()> {
    if let Some(option) = image.source.properties.get("img_config_drive")
        && !matches!(option.as_str(), "optional" | "mandatory")
    {
        let option: String = option.chars().take(64).collect();
        return Err(Error::bad_request(format!("Image's config drive option '{option}' is invalid")));
    }
    if image.min_ram > flavor.memory_mb {
        return Err(too_little_memory());
    }
    if flavor.root_gb == 0 {
        // The disk is as large as the image, which the flavor's owner did not foresee: admins only, as in Nova.
        if !ctx.may(ZERO_DISK, &[("project_id", ctx.caller()?.project_id())]) {
            return Err(Error::forbidden(
                "Only volume-backed servers are allowed for flavors with zero disk.",
            ));
        }
    } else {
        let disk = flavor.root_gb.saturating_mul(GIB);
        // Nova compares the size of the file and leaves that of the disk inside to the host.
        let size = image.source.size.max(image.source.virtual_size);
        if i64::try_from(size).unwrap_or(i64::MAX) > disk {
            return Err(Error::bad_request(format!(
                "Flavor's disk is too small for requested image. Flavor disk is {disk} bytes, image is {size} bytes."
            )));
        }
        let minimum = image.min_disk.saturating_mul(GIB);
        if minimum > disk {
            return Err(Error::bad_request(format!(
                "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is {disk} bytes, minimum size is {minimum} bytes."
            )));
        }
    }
    GuestHardware::of(&flavor.guest(), &image.source.properties).map(drop)
}
