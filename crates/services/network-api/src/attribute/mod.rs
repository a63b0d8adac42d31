//! What a body may hold: one table of attributes per noun, from which create and update are checked.

pub mod check;
pub mod network;
pub mod port;
pub mod subnet;

use ferrostack_http::Ctx;
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value};

/// Checks a value and brings it to its one form; the error is the reason.
pub type Check = fn(&Value) -> Result<Value, String>;

/// How an attribute behaves in a POST.
#[derive(Clone, Copy)]
pub enum Post {
    /// Must be given.
    Required,
    /// May be given; else this.
    Default(fn() -> Value),
    /// May be given; absent is different from every value.
    Optional,
    /// Ours to set.
    Refused,
}

/// One attribute.
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// In a POST.
    pub post: Post,
    /// Whether a PUT may change it.
    pub put: bool,
    /// Its check.
    pub check: Check,
    /// Whether setting it is a policy question of its own, `create_port:mac_address`.
    pub enforced: bool,
}

/// A noun's attributes.
pub struct Noun {
    /// `network`
    pub name: &'static str,
    /// `networks`
    pub plural: &'static str,
    /// The table.
    pub attributes: &'static [Attribute],
}

/// A checked body: the values in their one form, and which of them are policy questions.
#[derive(Clone, Debug)]
pub struct Fields {
    /// By name; attributes with a default are always there in a create.
    pub values: Map<String, Value>,
    /// Names that need a rule of their own.
    pub enforced: Vec<&'static str>,
}

impl Fields {
    /// A text; "" if absent or null.
    pub fn text(&self, name: &str) -> String {
        self.values.get(name).and_then(Value::as_str).unwrap_or("").to_owned()
    }
    /// A text, `None` if absent or null.
    pub fn optional(&self, name: &str) -> Option<String> {
        self.values.get(name).and_then(Value::as_str).map(str::to_owned)
    }
    /// A flag; false if absent.
    pub fn flag(&self, name: &str) -> bool {
        self.values.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
    /// A number; 0 if absent.
    pub fn number(&self, name: &str) -> i64 {
        self.values.get(name).and_then(Value::as_i64).unwrap_or(0)
    }
    /// A list read as `T`; empty if absent or null. The checks have made sure that it reads.
    pub fn list<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|e| Error::internal(format!("attribute {name} after its check: {e}"))),
        }
    }
    /// Whether it was given (or has a default).
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
    /// Whether it was given as something else than null.
    pub fn some(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|v| !v.is_null())
    }

    /// 403 unless the caller may do `rule` and set every attribute that is a question of its own.
    pub fn enforce(&self, ctx: &Ctx, rule: &str, target: &[(&str, &str)]) -> Result<()> {
        ctx.enforce(rule, target).map_err(|e| e.named("PolicyNotAuthorized"))?;
        for name in &self.enforced {
            ctx.enforce(&format!("{rule}:{name}"), target).map_err(|e| e.named("PolicyNotAuthorized"))?;
        }
        Ok(())
    }
}

fn bad(text: impl Into<String>) -> Error {
    Error::bad_request(text).named("HTTPBadRequest")
}

/// `400 Invalid input for NAME. Reason: …`
pub fn invalid(name: &str, reason: impl AsRef<str>) -> Error {
    bad(format!("Invalid input for {name}. Reason: {}", check::short(reason.as_ref())))
}

/// `400` of the type InvalidInput.
pub fn invalid_input(text: impl AsRef<str>) -> Error {
    Error::bad_request(format!("Invalid input for operation: {}.", check::short(text.as_ref())))
        .named("InvalidInput")
}

