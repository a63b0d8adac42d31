//! Sending a file to the image service as the data of a queued image, verified at the end.

use crate::{ServiceClient, answer_error, transport_error};
use aws_lc_rs::digest;
use bytes::Bytes;
use ferrostack_model::{Error, ErrorKind, Result};
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use reqwest::{Body, Method, Response, StatusCode, header};
use serde_json::Value;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::io::ReaderStream;

/// Read from the file at once.
const PIECE: usize = 256 * 1024;
/// A service that takes no byte for so long has gone.
const SILENCE: Duration = Duration::from_secs(120);
/// How long the service may look at the data when all are there.
const JUDGEMENT: Duration = Duration::from_secs(900);

/// An image as the image service shows it, for those that fill it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// `queued`, `saving`, `active`, …
    pub status: String,
    size: Option<u64>,
    algorithm: String,
    hash: String,
}

impl ImageRecord {
    fn read(body: &Value) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        Self {
            status: text("status"),
            size: body.get("size").and_then(Value::as_u64),
            algorithm: text("os_hash_algo"),
            hash: text("os_hash_value"),
        }
    }

    /// Whether the image is active with exactly these data.
    fn is(&self, size: u64, sha512: &str) -> bool {
        self.status == "active"
            && self.size == Some(size)
            && self.algorithm == "sha512"
            && self.hash.eq_ignore_ascii_case(sha512)
    }
}

fn url(base: &str, image_id: &str, rest: &str) -> String {
    let base = base.trim_end_matches('/');
    format!("{}/v2/images/{image_id}{rest}", base.strip_suffix("/v2").unwrap_or(base))
}

/// The image; `NotFound` if there is none.
pub async fn image_record(
    client: &ServiceClient,
    base: &str,
    image_id: &str,
    request_id: Option<&str>,
) -> Result<ImageRecord> {
    let body = client.json(Method::GET, &url(base, image_id, ""), request_id, None).await?;
    Ok(ImageRecord::read(&body))
}

/// What the body of the request has come to.
struct Progress {
    sum: digest::Context,
    sent: u64,
    moved: Instant,
}

/// Sends the file to the image at `base` (the image service's URL) and makes sure that the service has what was sent.
///
/// # Errors
/// `NotFound` if the image is gone, `Conflict` if it takes no data now, retryable ones as they are.
pub async fn upload_image(
    client: &ServiceClient,
    base: &str,
    image_id: &str,
    file: &Path,
    request_id: Option<&str>,
) -> Result<()> {
    let (size, sha512) = put(client, &url(base, image_id, "/file"), file, request_id).await?;
    let record = image_record(client, base, image_id, request_id).await?;
    if record.is(size, &sha512) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "image {image_id} is {} with {:?} bytes and {} {} after {size} bytes with sha512 {sha512} were sent",
        record.status, record.size, record.algorithm, record.hash
    )))
}

/// Whether the image is active with the content of `file`.
pub async fn image_has(
    client: &ServiceClient,
    base: &str,
    image_id: &str,
    file: &Path,
    request_id: Option<&str>,
) -> Result<bool> {
    let record = image_record(client, base, image_id, request_id).await?;
    if record.status != "active" {
        return Ok(false);
    }
    let path = file.to_owned();
    let (size, sum) = tokio::task::spawn_blocking(move || -> std::io::Result<(u64, String)> {
        let mut sum = Sum(digest::Context::new(&digest::SHA512));
        let size = std::io::copy(&mut std::fs::File::open(path)?, &mut sum)?;
        Ok((size, hex::encode(sum.0.finish())))
    })
    .await
    .map_err(|e| Error::internal(format!("hashing a file: {e}")))?
    .map_err(|e| file_error(file, &e))?;
    Ok(record.is(size, &sum))
}

struct Sum(digest::Context);

impl std::io::Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn file_error(file: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("{}: {error}", file.display()))
}

