//! Locations as clients change them: what they may say, and what becomes of an image by it.
//!
//! Only http and https URLs can be added, where a store for them is configured: a URL of another kind names something
//! of ours, or of the host (CVE-2014-9493).

use crate::{
    app::App,
    image::{Image, Status},
    patch::{self, Verb},
    store::location::Location,
    stores::{Backend, Kind, Opened},
    verify::Hasher,
};
use ferrostack_model::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Most locations of an image (Glance's `image_location_quota`).
const MOST: usize = 10;
/// Characters of a URL.
const MAX_URL: usize = 255;

/// What data is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// md5, hex.
    pub checksum: Option<String>,
    /// Name of the hash.
    pub algorithm: String,
    /// Hex.
    pub value: String,
}

/// A location as a client gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    url: String,
    metadata: Map<String, Value>,
    validation: Option<Validation>,
}

/// One operation of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Before the place, or at the end.
    Add(Option<usize>, Given),
    /// All of them.
    Replace(Vec<Given>),
    /// The one at the place, or the last.
    Remove(Option<usize>),
}

impl Edit {
    /// The policy rule of the operation.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Add(..) | Self::Replace(_) => "set_image_location",
            Self::Remove(_) => "delete_image_location",
        }
    }
}

fn schema(why: &str) -> Error {
    Error::bad_request(format!("Provided object does not match schema 'image': {why}"))
}

fn text<'a>(map: &'a Map<String, Value>, name: &str, most: usize) -> Result<Option<&'a str>> {
    match map.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= most && !text.contains('\0') => Ok(Some(text)),
        Some(_) => Err(schema(&format!("{name} must be a text of {most} characters at most"))),
    }
}

impl Validation {
    /// Reads the object; 400 for what it cannot be.
    pub fn parse(value: &Value) -> Result<Self> {
        let map = value.as_object().ok_or_else(|| schema("validation_data must be an object"))?;
        if let Some(other) =
            map.keys().find(|k| !["checksum", "os_hash_algo", "os_hash_value"].contains(&k.as_str()))
        {
            let short = crate::text::short(other);
            return Err(schema(&format!("Additional properties are not allowed ('{short}' was unexpected)")));
        }
        let required = |name: &str| schema(&format!("'{name}' is a required property"));
        Ok(Self {
            checksum: text(map, "checksum", 32)?.map(str::to_owned),
            algorithm: text(map, "os_hash_algo", 64)?.ok_or_else(|| required("os_hash_algo"))?.to_owned(),
            value: text(map, "os_hash_value", 128)?.ok_or_else(|| required("os_hash_value"))?.to_owned(),
        })
    }

    /// Why a hash of this name cannot have this value.
    pub fn complaint(&self) -> Option<String> {
        let Some(hasher) = Hasher::new(&self.algorithm).filter(|_| self.algorithm != "md5") else {
            let short: String = self.algorithm.chars().take(64).collect();
            return Some(format!("os_hash_algo {short} is not supported"));
        };
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex(&self.value) {
            return Some("os_hash_value is not a valid hexadecimal value".into());
        }
        if self.value.len() != hasher.finish().len() {
            return Some(format!("os_hash_value is not the correct size for {}", self.algorithm));
        }
        match &self.checksum {
            Some(md5) if !hex(md5) => Some("checksum is not a valid hexadecimal value".into()),
            Some(md5) if md5.len() != 32 => {
                Some("checksum is not the correct size for md5 (should be 16 bytes)".into())
            }
            _ => None,
        }
    }
}

impl Given {
    /// A location with nothing but its URL.
    pub fn new(url: &str, validation: Option<Validation>) -> Self {
        Self { url: url.to_owned(), metadata: Map::new(), validation }
    }

    fn parse(value: &Value) -> Result<Self> {
        let map = value.as_object().ok_or_else(|| schema("a location must be an object"))?;
        let url = text(map, "url", MAX_URL)?.ok_or_else(|| schema("'url' is a required property"))?;
        let metadata = map.get("metadata").ok_or_else(|| schema("'metadata' is a required property"))?;
        let mut metadata =
            metadata.as_object().cloned().ok_or_else(|| schema("metadata must be an object"))?;
        if Value::Object(metadata.clone()).to_string().len() > 4096 {
            return Err(schema("metadata is too long"));
        }
        // The store is ours to say.
        metadata.remove("store");
        let validation = map.get("validation_data").map(Validation::parse).transpose()?;
        Ok(Self { url: url.to_owned(), metadata, validation })
    }
}

