//! What handlers return.

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::StatusCode};
use ferrostack_model::Error;
use serde::Serialize;

/// Our [`Error`] on its way to the edge, where the service's style gives it a body.
#[derive(Debug)]
pub struct ApiError(pub Error);

/// What every handler returns.
pub type ApiResult = Result<HttpResponse, ApiError>;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.public)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        response.extensions_mut().insert(self.0.clone());
        response
    }
}

/// 200 with a JSON body.
pub fn json<T: Serialize>(body: &T) -> ApiResult {
    with(HttpResponse::Ok(), body)
}
/// 201 with a JSON body.
pub fn created<T: Serialize>(body: &T) -> ApiResult {
    with(HttpResponse::Created(), body)
}
/// 202 with a JSON body.
pub fn accepted<T: Serialize>(body: &T) -> ApiResult {
    with(HttpResponse::Accepted(), body)
}
/// 204.
pub fn no_content() -> ApiResult {
    Ok(HttpResponse::NoContent().finish())
}

fn with<T: Serialize>(mut builder: HttpResponseBuilder, body: &T) -> ApiResult {
    let text = serde_json::to_vec(body).map_err(|e| Error::internal(format!("encoding an answer: {e}")))?;
    Ok(builder.content_type("application/json").body(text))
}
