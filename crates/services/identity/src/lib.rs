//! Keystone v3: who may do what where. Issues signed tokens that the other services verify by themselves.

mod answers;
mod app;
mod auth;
mod bootstrap;
mod compliance;
mod endpoint_filter;
mod faults;
mod input;
mod json_home;
mod keys;
mod limits;
mod list;
mod listings;
mod passwords;
mod policy;
mod revocations;
pub mod routes;
mod secrets;
mod source;
mod step;
mod store;
mod throttle;
mod totp;
mod vault;
mod verifier;
mod view;

pub use keys::rotation as token_keys;
pub use policy::RULES;

use app::App;
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_db::{Db, sqlx};
use ferrostack_http::{HealthCheck, Running, ServiceSpec, Style, actix_web::web};
use ferrostack_model::{Error, Result, Timestamp};
use ferrostack_policy::Enforcer;
use ferrostack_settings::Settings;
use std::{net::TcpListener, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use verifier::OwnVerifier;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Polls between two removals of expired rules.
const POLLS_PER_CLEANING: u32 = 30;

/// Opens the database, bootstraps (if `identity.admin_password_file` exists) and serves.
/// `stop` ends what runs beside the server.
pub async fn start(settings: &Settings, bus: Arc<dyn Bus>, stop: CancellationToken) -> Result<Running> {
    let listen = settings.identity.listen;
    let listener = TcpListener::bind(listen)
        .map_err(|e| Error::internal(format!("identity: cannot listen on {listen}: {e}")))?;
    let address = listener.local_addr().map_err(|e| Error::internal(format!("local address: {e}")))?;
    let policy = Enforcer::new(RULES)?;
    policy.enforce_scope(settings.identity.enforce_scope);
    if let Some(file) = &settings.identity.policy_file {
        policy.load(file)?;
    }
    let base = settings.identity.public_base.trim_end_matches('/');
    let app = Arc::new(App {
        db: Db::open(&settings.database.url, "identity", settings.database.max_connections, &MIGRATIONS)
            .await?,
        keys: keys::Keys::open(&settings.identity.key_directory, settings.identity.key_maturity_seconds)?,
        vault: vault::Vault::open_keys(&settings.identity.key_directory)?,
        passwords: passwords::Passwords::new(
            settings.identity.bcrypt_cost,
            settings.identity.hash_parallelism,
            settings.identity.hash_queue,
        )?,
        compliance: compliance::Compliance::new(settings.identity.security.clone())?,
        throttle: throttle::Throttle::new(&settings.identity.security),
        known: auth::login::Known::default(),
        revocations: revocations::Revocations::default(),
        step: Arc::default(),
        answers: answers::Answers::default(),
        bus,
        token_ttl: settings.identity.token_ttl_seconds,
        ec2_ttl: settings.identity.ec2_auth_ttl_seconds,
        allow_expired_window: settings.identity.allow_expired_window_seconds.max(0),
        v2_api: settings.identity.v2_api.unwrap_or(false),
        totp_windows: settings.identity.totp_included_previous_windows.min(10),
        receipt_ttl: settings.identity.receipt_ttl_seconds,
        limit_model: settings.identity.limit_model,
        delegation: app::DelegationLimits {
            user_limit: settings.identity.application_credential_user_limit,
            max_redelegation_count: settings.identity.max_redelegation_count,
            allow_rescope_scoped_token: settings.identity.allow_rescope_scoped_token,
            max_token_age_seconds: settings.identity.delegation_max_token_age_seconds,
        },
        auth_uri: format!("{base}:{}/v3", address.port()),
        stamping: tokio::sync::RwLock::new(()),
    });
    limits::check_depth(&app.db, app.limit_model).await?;
    app.look().await?;
    bootstrap::run(&app, settings, address).await?;
    let state = web::Data::from(app.clone());
    let mut routes = routes::table();
    if app.v2_api {
        routes.extend(routes::v2_table());
    }
    let spec = ServiceSpec {
        name: "identity",
        style: Style::Keystone,
        routes,
        verifier: Arc::new(OwnVerifier::new(app.clone(), settings.tokens.cache_entries)),
        policy: Arc::new(policy),
        health: Arc::new(Health(app.clone())),
        state: Arc::new(move |config| {
            config.app_data(state.clone());
        }),
        workers: settings.identity.workers,
    };
    let running = ferrostack_http::serve_on(spec, listener)?;
    tokio::spawn(keep_in_step(app, settings.tokens.feed_poll_ms, stop));
    Ok(running)
}

/// Follows the rules and the token keys that other replicas make, and cleans up.
async fn keep_in_step(app: Arc<App>, poll_ms: u64, stop: CancellationToken) {
    let pause = Duration::from_millis(poll_ms.max(50)).min(step::MAX_AGE / 3);
    let mut polls = 0;
    let mut complaint = String::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = app.look().await {
            tracing::warn!(error = error.for_log(), "revocation rules not read");
        }
        let of = app.clone();
        let read = tokio::task::spawn_blocking(move || of.keys.reload()).await;
        match read.unwrap_or_else(|e| Err(Error::internal(format!("reading token keys: {e}")))) {
            Ok(()) => complaint.clear(),
            // A file that stays bad is told once.
            Err(error) if error.for_log() == complaint => {}
            Err(error) => {
                tracing::error!(error = error.for_log(), "token keys not read again");
                complaint = error.for_log().to_string();
            }
        }
        polls += 1;
        if polls % POLLS_PER_CLEANING == 0 {
            app.revocations.prune();
            if let Err(error) = store::revocation::delete_expired(app.db.writer(), Timestamp::now()).await {
                tracing::warn!(error = error.for_log(), "expired revocation rules not removed");
            }
            if let Err(error) = auth::login::disable_idle(&app, Timestamp::now()).await {
                tracing::warn!(error = error.for_log(), "idle users not disabled");
            }
            if let Err(error) = auth::login::clean(&app, Timestamp::now()).await {
                tracing::warn!(error = error.for_log(), "old failures of logins not removed");
            }
            if let Err(error) = app.vault.reload() {
                tracing::error!(error = error.for_log(), "credential keys not read again");
            }
        }
    }
}

struct Health(Arc<App>);

#[async_trait]
impl HealthCheck for Health {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        vec![("database", self.0.db.ping().await), ("bus", self.0.bus.ping().await)]
    }
}
