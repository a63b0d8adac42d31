//! The route table: from it the router, the API reference and the matrix tests are made.

use ferrostack_model::Feature;
use serde_json::Value;

pub use actix_web::http::Method;

/// Who may come this far; the policy decides after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, a bad token included.
    Public,
    /// Only with a valid token.
    Token,
}

/// One row of the table.
#[derive(Clone)]
pub struct Route {
    /// Method; GET rows also answer HEAD where the style says so.
    pub method: Method,
    /// Path with `{names}`, below the service's root.
    pub path: &'static str,
    /// Who may come this far.
    pub access: Access,
    /// Policy rules the handler enforces.
    pub policy: &'static [&'static str],
    /// Microversions that have it.
    pub window: Option<Feature>,
    /// The status of success.
    pub success: u16,
    /// One line for the API reference.
    pub summary: &'static str,
    /// JSON schema of the request body as text, for the API reference.
    pub request_schema: Option<&'static str>,
    /// JSON schema of the request body, from what the handler checks with.
    pub body: Option<fn() -> Value>,
    pub(crate) make: fn() -> actix_web::Route,
}

impl Route {
    /// A row for `method` and `path`; `make` is `|| web::get().to(handler)` without the method.
    pub fn new(method: Method, path: &'static str, make: fn() -> actix_web::Route) -> Self {
        Self {
            method,
            path,
            access: Access::Token,
            policy: &[],
            window: None,
            success: 200,
            summary: "",
            request_schema: None,
            body: None,
            make,
        }
    }
    /// GET.
    pub fn get(path: &'static str, make: fn() -> actix_web::Route) -> Self {
        Self::new(Method::GET, path, make)
    }
    /// HEAD, where it is not the GET handler's.
    pub fn head(path: &'static str, make: fn() -> actix_web::Route) -> Self {
        Self::new(Method::HEAD, path, make)
    }
    /// POST.
    pub fn post(path: &'static str, make: fn() -> actix_web::Route) -> Self {
        Self::new(Method::POST, path, make)
    }
    /// PUT.
    pub fn put(path: &'static str, make: fn() -> actix_web::Route) -> Self {
        Self::new(Method::PUT, path, make)
    }
    /// PATCH.
    pub fn patch(path: &'static str, make: fn() -> actix_web::Route) -> Self {
        Self::new(Method::PATCH, path, make)
    }
    /// DELETE.
    pub fn delete(path: &'static str, make: fn() -> actix_web::Route) -> Self {
        Self::new(Method::DELETE, path, make)
    }
    /// Open to everybody.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }
    /// Names the policy rules.
    #[must_use]
    pub fn policy(mut self, rules: &'static [&'static str]) -> Self {
        self.policy = rules;
        self
    }
    /// Limits it to microversions.
    #[must_use]
    pub fn window(mut self, feature: Feature) -> Self {
        self.window = Some(feature);
        self
    }
    /// The status of success, if not 200.
    #[must_use]
    pub fn success(mut self, status: u16) -> Self {
        self.success = status;
        self
    }
    /// What it does, in one line.
    #[must_use]
    pub fn summary(mut self, text: &'static str) -> Self {
        self.summary = text;
        self
    }
    /// The request body's JSON schema as text.
    #[must_use]
    pub fn request_schema(mut self, schema: &'static str) -> Self {
        self.request_schema = Some(schema);
        self
    }
    /// The request body's JSON schema: a function, so that it is the schema that the handler checks with.
    #[must_use]
    pub fn body(mut self, schema: fn() -> Value) -> Self {
        self.body = Some(schema);
        self
    }
    /// The request body's JSON schema, however it was given; a text that is no JSON counts as none.
    pub fn body_schema(&self) -> Option<Value> {
        self.body.map(|schema| schema()).or_else(|| serde_json::from_str(self.request_schema?).ok())
    }
}
