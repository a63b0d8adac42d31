//! The one way by which this service fetches from addresses that users give.
//!
//! The text of an address is checked ([`Rules`]), its name is looked up once and the addresses are checked
//! ([`resolve`]), the connection goes to them, and each redirect begins anew. No proxy, no cookies, no
//! compression, certificates checked, bytes and time limited.

pub mod address;
mod body;
mod error;
pub mod resolve;
mod rules;

pub use body::Body;
pub use error::Failure;
pub use rules::Rules;

use error::causes;
use ferrostack_model::{Error, Result};
use ferrostack_settings::ImageFetch;
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderMap, LOCATION, RANGE},
};
use resolve::{Gate, Lookup, System};
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::time::Instant;
use url::Url;

/// What to ask for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Only the headers.
    pub head: bool,
    /// Only these bytes; the answer's status says whether the server knows ranges (206).
    pub range: Option<Range<u64>>,
    /// Most bytes of the body; more are an error.
    pub limit: u64,
}

/// An answer with data.
pub struct Fetched {
    /// 200 or 206.
    pub status: u16,
    /// Bytes of the body, if the server says so.
    pub size: Option<u64>,
    /// The server's word for this version of the data.
    pub etag: Option<String>,
    /// The data.
    pub body: Body,
}

/// Fetches. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    rules: Arc<Rules>,
    /// For addresses of users.
    outer: Client,
    /// For addresses that the operator wrote into the catalog.
    catalog: Client,
    max_redirects: usize,
    connect: Duration,
    idle: Duration,
    total: Duration,
}

impl Fetcher {
    /// A fetcher for the settings; an error names the setting that is wrong.
    pub fn new(settings: &ImageFetch) -> Result<Self> {
        Self::with_lookup(settings, Arc::new(System))
    }

    /// The same with a resolver of one's own: for tests.
    pub fn with_lookup(settings: &ImageFetch, lookup: Arc<dyn Lookup>) -> Result<Self> {
        let rules = Arc::new(Rules::new(settings));
        let outer = Gate { lookup: lookup.clone(), rules: Some(rules.clone()) };
        Ok(Self {
            outer: client(settings, outer)?,
            catalog: client(settings, Gate { lookup, rules: None })?,
            rules,
            max_redirects: settings.max_redirects,
            connect: Duration::from_millis(settings.connect_timeout_ms.max(1)),
            idle: Duration::from_millis(settings.idle_timeout_ms.max(1)),
            total: Duration::from_secs(settings.total_timeout_seconds.max(1)),
        })
    }

    /// Reads an address that a client gave; the reason (for the log) if it may not be fetched. Nothing is looked up yet.
    pub fn read(&self, uri: &str) -> Result<Url, &'static str> {
        self.rules.read(uri)
    }

    /// Asks for the data at `url`, following redirects. Anything but 200 and 206 is a failure.
    pub async fn get(&self, url: &Url, ask: &Ask) -> Result<Fetched, Failure> {
        let deadline = Instant::now() + self.total;
        let mut url = url.clone();
        for _ in 0..=self.max_redirects {
            let begun = Instant::now();
            let answer = match self.rules.check(&url) {
                Ok(()) => self.send(&self.outer, &url, ask, None).await,
                Err(why) => Err(Failure::Unreachable(format!("refused: {why}"))),
            };
            let response = match answer {
                Ok(response) => response,
                Err(failure) => {
                    // Not a wait for anything: a closed port is told as late as a filtered one.
                    tokio::time::sleep_until(begun + self.connect).await;
                    return Err(failure);
                }
            };
            match next(&url, &response)? {
                Some(to) => url = to,
                None => return self.accept(response, ask, deadline),
            }
        }
        Err(Failure::Unreachable("too many redirects".into()))
    }

    /// Asks for data of another service of the cloud, at an address from the catalog, with the caller's tokens in
    /// `headers`. The address may be inside, since the operator wrote it; a redirect is not followed, so the tokens
    /// stay there.
    pub async fn get_from_catalog(
        &self,
        url: &Url,
        headers: &HeaderMap,
        ask: &Ask,
    ) -> Result<Fetched, Failure> {
        let deadline = Instant::now() + self.total;
        let response = self.send(&self.catalog, url, ask, Some(headers)).await?;
        self.accept(response, ask, deadline)
    }

    async fn send(
        &self,
        client: &Client,
        url: &Url,
        ask: &Ask,
        headers: Option<&HeaderMap>,
    ) -> Result<Response, Failure> {
        let method = if ask.head { Method::HEAD } else { Method::GET };
        let request = client.request(method, url.clone()).headers(headers.cloned().unwrap_or_default());
        let mut request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(range) = ask.range.as_ref().filter(|r| !r.is_empty()) {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        match tokio::time::timeout(self.connect + self.idle, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Failure::Unreachable(causes(error))),
            Err(_) => Err(Failure::Unreachable("no answer".into())),
        }
    }

    fn accept(&self, response: Response, ask: &Ask, deadline: Instant) -> Result<Fetched, Failure> {
        let status = response.status();
        if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
            return Err(Failure::Status(status.as_u16()));
        }
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        if header(CONTENT_ENCODING).is_some_and(|e| !e.eq_ignore_ascii_case("identity")) {
            return Err(Failure::Broken("compressed although not asked to".into()));
        }
        let etag = header(ETAG).map(str::to_owned);
        let length = header(reqwest::header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
        let size = length.or_else(|| response.content_length());
        if size.is_some_and(|size| size > ask.limit) {
            return Err(Failure::TooLarge(ask.limit));
        }
        let body = Body::new(response, ask.limit, self.idle, deadline);
        Ok(Fetched { status: status.as_u16(), size, etag, body })
    }
}

/// Where a redirect leads; `None` if the answer is none.
fn next(url: &Url, response: &Response) -> Result<Option<Url>, Failure> {
    let redirects = [301, 302, 303, 307, 308];
    if !redirects.contains(&response.status().as_u16()) {
        return Ok(None);
    }
    let refused = |why: &str| Failure::Unreachable(format!("redirect {why}"));
    let to = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
    let to = to.ok_or_else(|| refused("without a place"))?;
    let to = url.join(to).map_err(|_| refused("to what is no URL"))?;
    if url.scheme() == "https" && to.scheme() != "https" {
        return Err(refused("out of TLS"));
    }
    Ok(Some(to))
}

fn client(settings: &ImageFetch, gate: Gate) -> Result<Client> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(Duration::from_millis(settings.connect_timeout_ms.max(1)))
        .dns_resolver(Arc::new(gate))
        .pool_max_idle_per_host(0);
    if let Some(file) = &settings.ca_file {
        let wrong = |e: String| Error::internal(format!("image.fetch.ca_file {}: {e}", file.display()));
        let text = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
        let more = reqwest::Certificate::from_pem_bundle(&text).map_err(|e| wrong(e.to_string()))?;
        builder = builder.tls_certs_merge(more);
    }
    builder.build().map_err(|e| Error::internal(format!("HTTP client: {e}")))
}