/// Takes the operations on locations out of a patch: the rest, and these.
pub fn split(body: Value, old: bool) -> Result<(Value, Vec<Edit>)> {
    let Value::Array(items) = body else { return Ok((body, Vec::new())) };
    let (mut rest, mut edits) = (Vec::new(), Vec::new());
    for item in items {
        let form = item.as_object().and_then(|map| patch::form(map, old).ok());
        match form {
            Some((verb, path)) if path == "/locations" || path.starts_with("/locations/") => {
                edits.push(edit(&item, verb, &path)?);
            }
            _ => rest.push(item),
        }
    }
    Ok((Value::Array(rest), edits))
}

fn edit(item: &Value, verb: Verb, path: &str) -> Result<Edit> {
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    let wanted = usize::from(verb != Verb::Replace);
    if parts.len() != wanted {
        let short = crate::text::short(path);
        return Err(Error::bad_request(format!("Invalid JSON pointer for this resource: '{short}'")));
    }
    let place = |word: &str| match parts.first() {
        Some(&"-") => Ok(None),
        Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(text.parse().unwrap_or(usize::MAX)))
        }
        _ => Err(Error::bad_request(format!("Invalid position for {word} a location."))),
    };
    let value = || {
        let word = if verb == Verb::Add { "add" } else { "replace" };
        item.get("value").ok_or_else(|| {
            Error::bad_request(format!("Operation \"{word}\" requires a member named \"value\"."))
        })
    };
    Ok(match verb {
        Verb::Add => {
            let given = Given::parse(value()?)?;
            Edit::Add(place("adding")?, given)
        }
        Verb::Replace => {
            let list = value()?.as_array().ok_or_else(|| schema("locations must be a list"))?;
            Edit::Replace(list.iter().map(Given::parse).collect::<Result<_>>()?)
        }
        Verb::Remove => Edit::Remove(place("removing")?),
    })
}

/// Does the operations to a copy of the image. URLs are asked for their size, so this takes time.
pub async fn apply(app: &App, image: &Image, edits: &[Edit]) -> Result<Image> {
    let mut draft = image.clone();
    for edit in edits {
        let word = match edit {
            Edit::Add(..) => "add",
            Edit::Replace(_) => "replace",
            Edit::Remove(_) => "remove",
        };
        if !app.settings.storage.show_multiple_locations {
            let word = if word == "replace" { "update" } else { word };
            return Err(Error::forbidden(format!(
                "It's not allowed to {word} locations if locations are invisible."
            )));
        }
        let fits = image.status == Status::Active || image.status == Status::Queued && word != "remove";
        if !fits {
            return Err(Error::conflict(format!(
                "It's not allowed to {word} locations if image status is {}.",
                image.status.as_str()
            )));
        }
        match edit {
            Edit::Add(place, given) => add(app, &mut draft, *place, given).await?,
            Edit::Replace(all) => replace(app, &mut draft, all).await?,
            Edit::Remove(place) => remove(&mut draft, *place)?,
        }
    }
    Ok(draft)
}

async fn add(app: &App, image: &mut Image, place: Option<usize>, given: &Given) -> Result<()> {
    let location = new(app, image, given).await?;
    let at = place.unwrap_or(usize::MAX).min(image.locations.len());
    image.locations.insert(at, location);
    image.status = Status::Active;
    Ok(())
}

/// The URLs stay what they are, unless there are none yet; metadata and order may change.
async fn replace(app: &App, image: &mut Image, all: &[Given]) -> Result<()> {
    if image.locations.is_empty() {
        for given in all {
            add(app, image, None, given).await?;
        }
        return Ok(());
    }
    if all.is_empty() {
        return Err(last());
    }
    let mut left = std::mem::take(&mut image.locations);
    let other = || Error::bad_request("Original locations is not empty");
    for given in all {
        let at =
            left.iter().position(|location| url_of(app, location).as_deref() == Some(given.url.as_str()));
        let mut location = left.remove(at.ok_or_else(other)?);
        check_validation(image, given)?;
        location.metadata = given.metadata.clone();
        image.locations.push(location);
    }
    if left.is_empty() { Ok(()) } else { Err(other()) }
}

