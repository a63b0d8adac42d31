//! Objects without a record, and objects that are to be removed.

use crate::{
    app::App,
    receive::storage_error,
    store::{location, quota},
    stores::{Backend, Kind, Stores, orphans},
};
use ferrostack_db::Db;
use ferrostack_model::{Result, Timestamp};
use std::collections::HashSet;

/// One round: what no record names is removed. A store is read before the records, so an object that an upload
/// begins meanwhile is not seen yet. Stores that are not directories are only looked through if `all`: that costs
/// calls over the network.
pub async fn reconcile(app: &App, all: bool) -> Result<()> {
    let started = Timestamp::now();
    let (mut seen_all, mut there) = (all, HashSet::new());
    for store in app.stores.iter().filter(|store| all || store.kind == Kind::File) {
        // A store that cannot be reached does not keep the others.
        if let Err(error) = sweep(app, store, &mut there).await {
            tracing::warn!(store = store.id, error = error.for_log(), "store not swept");
            seen_all = false;
        }
    }
    if seen_all {
        quota::prune(&app.db, started, &there).await?;
    }
    remove_condemned(app, None).await
}

/// What stays although nobody claims it comes into `there`.
async fn sweep(app: &App, store: &Backend, there: &mut HashSet<String>) -> Result<()> {
    let names = store.run(|store| store.list()).await.map_err(storage_error)?;
    let claims = location::claims(&app.db).await?;
    for name in orphans(names, &claims) {
        tracing::warn!(store = store.id, object = name, "removing an object that belongs to no image");
        match store.remove(&name).await {
            Ok(()) => quota::release(&app.db, &name).await?,
            Err(error) => {
                tracing::warn!(error = error.for_log(), "the object stays until the next round");
                there.insert(name);
            }
        }
    }
    Ok(())
}

/// Removes what is to be removed, of one image or of all. What fails is tried again by the next round.
pub async fn remove_condemned(app: &App, image_id: Option<&str>) -> Result<()> {
    for location in location::condemned(&app.db, image_id).await? {
        let Some(store) = app.stores.get(&location.store) else {
            tracing::warn!(
                store = location.store,
                object = location.name,
                "in a store that is not configured"
            );
            continue;
        };
        match store.remove(&location.name).await {
            Ok(()) => {
                location::forget(&app.db, &location.id).await?;
                quota::release(&app.db, &location.name).await?;
            }
            Err(error) => tracing::warn!(
                image = location.image_id,
                store = location.store,
                error = error.for_log(),
                "data left for later"
            ),
        }
    }
    Ok(())
}

/// The same for one image whose record has just been changed; the round does what this cannot.
pub async fn remove_now(app: &App, image_id: &str) {
    if let Err(error) = remove_condemned(app, Some(image_id)).await {
        tracing::warn!(image = image_id, error = error.for_log(), "data left for later");
    }
}

/// Says which stores hold data but are not configured (any more).
pub async fn warn_of_unknown_stores(db: &Db, stores: &Stores) -> Result<()> {
    for (store, locations) in location::stores_in_use(db).await? {
        if stores.get(&store).is_none() {
            tracing::error!(
                store,
                locations,
                "image data lies in a store that is not configured: it cannot be read"
            );
        }
    }
    Ok(())
}
