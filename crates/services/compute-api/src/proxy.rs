//! Calls that old microversions passed on to the image and network services, with the caller's token.

use crate::{image::ImageApi, network::NetworkApi};
use ferrostack_client::{ServiceClient, answer_error, transport_error};
use ferrostack_http::Ctx;
use ferrostack_model::Result;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

/// A call and what goes with it.
pub struct Call<'a> {
    /// Method.
    pub method: Method,
    /// Below the service's version, with the query.
    pub path: &'a str,
    /// Body.
    pub body: Option<&'a Value>,
    /// Type of the body, if not JSON.
    pub content_type: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A call without a body.
    pub fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, body: None, content_type: None }
    }
    /// A GET.
    pub fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path)
    }
    /// With a body.
    #[must_use]
    pub fn json(mut self, body: &'a Value) -> Self {
        self.body = Some(body);
        self
    }
    /// With a body of another type.
    #[must_use]
    pub fn typed(mut self, content_type: &'a str) -> Self {
        self.content_type = Some(content_type);
        self
    }
}

async fn send(client: &ServiceClient, base: &str, ctx: &Ctx, call: Call<'_>) -> Result<Value> {
    let mut request = client.http().request(call.method, format!("{base}/{}", call.path));
    if let Some(body) = call.body {
        request = request.json(body);
    }
    if let Some(content_type) = call.content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let request = client.on_behalf(ctx.caller()?, request).await?;
    let response =
        request.header("X-Openstack-Request-Id", &ctx.request_id).send().await.map_err(transport_error)?;
    if !response.status().is_success() {
        return Err(answer_error(response).await);
    }
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    let text = response.text().await.map_err(transport_error)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

impl ImageApi {
    /// Passes a call on, below `/v2`.
    pub async fn pass(&self, ctx: &Ctx, call: Call<'_>) -> Result<Value> {
        send(&self.client, &format!("{}/v2", self.base().await?), ctx, call).await
    }
}

impl NetworkApi {
    /// Passes a call on, below `/v2.0`.
    pub async fn pass(&self, ctx: &Ctx, call: Call<'_>) -> Result<Value> {
        send(&self.client, &self.base().await?, ctx, call).await
    }

    /// A list that is empty where the service does not know such a thing at all.
    pub async fn pass_list(&self, ctx: &Ctx, path: &str, key: &str) -> Result<Vec<Value>> {
        match self.pass(ctx, Call::get(path)).await {
            Ok(mut body) => Ok(body[key].as_array_mut().map(std::mem::take).unwrap_or_default()),
            Err(error) if error.kind == ferrostack_model::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
