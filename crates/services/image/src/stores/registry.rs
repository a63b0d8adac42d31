//! The stores of this deployment.

use super::{FileStore, HttpStore, Kind, Opened, S3Store, Store, Writer};
use crate::{fetch::Fetcher, receive::storage_error, store::location::Location};
use ferrostack_model::{Error, Result};
use ferrostack_settings::{Image, ImageStore, ImageStoreKind};
use serde_json::Value;
use std::{io, sync::Arc};

/// The id of the store of `image.store_directory`, and of what was stored before stores had ids.
pub const FILE: &str = "file";

/// A store with its place in the settings.
#[derive(Clone)]
pub struct Backend {
    /// Names it in the API and in `image_location`.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// For people.
    pub description: String,
    /// Of an image's locations the one of the store with the highest weight is read first.
    pub weight: i64,
    store: Arc<dyn Store>,
}

impl Backend {
    /// A store that stands in no settings.
    pub fn new(id: &str, kind: Kind, store: Arc<dyn Store>) -> Self {
        Self { id: id.to_owned(), kind, description: String::new(), weight: 0, store }
    }

    /// Runs what blocks on the store away from the async threads.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&*store)).await.map_err(io::Error::other)?
    }

    /// Begins an object. Blocks.
    pub fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        self.store.create(name)
    }

    /// What the API calls the place of an object.
    pub fn url(&self, name: &str) -> String {
        self.store.url(name)
    }

    /// What administrators are told about the store.
    pub fn properties(&self) -> Value {
        self.store.properties()
    }

    /// Opens an object; `None` if there is none.
    pub async fn open(&self, name: &str) -> Result<Option<Opened>> {
        let name = name.to_owned();
        match self.run(move |store| store.open(&name)).await {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(storage_error(error)),
        }
    }

    /// Removes an object, finished or begun.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.run(move |store| store.remove(&name)).await.map_err(storage_error)
    }
}

/// All stores; one of them is the default.
pub struct Stores {
    all: Vec<Arc<Backend>>,
    default: Arc<Backend>,
    named: bool,
}

impl Stores {
    /// The stores of the settings. Errors name the setting.
    pub fn open(settings: &Image) -> Result<Self> {
        let storage = &settings.storage;
        if storage.stores.is_empty() {
            let only = ImageStore { directory: Some(settings.store_directory.clone()), ..Default::default() };
            let default = Arc::new(backend(settings, FILE, &only)?);
            return Ok(Self { all: vec![default.clone()], default, named: false });
        }
        let mut all = Vec::new();
        for (id, store) in &storage.stores {
            all.push(Arc::new(backend(settings, id, store)?));
        }
        for (i, one) in all.iter().enumerate() {
            if let Some(other) = all[..i].iter().find(|o| o.kind == one.kind && o.url("") == one.url("")) {
                return Err(wrong(&one.id, format!("is the same place as {}", other.id)));
            }
        }
        let default = all.iter().find(|backend| backend.id == storage.default_store).cloned();
        let default = default.ok_or_else(|| {
            Error::internal(format!(
                "image.storage.default_store: there is no store {}",
                storage.default_store
            ))
        })?;
        if default.kind.read_only() {
            return Err(wrong(&default.id, "is the default store and cannot be written to".into()));
        }
        Ok(Self { all, default, named: true })
    }

    /// Where data goes if nobody says otherwise, and all staged data.
    pub fn default(&self) -> &Arc<Backend> {
        &self.default
    }

    /// A store by its id.
    pub fn get(&self, id: &str) -> Option<&Arc<Backend>> {
        self.all.iter().find(|backend| backend.id == id)
    }

    /// The locations of an image in the order in which they are read: by their stores' weights, then by their own
    /// order, damaged ones last. Those of stores that are not configured are left out.
    pub fn order<'a>(&'a self, locations: &'a [Location]) -> Vec<(&'a Location, &'a Arc<Backend>)> {
        let mut found: Vec<_> =
            locations.iter().filter_map(|location| Some((location, self.get(&location.store)?))).collect();
        found.sort_by_key(|(location, store)| (location.damaged, std::cmp::Reverse(store.weight)));
        found
    }

    /// All stores, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.all.iter()
    }

    /// Whether the settings name stores, and so the API does.
    pub fn named(&self) -> bool {
        self.named
    }

    /// The ids of all stores, separated by commas.
    pub fn ids(&self) -> String {
        self.all.iter().map(|backend| backend.id.as_str()).collect::<Vec<_>>().join(",")
    }
}

fn wrong(id: &str, why: String) -> Error {
    Error::internal(format!("image.storage.stores.{id}: {why}"))
}

fn backend(image: &Image, id: &str, settings: &ImageStore) -> Result<Backend> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > 64 || !id.bytes().all(fits) || id.starts_with("os_glance_") {
        return Err(wrong(
            id,
            "an id has up to 64 letters, digits and -_., and does not begin with os_glance_".into(),
        ));
    }
    let (kind, store): (Kind, Arc<dyn Store>) = match settings.kind {
        ImageStoreKind::File => {
            let directory = settings.directory.as_ref();
            let directory = directory.ok_or_else(|| wrong(id, "needs a directory".into()))?;
            let store =
                FileStore::open(directory).map_err(|e| wrong(id, format!("{}: {e}", directory.display())))?;
            (Kind::File, Arc::new(store))
        }
        ImageStoreKind::S3 => (Kind::S3, Arc::new(S3Store::open(settings).map_err(|why| wrong(id, why))?)),
        ImageStoreKind::Http => {
            let fetcher = Fetcher::new(&image.fetch)?;
            let store = HttpStore::open(fetcher, image.max_image_bytes).map_err(|why| wrong(id, why))?;
            (Kind::Http, Arc::new(store))
        }
    };
    Ok(Backend {
        id: id.to_owned(),
        kind,
        description: settings.description.clone(),
        weight: settings.weight,
        store,
    })
}
