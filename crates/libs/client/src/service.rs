//! Calls to other services with this process's own credentials.

use crate::Session;
use ferrostack_model::{Caller, Error, ErrorKind, Result, Timestamp, auth::Secret};
use ferrostack_settings::Credentials;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// A token is renewed this many seconds before it expires.
const RENEW_BEFORE: i64 = 120;

/// A user of the cloud that logs in when needed and renews its token. Cheap to clone.
#[derive(Clone)]
pub struct ServiceClient {
    http: reqwest::Client,
    credentials: Arc<Credentials>,
    session: Arc<Mutex<Option<Session>>>,
    /// Logs in for the whole system instead of the project.
    system: bool,
}

impl ServiceClient {
    /// A client for `credentials`; logs in at the first call.
    pub fn new(credentials: &Credentials) -> Result<Self> {
        Self::of(credentials, false)
    }

    /// The same with the user's roles on the whole system: for what a project's token does not see.
    pub fn of_system(credentials: &Credentials) -> Result<Self> {
        Self::of(credentials, true)
    }

    fn of(credentials: &Credentials, system: bool) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| Error::internal(format!("HTTP client: {e}")))?;
        Ok(Self { http, credentials: Arc::new(credentials.clone()), session: Arc::default(), system })
    }

    /// The identity service's URL ending in `/v3`.
    pub fn auth_url(&self) -> &str {
        self.credentials.auth_url.trim_end_matches('/')
    }

    /// The plain HTTP client, for calls without a token.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The current login; one login at a time, however many ask.
    pub async fn session(&self) -> Result<Session> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref()
            && session.expires_at.plus_seconds(-RENEW_BEFORE) > Timestamp::now()
        {
            return Ok(session.clone());
        }
        let session = self.login().await?;
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Forgets a login whose token was refused.
    pub(crate) async fn forget(&self, token: &Secret) {
        let mut slot = self.session.lock().await;
        if slot.as_ref().is_some_and(|s| s.token == *token) {
            *slot = None;
        }
    }

    async fn login(&self) -> Result<Session> {
        let file = &self.credentials.password_file;
        let password = tokio::fs::read_to_string(file)
            .await
            .map_err(|e| Error::unavailable(format!("password file {}: {e}", file.display())))?;
        let scope = if self.system {
            json!({"system": {"all": true}})
        } else {
            json!({"project": {"name": self.credentials.project_name, "domain": {"id": "default"}}})
        };
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": self.credentials.username, "domain": {"id": "default"}, "password": password.trim_end()}}},
            "scope": scope}});
        let url = format!("{}/auth/tokens", self.auth_url());
        let response = self.http.post(&url).json(&body).send().await.map_err(transport_error)?;
        if response.status() != StatusCode::CREATED {
            return Err(Error::unavailable(format!(
                "{url} answered {} to the login of {}",
                response.status(),
                self.credentials.username
            )));
        }
        let token = response
            .headers()
            .get("x-subject-token")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
            .ok_or_else(|| Error::unavailable(format!("{url} answered without X-Subject-Token")))?;
        let body: Value = response.json().await.map_err(transport_error)?;
        Session::read(token, &body).ok_or_else(|| Error::unavailable(format!("{url} answered no token body")))
    }

    /// The URL of a service from the catalog; `Unavailable` if there is none.
    pub async fn endpoint(&self, service_type: &str) -> Result<String> {
        self.session()
            .await?
            .endpoint(service_type)
            .ok_or_else(|| Error::unavailable(format!("the catalog has no {service_type} endpoint")))
    }

    /// Sends a request with our token; once more with a new login if the token is refused.
    /// `shape` adds the body and headers. Any status is returned as it is.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        request_id: Option<&str>,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let mut renewed = false;
        loop {
            let session = self.session().await?;
            let mut request = self.http.request(method.clone(), url).header("X-Auth-Token", &session.token.0);
            if let Some(id) = request_id {
                request = request.header("X-Openstack-Request-Id", id);
            }
            let response = shape(request).send().await.map_err(transport_error)?;
            if response.status() != StatusCode::UNAUTHORIZED || renewed {
                return Ok(response);
            }
            self.forget(&session.token).await;
            renewed = true;
        }
    }

    /// Puts the caller's token into a request that another service shall answer as to the caller. With access rules
    /// the token alone could not ask there: our own beside it says that the caller was checked here.
    pub async fn on_behalf(&self, caller: &Caller, request: RequestBuilder) -> Result<RequestBuilder> {
        let request = request.header("X-Auth-Token", &caller.token.0);
        if caller.claims.app_cred.as_ref().is_none_or(|c| c.access_rules.is_none()) {
            return Ok(request);
        }
        Ok(request.header("X-Service-Token", &self.session().await?.token.0))
    }

    /// [`Self::send`] for JSON: the answer's body, or its error.
    pub async fn json(
        &self,
        method: Method,
        url: &str,
        request_id: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value> {
        let response = self
            .send(method, url, request_id, |r| match body {
                Some(body) => r.json(body),
                None => r,
            })
            .await?;
        if !response.status().is_success() {
            return Err(answer_error(response).await);
        }
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        response.json().await.map_err(transport_error)
    }
}

/// An error for a service that did not answer. The URL may be logged: it holds no secret.
pub fn transport_error(error: reqwest::Error) -> Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Error::unavailable(text)
}

/// An error for an answer that is not a success: its kind by the status, its text from the body.
pub async fn answer_error(response: Response) -> Error {
    let (status, url) = (response.status(), response.url().clone());
    let body: Value = response.json().await.unwrap_or(Value::Null);
    let message = body
        .as_object()
        .and_then(|o| o.values().next())
        .and_then(|inner| inner.get("message"))
        .or_else(|| body.get("message"))
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let kind = match status {
        // Our own token or rights are not the caller's fault.
        StatusCode::UNAUTHORIZED => ErrorKind::Unavailable,
        other => ErrorKind::from_http(other.as_u16()),
    };
    Error::new(kind, message).with_internal(format!("{url} answered {status}"))
}