impl Noun {
    /// The objects of a POST: one, or several under the plural name (then `true`).
    pub fn bodies<'a>(&self, body: &'a Value) -> Result<(Vec<&'a Map<String, Value>>, bool)> {
        let body = body.as_object().ok_or_else(|| bad("The request body must be a JSON object."))?;
        if let Some(one) = body.get(self.name) {
            let one = one.as_object().ok_or_else(|| bad(format!("'{}' must be an object.", self.name)))?;
            return Ok((vec![one], false));
        }
        let many = body
            .get(self.plural)
            .and_then(Value::as_array)
            .ok_or_else(|| bad(format!("Unable to find '{}' in request body", self.name)))?;
        if many.is_empty() {
            return Err(bad("Resources required"));
        }
        let many: Option<Vec<_>> = many
            .iter()
            // `{"port": {…}}` inside the list is accepted as Neutron does.
            .map(|item| item.get(self.name).unwrap_or(item).as_object())
            .collect();
        Ok((many.ok_or_else(|| bad(format!("'{}' must be a list of objects.", self.plural)))?, true))
    }

    /// The object of a PUT.
    pub fn body<'a>(&self, body: &'a Value) -> Result<&'a Map<String, Value>> {
        body.get(self.name)
            .and_then(Value::as_object)
            .ok_or_else(|| bad(format!("Unable to find '{}' in request body", self.name)))
    }

    fn find(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    fn unknown(&self, given: &Map<String, Value>) -> Result<()> {
        let unknown: Vec<String> = given
            .keys()
            .filter(|k| !matches!(k.as_str(), "tenant_id" | "project_id") && self.find(k).is_none())
            .map(|k| check::short(k))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(bad(format!("Unrecognized attribute(s) '{}'", check::short(&unknown.join(", ")))))
    }

    /// Checks a new object. `project_id` is filled in: the given one (admins and services only) or the caller's.
    pub fn create(&self, ctx: &Ctx, given: &Map<String, Value>) -> Result<Fields> {
        self.unknown(given)?;
        let (mut values, mut enforced) = (Map::new(), Vec::new());
        for attribute in self.attributes {
            let value = match (given.get(attribute.name), attribute.post) {
                (Some(_), Post::Refused) => {
                    return Err(bad(format!("Attribute '{}' not allowed in POST", attribute.name)));
                }
                (Some(value), _) => (attribute.check)(value).map_err(|r| invalid(attribute.name, r))?,
                (None, Post::Default(make)) => make(),
                (None, Post::Required) => {
                    return Err(bad(format!(
                        "Failed to parse request. Required attribute '{}' not specified",
                        attribute.name
                    )));
                }
                (None, Post::Optional | Post::Refused) => continue,
            };
            let is_default = matches!(attribute.post, Post::Default(make) if make() == value);
            if attribute.enforced && given.contains_key(attribute.name) && !is_default {
                enforced.push(attribute.name);
            }
            values.insert(attribute.name.into(), value);
        }
        values.insert("project_id".into(), owner(ctx, given)?.into());
        Ok(Fields { values, enforced })
    }

    /// Checks the changes of an existing object.
    pub fn update(&self, given: &Map<String, Value>) -> Result<Fields> {
        self.unknown(given)?;
        let (mut values, mut enforced) = (Map::new(), Vec::new());
        if let Some(name) = ["tenant_id", "project_id"].into_iter().find(|n| given.contains_key(*n)) {
            return Err(bad(format!("Cannot update read-only attribute {name}")));
        }
        for attribute in self.attributes {
            let Some(value) = given.get(attribute.name) else { continue };
            if !attribute.put {
                return Err(bad(format!("Cannot update read-only attribute {}", attribute.name)));
            }
            let value = (attribute.check)(value).map_err(|r| invalid(attribute.name, r))?;
            if attribute.enforced {
                enforced.push(attribute.name);
            }
            values.insert(attribute.name.into(), value);
        }
        Ok(Fields { values, enforced })
    }
}

fn owner(ctx: &Ctx, given: &Map<String, Value>) -> Result<String> {
    let caller = ctx.caller()?;
    let read = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => check::text::<255>(value)
            .map(|v| v.as_str().map(str::to_owned))
            .map_err(|reason| invalid(name, reason)),
    };
    let (project, tenant) = (read("project_id")?, read("tenant_id")?);
    if let (Some(a), Some(b)) = (&project, &tenant)
        && a != b
    {
        return Err(bad("'project_id' and 'tenant_id' are different."));
    }
    let own = caller.project_id();
    let wanted = project.or(tenant).unwrap_or_else(|| own.to_owned());
    if wanted.is_empty() {
        return Err(bad("'project_id' is required: the token is not scoped to a project."));
    }
    if wanted != own && !caller.is_admin() && !caller.has_role("service") {
        return Err(bad(
            "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges",
        ));
    }
    Ok(wanted)
}
