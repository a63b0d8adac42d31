//! The import job, each step failed, repeated and crashed.

use crate::{
    imports::open,
    stores::{directory, two_stores},
    support::{in_memory, pattern, processing, queued},
    web::Web,
};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_image::{
    app::App,
    image::Status,
    jobs::import::{self, Data, Method},
    reconcile, store, task,
};
use ferrostack_jobs::{
    Enqueue, Job, JobKind,
    testing::{Scenario, every_step},
};
use std::{path::PathBuf, sync::Arc};

struct World {
    app: Arc<App>,
    directories: [PathBuf; 2],
    image: String,
    uri: String,
}

impl World {
    /// How many objects of the image each store has.
    fn stored(&self) -> [usize; 2] {
        self.directories.each_ref().map(|directory| {
            let names =
                std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with(&self.image)).count()
        })
    }
}

#[async_trait]
impl Scenario<App> for World {
    fn context(&self) -> Arc<App> {
        self.app.clone()
    }
    fn db(&self) -> Db {
        self.app.db.clone()
    }
    fn bus(&self) -> Arc<dyn Bus> {
        self.app.bus.clone()
    }
    fn kind(&self) -> Box<dyn JobKind<App>> {
        import::kind()
    }
    async fn enqueue(&self) -> String {
        let stores = vec!["cheap".to_owned(), "fast".to_owned()];
        let task = processing(task::API_IMPORT, &self.image);
        let data = Data::new(&task.id, Method::WebDownload { uri: self.uri.clone() }, stores.clone(), true);
        let job = Enqueue {
            kind: import::KIND,
            first_step: import::FIRST,
            target: &self.image,
            data: serde_json::to_value(&data).unwrap(),
            request_id: None,
        };
        store::import::begin(&self.app.db, &task, Status::Queued, Status::Importing, &stores, job, None)
            .await
            .unwrap();
        ferrostack_jobs::find_active(&self.app.db, &self.image).await.unwrap().unwrap().id
    }
    async fn assert_done(&self, _: &Job) {
        reconcile::objects::reconcile(&self.app, true).await.unwrap();
        let image = store::image::get(&self.app.db, &self.image).await.unwrap().unwrap();
        assert_eq!((image.status, image.locations.len()), (Status::Active, 2));
        assert_eq!((image.size, &image.file), (Some(5000), &None));
        let tasks = store::task::of_image(&self.app.db, &self.image).await.unwrap();
        assert_eq!(tasks[0].status, task::SUCCESS);
        assert_eq!(self.stored(), [1, 1]);
    }
    async fn assert_undone(&self, _: &Job) {
        reconcile::objects::reconcile(&self.app, true).await.unwrap();
        let image = store::image::get(&self.app.db, &self.image).await.unwrap().unwrap();
        assert_eq!((image.status, image.locations.len()), (Status::Queued, 0));
        assert_eq!((image.size, &image.file, &image.os_hash_value), (None, &None, &None));
        let tasks = store::task::of_image(&self.app.db, &self.image).await.unwrap();
        assert_eq!(tasks[0].status, task::FAILURE);
        assert_eq!(self.stored(), [0, 0]);
    }
}

/// S-2015-013: an import killed at each stage leaves the image active and whole, or queued and nothing.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2015_013_every_step() {
    let change = |settings: &mut ferrostack_settings::Settings| {
        open(settings);
        two_stores(settings);
    };
    in_memory(change, async |cloud| {
        let web = Web::data(&pattern(5000)).await;
        let app = cloud.app().await;
        // The service's own runner would take the jobs away.
        cloud.shut().await;
        let cloud = &*cloud;
        let directories = ["cheap", "fast"].map(|store| directory(cloud, store));
        every_step(|| {
            let (app, directories, uri) = (app.clone(), directories.clone(), web.url("/"));
            async move {
                let image = queued(cloud).await;
                World { app, directories, image, uri }
            }
        })
        .await;
    })
    .await;
}
