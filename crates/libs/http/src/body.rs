//! The JSON request body.

use crate::{ApiError, Ctx, Style, edge::Unread};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header, web};
use ferrostack_model::{Error, ErrorKind};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde_json::Value;
use std::time::Duration;

/// Largest JSON body, bytes: oslo.middleware's `max_request_body_size`.
pub const MAX_JSON_BODY: usize = 114_688;
/// Nova takes user data and injected files in its bodies and so allows more.
const MAX_JSON_BODY_NOVA: usize = 1 << 20;
/// So many times the limit is read of a body that is too large.
const DRAIN: usize = 8;
/// And for so long.
const DRAIN_WAIT: Duration = Duration::from_secs(1);
/// Longest time a body may take to arrive.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Most arrays and objects within one another: the limit of OpenStack's own fix against deep JSON.
const MAX_JSON_DEPTH: usize = 25;

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
        let req = req.clone();
        Box::pin(async move {
            let limit = if style == Style::Nova { MAX_JSON_BODY_NOVA } else { MAX_JSON_BODY };
            let bytes = match read(&mut payload, limit, MAX_WAIT).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    req.extensions_mut().insert(Unread(payload));
                    return Err(error.into());
                }
            };
            // Glance does not look at it.
            let is_json = content_type.is_empty()
                || content_type.starts_with("application/json")
                || style == Style::Glance;
            // Nova takes plain text for JSON, and no body for null.
            if style == Style::Nova && bytes.is_empty() {
                return Ok(JsonBody(Value::Null));
            }
            if style == Style::Glance && bytes.is_empty() {
                return Err(Error::bad_request("Body expected in request.").into());
            }
            let is_json = is_json
                || (style == Style::Nova
                    && ["text/plain", "application/vnd.openstack.compute+json"]
                        .iter()
                        .any(|t| content_type.starts_with(t)));
            if !bytes.is_empty() && !is_json {
                return Err(unsupported(style, &content_type).into());
            }
            if too_deep(&bytes) {
                return Err(malformed(style).into());
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

/// Takes and forgets up to `most` bytes more, so that a client that is a little over the limit gets to read its answer
/// before the connection is closed.
async fn drain(payload: &mut Payload, most: usize) {
    let mut seen = 0;
    let rest = async {
        while let Some(Ok(chunk)) = payload.next().await {
            seen += chunk.len();
            if seen > most {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_WAIT, rest).await;
}

/// The whole body; 413 if it is longer than `limit` bytes, 400 if it is not there within `wait`.
async fn read(payload: &mut Payload, limit: usize, wait: Duration) -> Result<web::BytesMut, Error> {
    let whole = async {
        let mut bytes = web::BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|e| Error::bad_request(format!("Unreadable request body: {e}")))?;
            if bytes.len() + chunk.len() > limit {
                drain(payload, limit * DRAIN).await;
                return Err(Error::new(ErrorKind::TooLarge, "Request is too large."));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(wait, whole)
        .await
        .map_err(|_| Error::bad_request("The request body did not arrive in time."))?
}

/// Whether brackets outside of texts nest deeper than [`MAX_JSON_DEPTH`]. What is no JSON is the parser's to refuse.
fn too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix_web::error::PayloadError;
    use futures_util::stream;

    fn payload(chunks: Vec<&'static [u8]>, ends: bool) -> Payload {
        let chunks =
            stream::iter(chunks.into_iter().map(|c| Ok::<_, PayloadError>(web::Bytes::from_static(c))));
        let tail = if ends { stream::empty().left_stream() } else { stream::pending().right_stream() };
        Payload::Stream { payload: Box::pin(chunks.chain(tail)) }
    }

    #[tokio::test]
    async fn m16_a_body_that_never_ends_is_given_up() {
        let wait = Duration::from_millis(50);
        assert_eq!(read(&mut payload(vec![b"ab", b"c"], true), 3, wait).await.unwrap(), "abc");
        let late = read(&mut payload(vec![b"ab"], false), 3, wait).await.unwrap_err();
        assert_eq!(late.kind, ErrorKind::BadRequest);
        // The limit counts before the end comes.
        let long =
            read(&mut payload(vec![b"ab", b"cd"], false), 3, Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(long.kind, ErrorKind::TooLarge);
    }

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        let nested = |n: usize, open: &str, close: &str| format!("{}1{}", open.repeat(n), close.repeat(n));
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\\\"[\":", "}]")] {
            let each = open.matches(['[', '{']).count() - usize::from(open.contains('\\'));
            assert!(!too_deep(nested(MAX_JSON_DEPTH / each, open, close).as_bytes()), "{open}");
            assert!(too_deep(nested(MAX_JSON_DEPTH / each + 1, open, close).as_bytes()), "{open}");
        }
        assert!(too_deep("[".repeat(1_000_000).as_bytes()));
        assert!(!too_deep(format!("[\"{}\"]", "[".repeat(100)).as_bytes()));
        assert!(!too_deep("[]".repeat(100).as_bytes()));
    }
}
