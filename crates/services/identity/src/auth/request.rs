//! The body of `POST /v3/auth/tokens`.

use super::methods::Spent;
use crate::faults;
use ferrostack_http::Schema;
use ferrostack_model::{Error, Result, auth::Secret};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A domain by id or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainKey {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// A user or project by id, or by name in a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By id.
    Id(String),
    /// By name in a domain.
    Name(String, DomainKey),
}

/// How the caller proves who it is.
#[derive(Clone, Debug)]
pub enum Method {
    /// User and password.
    Password(Key, Secret),
    /// A token got before.
    Token(Secret),
    /// An application credential with its secret.
    AppCred(AppCredKey, Secret),
    /// User and one-time password.
    Totp(Key, Secret, Spent),
}

/// An application credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppCredKey {
    /// By id; the owner if the request names one.
    Id(String, Option<Key>),
    /// By name and owner.
    Name(String, Key),
}

/// What the token shall be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeWish {
    /// Nothing said: the user's default project if it is usable.
    Default,
    /// Explicitly none.
    Unscoped,
    /// A project.
    Project(Key),
    /// A domain.
    Domain(DomainKey),
    /// The deployment.
    System,
    /// What a trust, by id, gives.
    Trust(String),
}

/// A parsed request.
#[derive(Clone, Debug)]
pub struct AuthRequest {
    /// One or more, all must hold.
    pub methods: Vec<Method>,
    /// The scope.
    pub scope: ScopeWish,
}

static SCHEMA: LazyLock<Result<Schema>> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let domain = json!({"type": "object", "properties": {"id": text, "name": text}});
    let named = json!({"type": "object", "properties": {"id": text, "name": text, "domain": domain}});
    let user = json!({"type": "object",
        "properties": {"id": text, "name": text, "domain": domain, "password": text, "passcode": text}});
    Schema::of(&json!({
        "type": "object",
        "properties": {
            "identity": {
                "type": "object",
                "properties": {
                    "methods": {"type": "array", "items": text},
                    "password": {"type": "object", "properties": {"user": user}},
                    "token": {"type": "object", "properties": {"id": text}, "required": ["id"]},
                    "application_credential": {"type": "object", "required": ["secret"],
                        "properties": {"id": text, "name": text, "secret": text, "user": named}},
                    "totp": {"type": "object", "properties": {"user": user}},
                },
                "required": ["methods"],
            },
            "scope": {
                "type": ["object", "string"],
                "properties": {
                    "project": named, "domain": domain,
                    "system": {"type": "object", "properties": {"all": {"type": "boolean"}}},
                    "OS-TRUST:trust": {"type": "object", "properties": {"id": text}, "required": ["id"]},
                },
            },
        },
        "required": ["identity"],
    }))
});

