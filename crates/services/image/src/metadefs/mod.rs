//! Metadata definitions: namespaces that say which properties images, flavors, volumes and the like may have, what
//! they mean and which values they take. Nothing is enforced by them: clients build forms of them.

pub mod check;
pub mod standard;

use crate::text::short;
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::{Map, Value};

/// Who sees a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// The owner.
    Private,
}

impl Visibility {
    /// As in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
    /// Reads an API or database value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "public" => Some(Self::Public),
            "private" => Some(Self::Private),
            _ => None,
        }
    }
}

/// A namespace without what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Ours; the API knows the name alone.
    pub id: String,
    /// `OS::Compute::Quota`; unique.
    pub name: String,
    /// For people.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Who sees it.
    pub visibility: Visibility,
    /// Neither it nor anything in it can be deleted.
    pub protected: bool,
    /// Project; "" if none.
    pub owner: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Counts every change.
    pub generation: i64,
}

impl Namespace {
    /// What policy checks of it and of what is in it look at.
    pub fn target(&self) -> [(&'static str, &str); 2] {
        [("project_id", &self.owner), ("visibility", self.visibility.as_str())]
    }
}

/// A kind of things with properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// `OS::Nova::Flavor`
    pub name: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// That the properties of a namespace are for a resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The resource type.
    pub name: String,
    /// Comes before each property's name on that type: `hw_`.
    pub prefix: Option<String>,
    /// Which of several kinds of properties the type has: `image` of volumes.
    pub properties_target: Option<String>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A property: its name and the JSON object that describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Unique in the namespace.
    pub name: String,
    /// `type`, `title`, `enum` …, without the name.
    pub schema: Map<String, Value>,
}

/// A group of properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Unique in the namespace.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Names of properties that must be given.
    pub required: Vec<String>,
    /// Property schemas by name.
    pub properties: Map<String, Value>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A word to mark things with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Unique in the namespace.
    pub name: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Everything in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// What it is for.
    pub associations: Vec<Association>,
    /// Properties.
    pub properties: Vec<Property>,
    /// Groups of properties.
    pub objects: Vec<Object>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Contents {
    /// Puts the prefix that `resource_type` wants before every property's name.
    pub fn prefix(&mut self, resource_type: &str) {
        let prefix =
            self.associations.iter().find(|a| a.name == resource_type).and_then(|a| a.prefix.clone());
        let Some(prefix) = prefix.filter(|p| !p.is_empty()) else { return };
        for property in &mut self.properties {
            property.name.insert_str(0, &prefix);
        }
        for object in &mut self.objects {
            let plain = std::mem::take(&mut object.properties);
            object.properties = plain.into_iter().map(|(name, v)| (format!("{prefix}{name}"), v)).collect();
            for name in &mut object.required {
                name.insert_str(0, &prefix);
            }
        }
    }
}

/// 404 for a namespace that does not exist, or not for the caller.
pub fn no_namespace(name: &str) -> Error {
    Error::not_found(format!("Namespace {} not found", short(name)))
}

/// A JSON object from the database.
pub(crate) fn object_from(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text)
        .map_err(|e| Error::internal(format!("metadata definition in the database: {e}")))
}
