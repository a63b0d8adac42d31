//! What a cloud needs before anybody can log in: domain Default, admin, roles, service users, catalog.
//!
//! Runs at every start and changes only what is missing or configured differently.

use crate::{
    app::App,
    faults,
    keys::{random_hex, write_secret},
    store::{
        self, assignment::Assignment, endpoint::Endpoint, project::Project, role::Role, service::Service,
        user::User,
    },
};
use ferrostack_db::Change;
use ferrostack_model::{Error, ErrorKind, Result, Timestamp, id};
use ferrostack_settings::Settings;
use std::{net::SocketAddr, path::Path};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The id of the domain Default.
pub const DEFAULT_DOMAIN: &str = "default";
/// Roles from the strongest down; each implies the next.
const LADDER: [&str; 4] = ["admin", "manager", "member", "reader"];
const SERVICE_ROLE: &str = "service";
/// Times bootstrap runs when replicas do the same.
const ATTEMPTS: u32 = 10;
/// Users that services log in as, with the roles service and admin in the project service, and of those
/// that ask for limits (ferrostack, glance) reader on the system.
const SERVICE_USERS: [&str; 4] = ["ferrostack", "nova", "glance", "neutron"];

/// Makes what is missing. `bound` is where this service listens.
pub async fn run(app: &App, settings: &Settings, bound: SocketAddr) -> Result<()> {
    let Some(admin_file) = settings.identity.admin_password_file.as_deref() else { return Ok(()) };
    if !admin_file.exists() {
        return Ok(());
    }
    let admin_password = read_secret(admin_file)?;
    let service_file = &settings.credentials.password_file;
    if !service_file.exists() {
        if let Some(parent) = service_file.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|e| Error::internal(format!("{}: {e}", parent.display())))?;
        }
        match write_secret(service_file, random_hex(24)?.as_bytes()) {
            Err(_) if service_file.exists() => {} // somebody else was faster
            done => done?,
        }
    }
    let service_password = read_secret(service_file)?;

    let mut attempt = 1;
    loop {
        let done = async {
            structure(app).await?;
            passwords(app, "admin", &["admin"], &admin_password).await?;
            passwords(app, "service", &SERVICE_USERS, &service_password).await?;
            catalog(app, settings, bound).await
        }
        .await;
        match done {
            // A replica bootstraps beside us; what it has made the next attempt finds.
            Err(error) if error.kind == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::internal(format!("password file {}: {e}", path.display())))?;
    let password = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if password.is_empty() {
        return Err(Error::internal(format!("password file {} is empty", path.display())));
    }
    Ok(password)
}

/// Ids of bootstrapped rows never change, so that replicas starting at once make the same rows.
fn fixed_id(what: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("ferrostack:bootstrap:{what}").as_bytes()).simple().to_string()
}

fn project_row(id: &str, name: &str, description: &str, at: i64) -> Project {
    let is_domain = id == DEFAULT_DOMAIN;
    let above = if is_domain { "" } else { DEFAULT_DOMAIN };
    Project {
        id: id.into(),
        name: name.into(),
        domain_id: above.into(),
        parent_id: above.into(),
        is_domain: is_domain.into(),
        description: description.into(),
        enabled: 1,
        options: "{}".into(),
        extra: "{}".into(),
        created_at: at,
        generation: 1,
    }
}

/// Domain, projects, roles and users without passwords, grants.
async fn structure(app: &App) -> Result<()> {
    let mut work = app.begin().await?;
    let tx = &mut *work.tx;
    let now = Timestamp::now().0;
    if store::domain::get(&mut *tx, DEFAULT_DOMAIN).await?.is_none() {
        store::project::insert(&mut *tx, &project_row(DEFAULT_DOMAIN, "Default", "The default domain", now))
            .await?;
    }
    let mut projects = Vec::new();
    for (n, (name, text)) in [
        ("admin", "Bootstrap project for initializing the cloud."),
        ("service", "Service users of the cloud."),
    ]
    .into_iter()
    .enumerate()
    {
        let found = store::project::get_by_name(&mut *tx, DEFAULT_DOMAIN, name).await?;
        projects.push(match found {
            Some(project) => project.id,
            None => {
                let row = project_row(&id::hex(), name, text, now + n as i64);
                store::project::insert(&mut *tx, &row).await?;
                row.id
            }
        });
    }
    let mut roles = Vec::new();
    for (n, name) in LADDER.into_iter().chain([SERVICE_ROLE]).enumerate() {
        let found = store::role::get_by_name(&mut *tx, name).await?;
        roles.push(match found {
            Some(role) => role.id,
            None => {
                let row = Role {
                    id: id::hex(),
                    name: name.into(),
                    domain_id: String::new(),
                    description: None,
                    options: r#"{"immutable":true}"#.into(),
                    extra: "{}".into(),
                    created_at: now + n as i64,
                    generation: 1,
                };
                store::role::insert(&mut *tx, &row).await?;
                row.id
            }
        });
    }
    for (prior, implied) in roles.iter().take(LADDER.len()).zip(roles.iter().take(LADDER.len()).skip(1)) {
        store::role::imply(&mut *tx, prior, implied).await?;
    }
    let (admin_role, reader_role, service_role) = (&roles[0], &roles[LADDER.len() - 1], &roles[LADDER.len()]);
    for (n, name) in ["admin"].into_iter().chain(SERVICE_USERS).enumerate() {
        let found = store::user::get_by_name(&mut *tx, DEFAULT_DOMAIN, name).await?;
        let user_id = match found {
            Some(user) => user.id,
            None => {
                let row = User {
                    id: id::hex(),
                    name: name.into(),
                    domain_id: DEFAULT_DOMAIN.into(),
                    default_project_id: String::new(),
                    enabled: 1,
                    password_hash: String::new(),
                    options: "{}".into(),
                    extra: "{}".into(),
                    created_at: now + n as i64,
                    generation: 1,
                    ..User::default()
                };
                store::user::insert(&mut *tx, &row).await?;
                row.id
            }
        };
        let grants: &[(&str, &str, &String)] = if name == "admin" {
            &[("project", &projects[0], admin_role), ("system", "system", admin_role)]
        } else {
            &[
                ("project", &projects[1], admin_role),
                ("project", &projects[1], service_role),
                // For what only a token of the system sees: the limits of every project.
                ("system", "system", reader_role),
            ]
        };
        let limited = !matches!(name, "admin" | "ferrostack" | "glance");
        for (kind, target, role) in grants.iter().filter(|grant| !(limited && grant.0 == "system")) {
            let row = Assignment {
                actor_kind: "user".into(),
                actor_id: user_id.clone(),
                target_kind: (*kind).into(),
                target_id: (*target).into(),
                role_id: (*role).clone(),
                inherited: 0,
            };
            store::assignment::insert(&mut *tx, &row).await?;
        }
    }
    app.commit(work).await
}

