//! An image of another region of the same cloud (or of one that trusts its tokens), read as the caller.

use super::{Original, refused};
use crate::text::short;
use crate::{
    app::App,
    fetch::{Ask, Body},
    image::Image,
    store::import,
};
use ferrostack_client::transport_error;
use ferrostack_db::Tx;
use ferrostack_model::{Caller, Error, Result};
use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};
use std::sync::Arc;
use url::Url;

/// Most bytes of a catalog or an image record.
const MAX_JSON: u64 = 4 << 20;

/// An image there.
pub(super) struct Remote {
    url: Url,
    headers: HeaderMap,
}

/// What it says of itself.
pub(super) struct Described {
    pub size: i64,
    /// Of its data, hex, if the record says it.
    pub sha512: Option<String>,
    disk_format: String,
    container_format: String,
    properties: Vec<(String, String)>,
}

impl Remote {
    /// Finds the endpoint in the caller's catalog.
    pub async fn find(
        app: &App,
        caller: &Arc<Caller>,
        region: &str,
        interface: &str,
        image_id: &str,
    ) -> Result<Self> {
        let client = &app.client;
        let request = client.http().get(format!("{}/auth/catalog", client.auth_url()));
        let request = client.on_behalf(caller, request).await?.build().map_err(transport_error)?;
        let headers = request.headers().clone();
        let answer = client.http().execute(request).await.map_err(transport_error)?;
        if !answer.status().is_success() {
            return Err(refused("The catalog could not be read with the token of the request."));
        }
        let catalog: Value = answer.json().await.map_err(transport_error)?;
        let base = endpoint(&catalog, region, interface).ok_or_else(|| {
            refused(format!("{} glance endpoint not found for region {}", short(interface), short(region)))
        })?;
        let url = format!("{}/v2/images/{image_id}", base.trim_end_matches('/').trim_end_matches("/v2"));
        let url = Url::parse(&url).map_err(|_| refused("The catalog's image endpoint is not a URL."))?;
        Ok(Self { url, headers })
    }

    /// The record; an error unless it is of an active image.
    pub async fn describe(&self, app: &App) -> Result<Described> {
        let ask = Ask { limit: MAX_JSON, ..Default::default() };
        let mut body = app.fetcher.get_from_catalog(&self.url, &self.headers, &ask).await?.body;
        let mut text = Vec::new();
        while let Some(chunk) = body.next().await {
            text.extend_from_slice(&chunk.map_err(Error::from)?);
        }
        let record: Map<String, Value> = serde_json::from_slice(&text)
            .map_err(|_| refused("The other image service sent no image record."))?;
        Described::read(&record, &app.settings.import.download_properties)
    }

    /// The data.
    pub async fn data(&self, app: &App, ask: &Ask) -> Result<Body> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/file", self.url.path()));
        Ok(app.fetcher.get_from_catalog(&url, &self.headers, ask).await?.body)
    }
}

impl Described {
    fn read(record: &Map<String, Value>, prefixes: &[String]) -> Result<Self> {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("");
        if text("status") != "active" {
            return Err(refused(format!(
                "Source image status should be active instead of {}",
                short(text("status"))
            )));
        }
        let size = record.get("size").and_then(Value::as_i64).filter(|size| *size >= 0);
        let size = size.ok_or_else(|| refused("Size attribute of remote image could not be determined."))?;
        // What is set here is checked as if the owner had sent it.
        let mut properties = Map::new();
        for (name, value) in record {
            let wanted = prefixes.iter().any(|prefix| name.starts_with(prefix));
            if wanted && value.is_string() && crate::attributes::check_settable(name, false).is_ok() {
                properties.insert(name.clone(), value.clone());
            }
        }
        let mut attributes = properties.clone();
        for name in ["disk_format", "container_format"] {
            attributes.insert(name.into(), record.get(name).cloned().unwrap_or(Value::Null));
        }
        crate::attributes::validate(&attributes)
            .map_err(|error| refused(format!("The other image cannot be taken over: {}", error.public)))?;
        let sha512 = (text("os_hash_algo") == "sha512" && !text("os_hash_value").is_empty())
            .then(|| text("os_hash_value").to_ascii_lowercase());
        Ok(Self {
            size,
            sha512,
            disk_format: text("disk_format").to_owned(),
            container_format: text("container_format").to_owned(),
            properties: properties
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
                .collect(),
        })
    }

    /// Gives it to our image; what that was like before.
    pub async fn take_over(&self, tx: &mut Tx, before: &Image) -> Result<Original> {
        let formats = (Some(self.disk_format.as_str()), Some(self.container_format.as_str()));
        import::describe(tx, &before.id, formats, &self.properties, &[]).await?;
        let former = |name: &String| (name.clone(), before.properties.get(name).cloned());
        Ok(Original {
            disk_format: before.disk_format.clone(),
            container_format: before.container_format.clone(),
            properties: self.properties.iter().map(|(name, _)| former(name)).collect(),
        })
    }
}

impl Original {
    /// Makes the image what it was.
    pub(super) async fn restore(&self, tx: &mut Tx, image_id: &str) -> Result<()> {
        let formats = (self.disk_format.as_deref(), self.container_format.as_deref());
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for (name, value) in &self.properties {
            match value {
                Some(value) => set.push((name.clone(), value.clone())),
                None => remove.push(name.clone()),
            }
        }
        import::describe(tx, image_id, formats, &set, &remove).await
    }
}

fn endpoint(answer: &Value, region: &str, interface: &str) -> Option<String> {
    let services = answer.get("catalog")?.as_array()?;
    let endpoints =
        services.iter().filter(|s| s["type"] == "image").filter_map(|s| s["endpoints"].as_array());
    let here = |e: &&Value| {
        let of = |name: &str| e[name].as_str().is_some_and(|r| r.eq_ignore_ascii_case(region));
        e["interface"].as_str() == Some(interface) && (of("region") || of("region_id"))
    };
    endpoints.flatten().find(here)?["url"].as_str().map(str::to_owned)
}