/// The body's schema, for the API reference.
pub fn schema() -> Value {
    let auth = SCHEMA.as_ref().map(|s| s.document().clone()).unwrap_or_default();
    json!({"type": "object", "properties": {"auth": auth}, "required": ["auth"]})
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn domain_key(value: &Value) -> Result<DomainKey> {
    match (text(value, "id"), text(value, "name")) {
        (Some(id), _) => Ok(DomainKey::Id(id)),
        (None, Some(name)) => Ok(DomainKey::Name(name)),
        (None, None) => Err(faults::expected("id or name", "domain")),
    }
}

fn key(value: &Value, what: &str) -> Result<Key> {
    match (text(value, "id"), text(value, "name"), value.get("domain")) {
        (Some(id), ..) => Ok(Key::Id(id)),
        (None, Some(name), Some(domain)) => Ok(Key::Name(name, domain_key(domain)?)),
        (None, Some(_), None) => Err(faults::expected("domain", what)),
        (None, None, _) => Err(faults::expected("id or name", what)),
    }
}

impl AuthRequest {
    /// Reads the body; 400 names what is missing, 401 for a method we do not have.
    pub fn parse(body: &Value) -> Result<Self> {
        let auth = body.get("auth").ok_or_else(|| faults::expected("auth", "request body"))?;
        match &*SCHEMA {
            Ok(schema) => {
                if let Some(complaint) = schema.complaints(auth).first() {
                    return Err(without_values(complaint));
                }
            }
            Err(error) => return Err(error.clone()),
        }
        let identity = &auth["identity"];
        let scope = scope(auth.get("scope"))?;
        let names = identity["methods"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut methods = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for name in names.iter().filter_map(Value::as_str) {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let given = identity.get(name).ok_or_else(|| faults::expected(name, "identity"));
            methods.push(match name {
                "password" => {
                    let user = given?.get("user").ok_or_else(|| faults::expected("user", "password"))?;
                    let key = key(user, "user")?;
                    let password =
                        text(user, "password").ok_or_else(|| faults::expected("password", "user"))?;
                    Method::Password(key, Secret(password))
                }
                "totp" => {
                    let user = given?.get("user").ok_or_else(|| faults::expected("user", "totp"))?;
                    let key = key(user, "user")?;
                    let passcode =
                        text(user, "passcode").ok_or_else(|| faults::expected("passcode", "user"))?;
                    Method::Totp(key, Secret(passcode), Spent::default())
                }
                "token" => Method::Token(Secret(text(given?, "id").unwrap_or_default())),
                "application_credential" => {
                    // The credential says what its tokens are for.
                    if auth.get("scope").is_some() {
                        return Err(no_scope_of_its_own());
                    }
                    app_cred(given?)?
                }
                _ => return Err(unsupported()),
            });
        }
        if methods.is_empty() {
            return Err(unsupported());
        }
        Ok(Self { methods, scope })
    }
}

/// A schema complaint (`/path/to/field: text`) that repeats nothing of the body, which may be a password.
fn without_values(complaint: &str) -> Error {
    let (path, text) = complaint.split_once(": ").unwrap_or(("", complaint));
    let missing = text.ends_with(" is a required property");
    Error::bad_request(if missing {
        text.to_owned()
    } else {
        let field = path.rsplit('/').next().unwrap_or_default();
        let kind = text.rsplit_once(" is not of type ").map_or("", |(_, kind)| kind);
        format!("Invalid input for field/attribute {field}. It is not of type {kind}")
    })
}

fn app_cred(given: &Value) -> Result<Method> {
    let owner = match given.get("user") {
        Some(user) => Some(key(user, "user")?),
        None => None,
    };
    let missing = |what: &str| faults::expected(what, "application_credential");
    let which = match (text(given, "id"), text(given, "name"), owner) {
        (Some(id), _, owner) => AppCredKey::Id(id, owner),
        (None, Some(name), Some(owner)) => AppCredKey::Name(name, owner),
        (None, Some(_), None) => return Err(missing("user")),
        (None, None, _) => return Err(missing("id or name")),
    };
    let secret = text(given, "secret").ok_or_else(|| missing("secret"))?;
    Ok(Method::AppCred(which, Secret(secret)))
}

fn no_scope_of_its_own() -> Error {
    let mut error = Error::unauthorized();
    error.public =
        "Error authenticating with application credential: Application credentials cannot request a scope."
            .into();
    error
}

fn unsupported() -> Error {
    let mut error = Error::unauthorized();
    error.public = "Attempted to authenticate with an unsupported method.".into();
    error
}

fn scope(value: Option<&Value>) -> Result<ScopeWish> {
    let Some(value) = value else { return Ok(ScopeWish::Default) };
    if let Value::String(text) = value {
        return if text == "unscoped" { Ok(ScopeWish::Unscoped) } else { Err(one_scope()) };
    }
    let kinds = ["project", "domain", "system", "OS-TRUST:trust", "unscoped"];
    let given: Vec<&str> = kinds.into_iter().filter(|k| value.get(k).is_some()).collect();
    match given.as_slice() {
        ["project"] => key(&value["project"], "project").map(ScopeWish::Project),
        ["domain"] => domain_key(&value["domain"]).map(ScopeWish::Domain),
        ["system"] if value["system"]["all"] == true => Ok(ScopeWish::System),
        ["system"] => Err(faults::expected("all", "system")),
        ["unscoped"] => Ok(ScopeWish::Unscoped),
        ["OS-TRUST:trust"] => match text(&value["OS-TRUST:trust"], "id") {
            Some(id) => Ok(ScopeWish::Trust(id)),
            None => Err(faults::expected("id", "OS-TRUST:trust")),
        },
        _ => Err(one_scope()),
    }
}

fn one_scope() -> Error {
    faults::expected("one of system, project, domain, OS-TRUST:trust or unscoped", "scope")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(body: Value) -> (u16, String) {
        let error = AuthRequest::parse(&body).unwrap_err();
        (error.kind.http(), error.public)
    }

    #[test]
    fn says_what_is_missing() {
        assert!(refused(json!({})).1.starts_with("Expecting to find auth in request body. The server could"));
        assert_eq!(refused(json!({"auth": {}})), (400, "'identity' is a required property".into()));
        let body = |user: Value| json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
        assert!(
            refused(body(json!({"name": "a", "password": "b"})))
                .1
                .starts_with("Expecting to find domain in user.")
        );
        assert!(
            refused(body(json!({"password": "b"}))).1.starts_with("Expecting to find id or name in user.")
        );
        assert!(refused(body(json!({"id": "b"}))).1.starts_with("Expecting to find password in user."));
        assert_eq!(refused(body(json!({"id": 5}))).0, 400);
        let secret = refused(body(json!({"id": "x", "password": ["hunter2"]})));
        assert_eq!(
            secret,
            (400, "Invalid input for field/attribute password. It is not of type 'string'".into())
        );
        assert!(!refused(body(json!("hunter2"))).1.contains("hunter2"));
        assert!(!refused(json!({"auth": {"identity": {"password": "hunter2"}}})).1.contains("hunter2"));
        let method = |m: &str| json!({"auth": {"identity": {"methods": [m]}}});
        assert!(refused(method("password")).1.starts_with("Expecting to find password in identity."));
        assert!(refused(method("totp")).1.starts_with("Expecting to find totp in identity."));
        assert_eq!(refused(method("mapped")).0, 401);
        let totp = |user: Value| json!({"auth": {"identity": {"methods": ["totp"], "totp": {"user": user}}}});
        assert!(refused(totp(json!({"id": "b"}))).1.starts_with("Expecting to find passcode in user."));
        let code = refused(totp(json!({"id": "b", "passcode": 123_456})));
        assert_eq!(
            code,
            (400, "Invalid input for field/attribute passcode. It is not of type 'string'".into())
        );
        assert_eq!(refused(json!({"auth": {"identity": {"methods": []}}})).0, 401);
        let scope = |s: Value| json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "t"}}, "scope": s}});
        assert_eq!(refused(scope(json!({"project": {"id": "a"}, "domain": {"id": "b"}}))).0, 400);
        assert_eq!(refused(scope(json!({}))).0, 400);
        assert_eq!(refused(scope(json!("all"))).0, 400);
        assert_eq!(AuthRequest::parse(&scope(json!("unscoped"))).unwrap().scope, ScopeWish::Unscoped);
        assert_eq!(
            AuthRequest::parse(&scope(json!({"system": {"all": true}}))).unwrap().scope,
            ScopeWish::System
        );
    }

    #[test]
    fn application_credentials_by_id_or_by_name_and_owner() {
        let body = |cred: Value| json!({"auth": {"identity": {"methods": ["application_credential"], "application_credential": cred}}});
        let parsed = |cred: Value| AuthRequest::parse(&body(cred)).unwrap().methods.remove(0);
        let Method::AppCred(which, _) = parsed(json!({"id": "a", "secret": "s"})) else { panic!() };
        assert_eq!(which, AppCredKey::Id("a".into(), None));
        let Method::AppCred(which, _) = parsed(json!({"name": "a", "user": {"id": "u"}, "secret": "s"}))
        else {
            panic!()
        };
        assert_eq!(which, AppCredKey::Name("a".into(), Key::Id("u".into())));
        assert_eq!(refused(body(json!({"id": "a"}))), (400, "'secret' is a required property".into()));
        let wants = |cred: Value| refused(body(cred)).1;
        assert!(
            wants(json!({"secret": "s"})).starts_with("Expecting to find id or name in application_cred")
        );
        assert!(
            wants(json!({"name": "a", "secret": "s"})).starts_with("Expecting to find user in application")
        );
        let named = json!({"name": "a", "secret": "s", "user": {"name": "bob"}});
        assert!(wants(named).starts_with("Expecting to find domain in user."));
        let mut scoped = body(json!({"id": "a", "secret": "s"}));
        for scope in [json!("unscoped"), json!({"project": {"id": "p"}}), json!({"system": {"all": true}})] {
            scoped["auth"]["scope"] = scope;
            assert_eq!(refused(scoped.clone()).0, 401);
        }
        let hidden = refused(body(json!({"id": "a", "secret": ["hunter2"]})));
        assert_eq!(hidden.0, 400);
        assert!(!hidden.1.contains("hunter2"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|n| json!(n)),
            ".{0,8}".prop_map(Value::String)
        ];
        let names = prop::sample::select(vec![
            "auth",
            "identity",
            "methods",
            "password",
            "token",
            "user",
            "id",
            "name",
            "domain",
            "scope",
            "project",
            "system",
            "all",
            "application_credential",
            "secret",
            "OS-TRUST:trust",
        ]);
        leaf.prop_recursive(6, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::hash_map(names.clone(), inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn never_a_fault_of_ours(body in any_json()) {
            if let Err(error) = AuthRequest::parse(&json!({"auth": body})) {
                prop_assert!(error.kind.http() < 500);
            }
        }
    }
}
