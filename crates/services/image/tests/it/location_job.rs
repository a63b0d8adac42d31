//! The job that hashes a location, its step failed, repeated and crashed.

use crate::{
    stores::two_stores,
    support::{in_memory, pattern, processing, queued},
    web::Web,
};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_image::{
    app::App,
    image::Status,
    jobs::location::{self, Data},
    store::{self, location::Location, place},
    task,
};
use ferrostack_jobs::{
    Enqueue, Job, JobKind,
    testing::{Scenario, every_step},
};
use ferrostack_model::Timestamp;
use ferrostack_settings::{ImageStore, ImageStoreKind, Settings};
use std::sync::Arc;

struct World {
    app: Arc<App>,
    image: String,
    url: String,
    sha512: String,
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
        location::kind()
    }
    async fn enqueue(&self) -> String {
        let image = store::image::get(&self.app.db, &self.image).await.unwrap().unwrap();
        let mut changed = image.clone();
        (changed.size, changed.status) = (Some(5000), Status::Importing);
        let task = processing(task::LOCATION, &self.image);
        let place = Location::new(&self.image, "web", &self.url);
        let data = Data {
            task_id: task.id.clone(),
            location_id: place.id.clone(),
            store: "web".into(),
            url: self.url.clone(),
            algorithm: "sha512".into(),
            expected: Some(self.sha512.clone()),
        };
        let job = Enqueue {
            kind: location::KIND,
            first_step: location::FIRST,
            target: &self.image,
            data: serde_json::to_value(&data).unwrap(),
            request_id: None,
        };
        place::begin(
            &self.app.db,
            &image,
            &changed,
            &place,
            &task,
            Some(job),
            Timestamp::now().plus_seconds(60),
            None,
        )
        .await
        .unwrap();
        ferrostack_jobs::find_active(&self.app.db, &self.image).await.unwrap().unwrap().id
    }
    async fn assert_done(&self, _: &Job) {
        let image = store::image::get(&self.app.db, &self.image).await.unwrap().unwrap();
        assert_eq!((image.status, image.locations.len(), image.size), (Status::Active, 1, Some(5000)));
        assert_eq!(image.os_hash_value.as_deref(), Some(self.sha512.as_str()));
        let tasks = store::task::of_image(&self.app.db, &self.image).await.unwrap();
        assert_eq!(tasks[0].status, task::SUCCESS);
    }
    async fn assert_undone(&self, _: &Job) {
        let image = store::image::get(&self.app.db, &self.image).await.unwrap().unwrap();
        assert_eq!((image.status, image.locations.len(), image.size), (Status::Queued, 0, None));
        assert_eq!(image.os_hash_value, None);
        let tasks = store::task::of_image(&self.app.db, &self.image).await.unwrap();
        assert_eq!(tasks[0].status, task::FAILURE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_hashing_a_location() {
    let web = Web::data(&pattern(5000)).await;
    let port = url::Url::parse(&web.url("/")).unwrap().port().unwrap();
    let change = |settings: &mut Settings| {
        two_stores(settings);
        let http = ImageStore { kind: ImageStoreKind::Http, ..Default::default() };
        settings.image.storage.stores.insert("web".into(), http);
        settings.image.fetch.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
        settings.image.fetch.allowed_ports = vec![port];
    };
    in_memory(change, async |cloud| {
        let app = cloud.app().await;
        // The service's own runner would take the jobs away.
        cloud.shut().await;
        let cloud = &*cloud;
        let sha512 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &pattern(5000)));
        every_step(|| {
            let (app, url, sha512) = (app.clone(), web.url("/image"), sha512.clone());
            async move {
                let image = queued(cloud).await;
                World { app, image, url, sha512 }
            }
        })
        .await;
    })
    .await;
}
