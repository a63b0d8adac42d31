//! Calls to the image service about images of servers: made and shared as the caller, filled by an agent, looked after
//! and removed with our own rights, for the caller's token may be long gone by then.

use crate::{image::ImageApi, network::segment};
use ferrostack_client::{answer_error, transport_error};
use ferrostack_model::{Caller, ErrorKind, Result};
use reqwest::Method;
use serde_json::{Value, json};

/// Images of one page of a list.
const PAGE: usize = 1000;

impl ImageApi {
    /// Makes an image as the caller.
    pub async fn create(&self, body: &Value, caller: &Caller, request_id: &str) -> Result<()> {
        self.post_as("/v2/images", body, caller, request_id).await
    }

    /// Lets another project see the caller's image.
    pub async fn share(&self, id: &str, project_id: &str, caller: &Caller, request_id: &str) -> Result<()> {
        let path = format!("/v2/images/{}/members", segment(id));
        self.post_as(&path, &json!({"member": project_id}), caller, request_id).await
    }

    async fn post_as(&self, path: &str, body: &Value, caller: &Caller, request_id: &str) -> Result<()> {
        let url = format!("{}{path}", self.base().await?);
        let request = self.client.on_behalf(caller, self.client.http().post(&url).json(body)).await?;
        let answer =
            request.header("X-Openstack-Request-Id", request_id).send().await.map_err(transport_error)?;
        if answer.status().is_success() { Ok(()) } else { Err(answer_error(answer).await) }
    }

    /// The URL clients find an image under: the Location of `createImage`.
    pub async fn url_of(&self, id: &str) -> Result<String> {
        Ok(format!("{}/images/{id}", self.base().await?))
    }

    /// An image's status, seen with our own rights; `None` if there is no such image.
    pub async fn status(&self, id: &str, request_id: Option<&str>) -> Result<Option<String>> {
        let url = format!("{}/v2/images/{}", self.base().await?, segment(id));
        match self.client.json(Method::GET, &url, request_id, None).await {
            Ok(body) => Ok(body.get("status").and_then(Value::as_str).map(str::to_owned)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an image, with our own rights. One that is gone is gone, and one that its owner protects stays.
    pub async fn remove(&self, id: &str, request_id: Option<&str>) -> Result<()> {
        let url = format!("{}/v2/images/{}", self.base().await?, segment(id));
        match self.client.json(Method::DELETE, &url, request_id, None).await {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                tracing::warn!(image = id, error = error.for_log(), "image of a server not removed");
                Ok(())
            }
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Backups of a server of one type that belong to `owner`, newest first. What others say of their images counts
    /// for nothing.
    pub async fn backups(
        &self,
        server_id: &str,
        backup_type: &str,
        owner: &str,
        request_id: Option<&str>,
    ) -> Result<Vec<String>> {
        let wanted = [
            ("image_type", "backup"),
            ("instance_uuid", server_id),
            ("backup_type", backup_type),
            ("owner", owner),
        ];
        let fits = |image: &Value| wanted.iter().all(|(name, value)| image[*name] == *value);
        let (mut found, mut marker) = (Vec::new(), None::<String>);
        loop {
            let mut url = url::Url::parse(&format!("{}/v2/images", self.base().await?))
                .map_err(|e| ferrostack_model::Error::internal(format!("the image service's URL: {e}")))?;
            let limit = PAGE.to_string();
            url.query_pairs_mut()
                .extend_pairs(wanted)
                .extend_pairs([("sort", "created_at:desc,id:desc"), ("limit", &limit)])
                .extend_pairs(marker.iter().map(|m| ("marker", m)));
            let body = self.client.json(Method::GET, url.as_str(), request_id, None).await?;
            let page = body["images"].as_array().cloned().unwrap_or_default();
            let id = |image: &Value| image["id"].as_str().map(str::to_owned);
            found.extend(page.iter().filter(|image| fits(image)).filter_map(id));
            marker = page.last().and_then(id);
            if page.len() < PAGE || marker.is_none() {
                return Ok(found);
            }
        }
    }
}
