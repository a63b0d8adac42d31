//! URLs in answers: always on the host and port that the client used.

use actix_web::HttpRequest;

/// `http://host:port` of the request, without a trailing slash. `X-Forwarded-*` and `Forwarded` count.
pub fn base_url(req: &HttpRequest) -> String {
    let info = req.connection_info();
    format!("{}://{}", info.scheme(), info.host())
}