fn remove(image: &mut Image, place: Option<usize>) -> Result<()> {
    if image.locations.len() <= 1 {
        return Err(last());
    }
    let at = place.unwrap_or(image.locations.len() - 1);
    if at >= image.locations.len() {
        return Err(Error::bad_request("Invalid position for removing a location."));
    }
    image.locations.remove(at);
    Ok(())
}

fn last() -> Error {
    Error::forbidden("Cannot remove last location in the image.")
}

fn url_of(app: &App, location: &Location) -> Option<String> {
    app.stores.get(&location.store).map(|store| store.url(&location.name))
}

/// The store of a URL that a client gives; 400 in Glance's words for one that is none of ours.
pub fn store_of<'a>(app: &'a App, url: &str) -> Result<&'a Arc<Backend>> {
    let invalid = |why: &str| Error::bad_request("Invalid location").with_internal(why);
    app.fetcher.read(url).map_err(invalid)?;
    app.stores.iter().find(|store| store.kind == Kind::Http).ok_or_else(|| invalid("no store for URLs"))
}

/// Asks for the data at a URL.
pub async fn open(store: &Backend, url: &str) -> Result<Opened> {
    let invalid = |why: String| Error::bad_request("Invalid location").with_internal(why);
    match store.open(url).await {
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => Err(invalid("nothing is there".into())),
        Err(error) => Err(invalid(error.for_log())),
    }
}

async fn new(app: &App, image: &mut Image, given: &Given) -> Result<Location> {
    if image.locations.len() >= MOST {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "The limit has been exceeded on the number of allowed image locations. Attempted: {}, Maximum: {MOST}",
                image.locations.len() + 1
            ),
        ));
    }
    let validation = check_validation(image, given)?.cloned();
    let store = store_of(app, &given.url)?;
    if image.locations.iter().any(|l| l.store == store.id && l.name == given.url) {
        return Err(Error::bad_request(format!("The location {} already exists", given.url)));
    }
    let size = i64::try_from(open(store, &given.url).await?.size()).unwrap_or(i64::MAX);
    // What an active image is does not change by where else it lies.
    if image.size.is_some_and(|known| known != size) {
        return Err(Error::bad_request("Invalid location").with_internal("its size is another"));
    }
    image.size = Some(size);
    if let Some(data) = validation {
        image.checksum = data.checksum.or(image.checksum.take());
        image.os_hash_algo = Some(data.algorithm);
        image.os_hash_value = Some(data.value);
    }
    let mut location = Location::new(&image.id, &store.id, &given.url);
    location.metadata = given.metadata.clone();
    Ok(location)
}

/// The validation data, if it says something new; 409 if it contradicts the image or is none.
fn check_validation<'a>(image: &Image, given: &'a Given) -> Result<Option<&'a Validation>> {
    let Some(data) = &given.validation else { return Ok(None) };
    let (mut new, conflict) = (Vec::new(), |why: String| Err(Error::conflict(why)));
    for (name, said, known) in [
        ("checksum", data.checksum.as_ref(), &image.checksum),
        ("os_hash_algo", Some(&data.algorithm), &image.os_hash_algo),
        ("os_hash_value", Some(&data.value), &image.os_hash_value),
    ] {
        match (said, known) {
            (Some(said), Some(known)) if said != known => {
                return conflict(format!("{name} is already set with a different value"));
            }
            (Some(_), None) => new.push(name),
            _ => {}
        }
    }
    if new.is_empty() {
        return Ok(None);
    }
    if image.status != Status::Queued {
        return conflict(format!(
            "New value(s) for {} may only be provided when image status is 'queued'",
            new.join(", ")
        ));
    }
    if data.algorithm != "sha512" {
        return conflict(format!("os_hash_algo must be sha512, not {}", data.algorithm));
    }
    match data.complaint() {
        Some(why) => conflict(why),
        None => Ok(Some(data)),
    }
}
