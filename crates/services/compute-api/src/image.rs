//! The image service as compute uses it: what a server boots from, seen with the caller's own rights.

use crate::network::segment;
use ferrostack_client::{ServiceClient, answer_error, transport_error};
use ferrostack_model::{Caller, Error, ErrorKind, Result, image::ImageSource};
use serde_json::Value;

/// Members of an image that are not properties of its guest.
pub(crate) const CORE: &[&str] = &[
    "id",
    "name",
    "status",
    "visibility",
    "protected",
    "checksum",
    "owner",
    "size",
    "virtual_size",
    "min_disk",
    "min_ram",
    "container_format",
    "disk_format",
    "created_at",
    "updated_at",
    "tags",
    "self",
    "file",
    "schema",
    "direct_url",
    "locations",
    "os_hash_algo",
    "os_hash_value",
    "os_hidden",
    "stores",
];

/// An image with what is checked before a server is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// What agents get.
    pub source: ImageSource,
    /// `bare`, `ami`, `ova`, …
    pub container_format: String,
    /// `active`, `deactivated`, …
    pub status: String,
    /// GiB a root disk must have.
    pub min_disk: i64,
    /// MiB a flavor must have.
    pub min_ram: i64,
}

/// Calls to the image service.
#[derive(Clone)]
pub struct ImageApi {
    pub(crate) client: ServiceClient,
    url: Option<String>,
}

impl ImageApi {
    /// At `url`, or where the catalog says.
    pub fn new(client: ServiceClient, url: Option<String>) -> Self {
        Self { client, url }
    }

    /// The service's URL without a version.
    pub(crate) async fn base(&self) -> Result<String> {
        let base = match &self.url {
            Some(url) => url.clone(),
            None => self.client.endpoint("image").await?,
        };
        let base = base.trim_end_matches('/');
        Ok(base.strip_suffix("/v2").unwrap_or(base).to_owned())
    }

    /// An image the caller sees; `NotFound` otherwise.
    pub async fn get(&self, id: &str, caller: &Caller, request_id: &str) -> Result<Image> {
        let url = format!("{}/v2/images/{}", self.base().await?, segment(id));
        let request = self.client.on_behalf(caller, self.client.http().get(&url)).await?;
        let response =
            request.header("X-Openstack-Request-Id", request_id).send().await.map_err(transport_error)?;
        if !response.status().is_success() {
            let error = answer_error(response).await;
            // Glance refuses what the caller may not see; to them it does not exist.
            let kind = if error.kind == ErrorKind::Forbidden { ErrorKind::NotFound } else { error.kind };
            return Err(Error { kind, ..error });
        }
        let body: Value = response.json().await.map_err(transport_error)?;
        read(&body).ok_or_else(|| Error::unavailable(format!("{url}: not an image")))
    }

    /// An active image as agents get it, seen with our own rights; `None` if there is no such image.
    pub async fn source(&self, id: &str, request_id: Option<&str>) -> Result<Option<ImageSource>> {
        let url = format!("{}/v2/images/{}", self.base().await?, segment(id));
        match self.client.json(reqwest::Method::GET, &url, request_id, None).await {
            Ok(body) => {
                let image = read(&body).ok_or_else(|| Error::unavailable(format!("{url}: not an image")))?;
                Ok((image.status == "active").then_some(image.source))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read(body: &Value) -> Option<Image> {
    let members = body.as_object()?;
    // What is too large to be counted stays too large to fit.
    let size = |name: &str| members.get(name).and_then(Value::as_u64).unwrap_or(0);
    let number = |name: &str| i64::try_from(size(name)).unwrap_or(i64::MAX);
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let properties = members
        .iter()
        .filter(|(k, _)| !CORE.contains(&k.as_str()))
        .filter_map(|(k, v)| match v {
            Value::String(s) => Some((k.clone(), s.clone())),
            Value::Null => None,
            other => Some((k.clone(), other.to_string())),
        })
        .collect();
    Some(Image {
        source: ImageSource {
            id: members.get("id")?.as_str()?.to_owned(),
            disk_format: text("disk_format"),
            size: size("size"),
            virtual_size: size("virtual_size"),
            sha512: if text("os_hash_algo") == "sha512" { text("os_hash_value") } else { String::new() },
            properties,
        },
        container_format: text("container_format"),
        status: text("status"),
        min_disk: number("min_disk"),
        min_ram: number("min_ram"),
    })
}
