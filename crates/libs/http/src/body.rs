//! The JSON request body.

use crate::{ApiError, Ctx, Style};
use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};
use ferrostack_model::{Error, ErrorKind};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde_json::Value;

/// Largest JSON body, bytes: oslo.middleware's `max_request_body_size`.
pub const MAX_JSON_BODY: usize = 114_688;
/// Nova takes user data and injected files in its bodies and so allows more.
const MAX_JSON_BODY_NOVA: usize = 1 << 20;

/// A request body that is one JSON value; 400, 413 or 415 as the imitated service answers.
#[derive(Debug)]
pub struct JsonBody(pub Value);

impl FromRequest for JsonBody {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let style = Ctx::style(req);
        let content_type = req
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
            .to_ascii_lowercase();
        let mut payload = web::Payload::take_from(payload);
        Box::pin(async move {
            let limit = if style == Style::Nova { MAX_JSON_BODY_NOVA } else { MAX_JSON_BODY };
            let mut bytes = web::BytesMut::new();
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|e| Error::bad_request(format!("Unreadable request body: {e}")))?;
                if bytes.len() + chunk.len() > limit {
                    return Err(Error::new(ErrorKind::TooLarge, "Request is too large.").into());
                }
                bytes.extend_from_slice(&chunk);
            }
            let is_json = content_type.is_empty()
                || content_type.starts_with("application/json")
                || (style == Style::Glance && content_type.starts_with("application/openstack-images"));
            // Nova takes plain text for JSON, and no body for null.
            if style == Style::Nova && bytes.is_empty() {
                return Ok(JsonBody(Value::Null));
            }
            let is_json = is_json
                || (style == Style::Nova
                    && ["text/plain", "application/vnd.openstack.compute+json"]
                        .iter()
                        .any(|t| content_type.starts_with(t)));
            if !bytes.is_empty() && !is_json {
                return Err(unsupported(style, &content_type).into());
            }
            let value: Value = serde_json::from_slice(&bytes).map_err(|_| malformed(style))?;
            // A raw NUL is no JSON; only a body with the escape can hold one.
            if bytes.windows(6).any(|w| w == b"\\u0000")
                && let Some(field) = field_with_nul(&value, "")
            {
                return Err(Error::bad_request(format!(
                    "Invalid input for field/attribute {field}. A NUL character is not allowed."
                ))
                .into());
            }
            Ok(JsonBody(value))
        })
    }
}

/// The name of the first member that is or holds a text with a NUL, which no database column takes.
fn field_with_nul(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| name.to_owned()),
        Value::Array(items) => items.iter().find_map(|item| field_with_nul(item, name)),
        Value::Object(map) => map.iter().find_map(|(key, item)| {
            if key.contains('\0') { Some(key.replace('\0', "?")) } else { field_with_nul(item, key) }
        }),
        _ => None,
    }
}

fn unsupported(style: Style, content_type: &str) -> Error {
    let short: String = content_type.chars().take(80).collect();
    match style {
        Style::Keystone => Error::bad_request(format!(
            "Expecting to find application/json in Content-Type header. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error. Got {short}"
        )),
        Style::Nova => Error::new(ErrorKind::UnsupportedMediaType, "Unsupported Content-Type"),
        _ => Error::new(ErrorKind::UnsupportedMediaType, format!("Unsupported Content-Type {short}")),
    }
}

fn malformed(style: Style) -> Error {
    Error::bad_request(match style {
        Style::Keystone => {
            "Expecting to find valid JSON in request body. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error."
        }
        Style::Nova => "Malformed request body",
        Style::Glance => "Malformed JSON in request body.",
        Style::Neutron => "Request body is not valid JSON.",
    })
}

/// Hands the body's stream back out of the extractor's payload.
trait TakeFrom {
    fn take_from(payload: &mut Payload) -> Payload;
}
impl TakeFrom for web::Payload {
    fn take_from(payload: &mut Payload) -> Payload {
        payload.take()
    }
}
