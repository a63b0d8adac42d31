//! A client of the cloud under test.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as JSON; `Null` if it is not JSON.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body, if the status is `wanted`; else panics with the body.
    #[track_caller]
    pub fn expect(self, wanted: u16) -> Value {
        assert_eq!(self.status.as_u16(), wanted, "{}", self.text);
        self.body
    }
}

/// A user's view of the cloud: base URLs, a token and a microversion.
#[derive(Clone, Debug)]
pub struct Api {
    /// The HTTP client.
    pub http: reqwest::Client,
    /// Identity's URL without a path.
    pub identity: String,
    /// Image's.
    pub image: String,
    /// Compute's, with `/v2.1`.
    pub compute: String,
    /// Network's.
    pub network: String,
    /// The token sent with each request, if any.
    pub token: Option<String>,
    /// The compute microversion sent with each request, if any.
    pub microversion: Option<String>,
}

impl Api {
    /// The same with another microversion.
    #[must_use]
    pub fn at(&self, microversion: &str) -> Self {
        Self { microversion: Some(microversion.into()), ..self.clone() }
    }

    /// The same without a token.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// A login by password, scoped to a project of the domain Default.
    pub async fn login(&self, user: &str, password: &str, project: &str) -> Self {
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": user, "domain": {"id": "default"}, "password": password}}},
            "scope": {"project": {"name": project, "domain": {"id": "default"}}}}});
        let answer = self
            .anonymous()
            .call(Method::POST, &format!("{}/v3/auth/tokens", self.identity), Some(&body))
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "login of {user}: {}", answer.text);
        let token = answer.headers["x-subject-token"].to_str().unwrap().to_owned();
        Self { token: Some(token), ..self.clone() }
    }

    /// Sends a request to a whole URL.
    pub async fn call(&self, method: Method, url: &str, body: Option<&Value>) -> Answer {
        let mut request = self.http.request(method, url).header("Accept", "application/json");
        if let Some(token) = &self.token {
            request = request.header("X-Auth-Token", token);
        }
        if let Some(version) = &self.microversion {
            request = request.header("OpenStack-API-Version", format!("compute {version}"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("the service answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap_or_default();
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
    }

    /// GET of a compute path such as `/servers`.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, &format!("{}{path}", self.compute), None).await
    }
    /// POST to a compute path.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, &format!("{}{path}", self.compute), Some(body)).await
    }
    /// DELETE of a compute path.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, &format!("{}{path}", self.compute), None).await
    }

    /// Makes an active raw image of `bytes`; its id.
    pub async fn make_image(&self, name: &str, bytes: Vec<u8>) -> String {
        let body =
            json!({"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public"});
        let made =
            self.call(Method::POST, &format!("{}/v2/images", self.image), Some(&body)).await.expect(201);
        let id = made["id"].as_str().unwrap().to_owned();
        let put = self
            .http
            .put(format!("{}/v2/images/{id}/file", self.image))
            .header("X-Auth-Token", self.token.as_deref().unwrap_or_default())
            .header("Content-Type", "application/octet-stream")
            .body(bytes)
            .send()
            .await
            .unwrap();
        assert_eq!(put.status(), StatusCode::NO_CONTENT, "{}", put.text().await.unwrap());
        id
    }

    /// Makes a flavor; its id.
    pub async fn make_flavor(&self, name: &str, vcpus: i64, ram: i64, disk: i64) -> String {
        let body = json!({"flavor": {"name": name, "vcpus": vcpus, "ram": ram, "disk": disk}});
        self.post("/flavors", &body).await.expect(200)["flavor"]["id"].as_str().unwrap().to_owned()
    }
}
