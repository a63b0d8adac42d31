//! The stores of this deployment.

use super::{FileStore, Kind, Opened, Store, Writer};
use crate::{receive::storage_error, store::location::Location};
use ferrostack_model::{Error, Result};
use std::{io, path::Path, sync::Arc};

/// The id of the store of `image.store_directory`.
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
}

impl Stores {
    /// The one store of a deployment that names none.
    pub fn single(directory: &Path) -> Result<Self> {
        let store = FileStore::open(directory)
            .map_err(|e| Error::internal(format!("image.store_directory {}: {e}", directory.display())))?;
        let default = Arc::new(Backend {
            id: FILE.into(),
            kind: Kind::File,
            description: String::new(),
            weight: 0,
            store: Arc::new(store),
        });
        Ok(Self { all: vec![default.clone()], default })
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
    /// order. Those of stores that are not configured are left out.
    pub fn order<'a>(&'a self, locations: &'a [Location]) -> Vec<(&'a Location, &'a Arc<Backend>)> {
        let mut found: Vec<_> =
            locations.iter().filter_map(|location| Some((location, self.get(&location.store)?))).collect();
        found.sort_by_key(|(_, store)| std::cmp::Reverse(store.weight));
        found
    }

    /// All stores, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.all.iter()
    }

    /// Whether the API speaks of stores at all.
    pub fn several(&self) -> bool {
        self.all.len() > 1
    }
}