/// Gives `users` the password of a file, when the file's content is another than the last time. Hashing is slow,
/// so a keyed fingerprint tells; without it a stored hash that verifies is left alone.
async fn passwords(app: &App, what: &str, users: &[&str], password: &str) -> Result<()> {
    let fingerprint = app.keys.fingerprint(&format!("{what}\n{password}"))?;
    let mut without = Vec::new();
    let same = store::bootstrap::get(app.db.reader(), what).await?.as_deref() == Some(fingerprint.as_str());
    for name in users {
        let user = store::user::get_by_name(app.db.reader(), DEFAULT_DOMAIN, name)
            .await?
            .ok_or_else(|| Error::internal(format!("bootstrap: user {name} vanished")))?;
        if user.password_hash.is_empty()
            || (!same && !app.passwords.verify(password, Some(&user.password_hash)).await?)
        {
            without.push(user);
        }
    }
    if same && without.is_empty() {
        return Ok(());
    }
    // The users of one file share the password, so they may share the hash.
    let hash = if without.is_empty() { String::new() } else { app.passwords.hash(password).await? };
    let mut work = app.begin().await?;
    for mut user in without {
        let had_one = !user.password_hash.is_empty();
        user.password_hash = hash.clone();
        if store::user::update(&mut *work.tx, &user).await? != Change::Updated {
            return Err(faults::raced("user"));
        }
        if had_one {
            work.revoke_user(&user.id);
        }
    }
    store::bootstrap::set(&mut *work.tx, what, &fingerprint).await?;
    app.commit(work).await
}

async fn catalog(app: &App, settings: &Settings, bound: SocketAddr) -> Result<()> {
    let base = settings.identity.public_base.trim_end_matches('/');
    let url = |port: u16, path: &str| format!("{base}:{port}{path}");
    let entries = [
        ("identity", "keystone", url(bound.port(), "/v3")),
        ("image", "glance", url(settings.image.listen.port(), "")),
        ("compute", "nova", url(settings.compute.listen.port(), "/v2.1")),
        ("network", "neutron", url(settings.network.listen.port(), "")),
    ];
    for (order, (kind, name, url)) in entries.into_iter().enumerate() {
        advertise(app, &settings.identity.region, kind, name, &url, order as i64).await?;
    }
    Ok(())
}

/// Puts a service with three endpoints into the catalog, or corrects their URL. Rows of another making stay.
async fn advertise(app: &App, region: &str, kind: &str, name: &str, url: &str, order: i64) -> Result<()> {
    let service_id = fixed_id(&format!("service:{kind}"));
    let interfaces = ["public", "internal", "admin"];
    let ids = interfaces.map(|i| fixed_id(&format!("endpoint:{region}:{kind}:{i}")));
    let have = store::endpoint::list(app.db.reader(), &service_id, "", region).await?;
    if ids.iter().all(|id| have.iter().any(|e| e.id == *id && e.url == url)) {
        return Ok(());
    }
    let now = Timestamp::now().0 + order;
    let mut work = app.begin().await?;
    let tx = &mut *work.tx;
    store::region::ensure(&mut *tx, region, now).await?;
    let row = Service {
        id: service_id.clone(),
        r#type: kind.into(),
        enabled: 1,
        extra: serde_json::json!({"name": name}).to_string(),
        created_at: now,
        generation: 1,
    };
    store::service::insert(&mut *tx, &row).await?;
    for (n, (interface, id)) in interfaces.into_iter().zip(ids).enumerate() {
        match store::endpoint::get(&mut *tx, &id).await? {
            Some(mut endpoint) if endpoint.url != url => {
                endpoint.url = url.into();
                store::endpoint::update(&mut *tx, &endpoint).await?;
            }
            Some(_) => {}
            None => {
                let row = Endpoint {
                    id,
                    service_id: service_id.clone(),
                    interface: interface.into(),
                    region_id: region.into(),
                    url: url.into(),
                    enabled: 1,
                    extra: "{}".into(),
                    created_at: now + n as i64,
                    generation: 1,
                };
                store::endpoint::insert(&mut *tx, &row).await?;
            }
        }
    }
    app.commit(work).await
}
