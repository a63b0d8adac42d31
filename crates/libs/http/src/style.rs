//! Whose error bodies and header rules a service follows.

use crate::nova::python_json;
use actix_web::http::StatusCode;
use ferrostack_model::{Error, ErrorKind};
use serde_json::{Value, json};

/// Largest body of an error, bytes.
const MAX_ERROR_BODY: usize = 4096;

/// The OpenStack service that is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `{"error": {"code", "message", "title"}}`
    Keystone,
    /// `{"itemNotFound": {"code", "message"}}`
    Nova,
    /// HTML, or JSON if the client accepts only that.
    Glance,
    /// `{"NeutronError": {"type", "message", "detail"}}`
    Neutron,
}

impl Style {
    /// The status for `error`: Neutron answers 409 for an exceeded quota, Glance 413.
    pub fn status(self, error: &Error) -> StatusCode {
        let code = match (self, error.kind) {
            (Self::Neutron, ErrorKind::OverLimit) => 409,
            (Self::Glance, ErrorKind::OverLimit) => 413,
            (_, kind) => kind.http(),
        };
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Content type and body for `error`, at most [`MAX_ERROR_BODY`] bytes.
    pub fn body(self, error: &Error, accept: Option<&str>) -> (&'static str, String) {
        let mut message = error.public.as_str();
        loop {
            let (content_type, body) = self.body_with(error, message, accept);
            let over = body.len().saturating_sub(MAX_ERROR_BODY);
            if over == 0 || message.is_empty() {
                return (content_type, body);
            }
            // What has to be escaped takes more room than here: once more if that was not enough.
            let keep = message.len().saturating_sub(over.div_ceil(6).max(1));
            message = &message[..message.floor_char_boundary(keep)];
        }
    }

    fn body_with(self, error: &Error, message: &str, accept: Option<&str>) -> (&'static str, String) {
        let status = self.status(error);
        let code = status.as_u16();
        let reason = status.canonical_reason().unwrap_or("Error");
        let value = match self {
            Self::Keystone => json!({"error": {"code": code, "message": message, "title": reason}}),
            Self::Nova => {
                let content_type =
                    if code == 401 { "application/json" } else { "application/json; charset=UTF-8" };
                return (content_type, python_json(&nova(code, reason, message)));
            }
            Self::Neutron => json!({"NeutronError": {
                "type": error.name.unwrap_or(neutron_type(error.kind)), "message": message, "detail": ""}}),
            Self::Glance if error.detail => {
                return page(
                    code,
                    reason,
                    &format!("{}<br /><br />\n{}\n\n", explanation(code), escape(message)),
                    accept,
                );
            }
            Self::Glance => return glance(code, reason, message, accept),
        };
        ("application/json", value.to_string())
    }
}

fn nova(code: u16, reason: &str, message: &str) -> Value {
    let name = match code {
        400 => "badRequest",
        // The token middleware answers this one.
        401 => return json!({"error": {"code": code, "title": reason, "message": message}}),
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 => "overLimit",
        415 => "badMediaType",
        429 => "overLimit",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "computeFault",
    };
    json!({name: {"code": code, "message": message}})
}

fn neutron_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "HTTPNotFound",
        ErrorKind::Forbidden => "PolicyNotAuthorized",
        ErrorKind::OverLimit => "OverQuota",
        ErrorKind::BadRequest => "HTTPBadRequest",
        ErrorKind::Conflict => "Conflict",
        ErrorKind::Unavailable => "ServiceUnavailable",
        _ => "HTTPInternalServerError",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#x27;")
}

/// webob's text for a request without a valid token.
const GLANCE_UNAUTHORIZED: &str = "This server could not verify that you are authorized to access the document you requested. Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials required.";

fn glance(code: u16, reason: &str, message: &str, accept: Option<&str>) -> (&'static str, String) {
    webob(code, reason, if code == 401 { GLANCE_UNAUTHORIZED } else { message }, accept)
}

/// webob's own text for a status.
fn explanation(code: u16) -> &'static str {
    match code {
        403 => "Access was denied to this resource.",
        404 => "The resource could not be found.",
        409 => "There was a conflict when trying to complete your request.",
        413 => "The body of your request was too large for this server.",
        _ => {
            "The server could not comply with the request since it is either malformed or otherwise incorrect."
        }
    }
}

/// An error whose text webob makes of the request: 405 names the method, 415 the media type.
pub(crate) fn of_request(
    error: &Error,
    method: &str,
    content_type: &str,
    accept: Option<&str>,
) -> Option<(&'static str, String)> {
    let cut = |text: &str| escape(&text.chars().take(255).collect::<String>());
    let body = match error.kind {
        // A handler's own text stands alone.
        ErrorKind::MethodNotAllowed if error.public != explanation(405) => escape(&error.public),
        ErrorKind::MethodNotAllowed => {
            format!("The method {} is not allowed for this resource. <br /><br />\n", cut(method))
        }
        ErrorKind::UnsupportedMediaType => format!(
            "The request media type {} is not supported by this server.\n<br /><br />\n{}",
            cut(content_type),
            escape(&error.public)
        ),
        _ => return None,
    };
    let status = Style::Glance.status(error);
    Some(page(status.as_u16(), status.canonical_reason().unwrap_or("Error"), &body, accept))
}

/// An error as webob writes it: Glance's, and those of Nova's router.
pub fn webob(code: u16, reason: &str, message: &str, accept: Option<&str>) -> (&'static str, String) {
    page(code, reason, &format!("{}<br /><br />\n\n\n", escape(message)), accept)
}

/// `body`, which is HTML, in webob's page or its JSON.
fn page(code: u16, reason: &str, body: &str, accept: Option<&str>) -> (&'static str, String) {
    // webob's negotiation: JSON only if the client asks for it and not for anything.
    let wants_json = accept.is_some_and(|a| a.contains("application/json") && !a.contains("text/html"));
    if wants_json {
        let body = json!({"message": body, "code": format!("{code} {reason}"), "title": reason});
        return ("application/json", python_json(&body));
    }
    let body = format!(
        "<html>\n <head>\n  <title>{code} {reason}</title>\n </head>\n <body>\n  <h1>{code} {reason}</h1>\n  {body}\n </body>\n</html>"
    );
    ("text/html; charset=UTF-8", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_body_is_longer_than_the_limit() {
        for style in [Style::Keystone, Style::Nova, Style::Glance, Style::Neutron] {
            for accept in [None, Some("application/json")] {
                for text in ["x", "\u{1}", "<", "ü", "\u{1F980}", "\"'&"] {
                    let (_, body) = style.body(&Error::bad_request(text.repeat(200_000)), accept);
                    assert!(body.len() <= MAX_ERROR_BODY && body.len() > 3000, "{style:?} {}", body.len());
                    let (_, short) = style.body(&Error::bad_request(text), accept);
                    assert!(short.len() < 400);
                }
            }
        }
    }
}
