//! Glance v2: image records, their data in stores, and a check of everything that is uploaded.

pub mod app;
pub mod attributes;
pub mod convert;
pub mod download;
pub mod fetch;
pub mod image;
pub mod inspect;
pub mod jobs;
pub mod lane;
pub mod locations;
pub mod metadefs;
pub mod patch;
pub mod policy;
pub mod protections;
pub mod query;
pub mod quota;
pub mod range;
pub mod receive;
pub mod reconcile;
pub mod routes;
pub mod store;
pub mod stores;
pub mod task;
pub mod text;
pub mod upload;
pub mod v1;
pub mod verify;
pub mod view;

use app::App;
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_http::{Running, ServiceSpec, Style, TokenVerifier, actix_web::web};
use ferrostack_jobs::{Runner, RunnerOptions};
use ferrostack_model::Result;
use ferrostack_settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

static MIGRATIONS: ferrostack_db::sqlx::migrate::Migrator = ferrostack_db::sqlx::migrate!("./migrations");

/// The service without its HTTP server, its jobs and its reconcilers: tables and stores.
pub async fn open(settings: &Settings, bus: Arc<dyn Bus>) -> Result<Arc<App>> {
    let database = &settings.database;
    let db = Db::open(&database.url, "image", database.max_connections, &MIGRATIONS).await?;
    if settings.image.metadefs.load_standard {
        metadefs::standard::bootstrap(&db).await?;
    }
    let app = App::new(settings, db, bus)?;
    reconcile::objects::warn_of_unknown_stores(&app.db, &app.stores).await?;
    Ok(app)
}

/// The longest that the jobs of a dead process wait for another, seconds.
const MAX_LEASE: i64 = 30;

/// The runner of the service's jobs; nothing runs before it is started.
fn runner(app: &Arc<App>) -> Arc<Runner<App>> {
    let options = RunnerOptions {
        parallel: app.settings.import.parallel,
        lease_ms: app.settings.upload_lease_seconds.clamp(1, MAX_LEASE) * 1000,
        ..RunnerOptions::default()
    };
    let runner = Runner::new(app.clone(), app.db.clone(), app.bus.clone(), jobs::kinds(), options);
    app.set_runner(&runner);
    runner
}

/// Starts the service: tables, stores, reconcilers (until `stop`) and the HTTP server.
pub async fn start(
    settings: &Settings,
    bus: Arc<dyn Bus>,
    verifier: Arc<dyn TokenVerifier>,
    stop: CancellationToken,
) -> Result<Running> {
    let app = open(settings, bus).await?;
    let policy = Arc::new(policy::enforcer(settings.image.policy_file.as_deref(), app.protections.rules())?);
    let data = web::Data::from(app.clone());
    let spec = ServiceSpec {
        name: "image",
        style: Style::Glance,
        routes: routes::served(settings.image.v1_api.unwrap_or(false)),
        verifier,
        policy,
        health: app.clone(),
        state: Arc::new(move |config| {
            config.app_data(data.clone());
        }),
        workers: settings.image.workers,
    };
    let running = ferrostack_http::serve(spec, settings.image.listen)?;
    let runner = runner(&app);
    tokio::spawn(runner.start(stop.clone()));
    tokio::spawn(reconcile::run(app, stop));
    Ok(running)
}