/// The file's bytes, counted and summed on their way.
async fn body(
    file: &Path,
    progress: Arc<Mutex<Progress>>,
) -> Result<(u64, impl Stream<Item = std::io::Result<Bytes>> + Send + 'static)> {
    let opened = tokio::fs::File::open(file).await.map_err(|e| file_error(file, &e))?;
    let size = opened.metadata().await.map_err(|e| file_error(file, &e))?.len();
    let stream = ReaderStream::with_capacity(opened, PIECE).inspect(move |piece| {
        if let Ok(piece) = piece {
            let mut progress = progress.lock();
            progress.sum.update(piece);
            progress.sent += piece.len() as u64;
            progress.moved = Instant::now();
        }
    });
    Ok((size, stream))
}

async fn put(
    client: &ServiceClient,
    url: &str,
    file: &Path,
    request_id: Option<&str>,
) -> Result<(u64, String)> {
    // The client for small calls gives up when an answer takes a minute: an upload has no answer before its end.
    let http = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|e| Error::internal(format!("HTTP client: {e}")))?;
    let mut renewed = false;
    loop {
        let session = client.session().await?;
        let fresh = Progress { sum: digest::Context::new(&digest::SHA512), sent: 0, moved: Instant::now() };
        let progress = Arc::new(Mutex::new(fresh));
        let (size, stream) = body(file, progress.clone()).await?;
        let mut request = http
            .put(url)
            .header("X-Auth-Token", &session.token.0)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, size);
        if let Some(id) = request_id {
            request = request.header("X-Openstack-Request-Id", id);
        }
        let answer = tokio::select! {
            answer = request.body(Body::wrap_stream(stream)).send() => answer.map_err(transport_error)?,
            () = stalled(&progress, size) => {
                return Err(Error::unavailable(format!("{url}: the image service takes no data")));
            }
        };
        if answer.status() == StatusCode::UNAUTHORIZED && !renewed {
            client.forget(&session.token).await;
            renewed = true;
            continue;
        }
        judge(answer).await?;
        let sum = progress.lock().sum.clone();
        return Ok((size, hex::encode(sum.finish())));
    }
}

async fn judge(answer: Response) -> Result<()> {
    if answer.status().is_success() {
        return Ok(());
    }
    let error = answer_error(answer).await;
    // An image that was deleted while its data came.
    Err(if error.kind == ErrorKind::Gone { Error { kind: ErrorKind::NotFound, ..error } } else { error })
}

/// Ends when nothing has moved for too long.
async fn stalled(progress: &Mutex<Progress>, size: u64) {
    loop {
        let rest = {
            let progress = progress.lock();
            let patience = if progress.sent < size { SILENCE } else { JUDGEMENT };
            patience.saturating_sub(progress.moved.elapsed())
        };
        if rest.is_zero() {
            return;
        }
        tokio::time::sleep(rest).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_same_data_in_an_active_image_count() {
        let sum = "ab".repeat(64);
        let record = |status: &str, size: i64, algorithm: &str, hash: &str| {
            ImageRecord::read(&json!({"status": status, "size": size, "os_hash_algo": algorithm,
                "os_hash_value": hash}))
        };
        assert!(record("active", 5, "sha512", &sum.to_uppercase()).is(5, &sum));
        assert!(!record("saving", 5, "sha512", &sum).is(5, &sum));
        assert!(!record("active", 6, "sha512", &sum).is(5, &sum));
        assert!(!record("active", 5, "sha256", &sum).is(5, &sum));
        assert!(!record("active", 5, "sha512", &"cd".repeat(64)).is(5, &sum));
        assert!(!ImageRecord::read(&json!(["x"])).is(0, ""));
    }

    #[test]
    fn the_version_in_the_url_is_not_doubled() {
        for base in ["http://h:1", "http://h:1/", "http://h:1/v2", "http://h:1/v2/"] {
            assert_eq!(url(base, "i", "/file"), "http://h:1/v2/images/i/file");
        }
    }
}
