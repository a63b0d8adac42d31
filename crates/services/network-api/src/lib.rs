//! The part of Neutron v2.0 that servers need: networks, subnets, ports, their quotas and tags.
//!
//! Addresses are allocated here and realised by the compute agents; nothing else is: no routers, floating IPs
//! or security groups, whose routes answer as absent.
//!
//! For compute: a port is ACTIVE while it has a `binding:host_id` (and its `admin_state_up`), else DOWN. A POST of
//! a service user with [`routes::KEY_HEADER`] makes one port, however often it is repeated: 201 with the port
//! the first time, 200 with the same port (as it is now) afterwards, until it is deleted.

pub mod address;
pub mod app;
pub mod attribute;
pub mod bootstrap;
pub mod error;
pub mod list;
pub mod policy;
pub mod prefix;
pub mod routes;
pub mod store;
pub mod view;

use app::App;
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_http::{Running, ServiceSpec, Style, TokenVerifier, actix_web::web};
use ferrostack_model::Result;
use ferrostack_policy::Enforcer;
use ferrostack_settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

static MIGRATIONS: ferrostack_db::sqlx::migrate::Migrator = ferrostack_db::sqlx::migrate!("./migrations");

/// Starts the service: tables, the network `private`, and the HTTP server. Does not need identity to be up.
pub async fn start(
    settings: &Settings,
    bus: Arc<dyn Bus>,
    verifier: Arc<dyn TokenVerifier>,
    stop: CancellationToken,
) -> Result<Running> {
    let db =
        Db::open(&settings.database.url, "network", settings.database.max_connections, &MIGRATIONS).await?;
    let policy = Arc::new(Enforcer::new(policy::RULES)?);
    if let Some(file) = &settings.network.policy_file {
        policy.load(file)?;
    }
    bootstrap::private_network(&db, &settings.network).await?;
    bootstrap::find_owner(db.clone(), settings, stop)?;
    let app = Arc::new(App::new(settings, db, bus));
    let data = web::Data::from(app.clone());
    let spec = ServiceSpec {
        name: "network",
        style: Style::Neutron,
        routes: routes::table(),
        verifier,
        policy,
        health: app,
        state: Arc::new(move |config| {
            config.app_data(data.clone());
        }),
        workers: settings.network.workers,
    };
    ferrostack_http::serve(spec, settings.network.listen)
}
