//! Nova v2.1: the API, the tables behind it and the jobs that make its promises true.

pub mod action;
mod agent;
pub mod app;
pub mod boot_image;
mod console;
pub mod consumer;
pub mod create;
pub mod extra_specs;
pub mod image;
mod image_snapshots;
pub mod input;
pub mod jobs;
pub mod keys;
pub mod network;
pub mod notify;
mod password;
pub mod placement;
pub mod policy;
mod projects;
pub mod proxy;
pub mod rebuild;
pub mod reconcile;
pub mod routes;
pub mod shelve;
pub mod snapshot;
pub mod store;
pub mod view;

pub use store::flavors::bootstrap as bootstrap_flavors;

use app::App;
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_http::{HealthCheck, Running, ServiceSpec, Style, TokenVerifier, actix_web::web};
use ferrostack_jobs::{Runner, RunnerOptions};
use ferrostack_model::Result;
use ferrostack_policy::Enforcer;
use ferrostack_settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The tables, in steps.
pub static MIGRATIONS: ferrostack_db::sqlx::migrate::Migrator = ferrostack_db::sqlx::migrate!("./migrations");

/// Opens our tables: for the service itself and for the operator's tool.
pub async fn open_database(settings: &Settings) -> Result<Db> {
    Db::open(&settings.database.url, "compute", settings.database.max_connections, &MIGRATIONS).await
}

/// Starts the service: tables, jobs, consumers, reconcilers and the HTTP server.
pub async fn start(
    settings: &Settings,
    bus: Arc<dyn Bus>,
    verifier: Arc<dyn TokenVerifier>,
    stop: CancellationToken,
) -> Result<Running> {
    let db = open_database(settings).await?;
    let policy = Arc::new(Enforcer::new(&policy::rules())?);
    if let Some(file) = &settings.compute.policy_file {
        policy.load(file)?;
    }
    if settings.compute.default_flavors {
        bootstrap_flavors(&db).await?;
    }
    let app = App::new(settings, db, bus, stop)?;
    start_work(&app).await?;
    let data = web::Data::from(app.clone());
    let spec = ServiceSpec {
        name: "compute",
        style: Style::Nova,
        routes: routes::table(),
        verifier,
        policy,
        health: app,
        state: Arc::new(move |config| {
            config.app_data(data.clone());
        }),
        workers: settings.compute.workers,
    };
    ferrostack_http::serve(spec, settings.compute.listen)
}

/// Starts everything but HTTP: jobs, consumers, reconcilers. They end with `app.stop`.
pub async fn start_work(app: &Arc<App>) -> Result<()> {
    let options = RunnerOptions { parallel: app.settings.compute.parallel_jobs, ..RunnerOptions::default() };
    let runner = Runner::new(app.clone(), app.db.clone(), app.bus.clone(), jobs::kinds(), options);
    app.set_runner(&runner);
    consumer::start(app).await?;
    tokio::spawn(runner.start(app.stop.clone()));
    tokio::spawn(reconcile::feed::run(app.clone()));
    tokio::spawn(reconcile::guests::run(app.clone()));
    tokio::spawn(reconcile::ports::run(app.clone()));
    tokio::spawn(reconcile::reclaim::run(app.clone()));
    tokio::spawn(reconcile::history::run(app.clone()));
    tokio::spawn(reconcile::shelved::run(app.clone()));
    tokio::spawn(reconcile::service_reports::run(app.clone()));
    tokio::spawn(reconcile::notifications::run(app.clone()));
    tokio::spawn(reconcile::resizes::run(app.clone()));
    Ok(())
}

#[async_trait]
impl HealthCheck for App {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        vec![("database", self.db.ping().await), ("bus", self.bus.ping().await)]
    }
}
