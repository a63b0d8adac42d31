//! Asking for a rebuild: what the body says, checked as for a new server, and the one transaction that begins it.

use crate::{
    action::{self, Begin},
    app::App,
    boot_image::{self, Images},
    create::{limits, names},
    input::is_true,
    jobs::rebuild::{Data, EVENT, FIRST, KIND},
    store::{
        flavors::Flavor,
        instance_actions::Asker,
        keypairs::{self, Keypair},
        origin, quota,
        servers::{
            self, Server,
            rebuild::{self as rows, Boot},
        },
    },
};
use ferrostack_db::db_error;
use ferrostack_http::Ctx;
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    action::Action,
    auth::Secret,
    microversion::feature,
    server::{TaskState, VmState},
};
use serde_json::Value;

/// A rebuild that has begun.
pub struct Begun {
    /// The server as it is to be.
    pub server: Server,
    /// The guest's new admin password.
    pub admin_pass: Secret,
    /// Base64, as it is to be.
    pub user_data: Option<String>,
}

/// Begins what a checked `rebuild` asks for.
///
/// # Errors
/// `Conflict` if the server is locked or its state forbids it; `BadRequest` for an image that cannot be had, is not
/// active or does not fit, and for an unknown key; `Forbidden` above the limits of metadata and injected files.
pub async fn begin(app: &App, ctx: &Ctx, server: Server, asked: &Value) -> Result<Begun> {
    let caller = ctx.caller()?;
    let asker = Asker::of(caller, &ctx.request_id);
    action::check(&server, Action::Rebuild, asker.admin)?;
    let wish = Wish::read(app, ctx, &server, asked).await?;
    let image = asked["imageRef"].as_str().unwrap_or_default();
    let flavor = flavor(&server);
    let images = boot_image::check_as(app, ctx, image, &flavor, "Cannot find image for rebuild").await?;
    commit(app, server, asker, wish, images).await
}

/// The flavor as the server has it.
fn flavor(server: &Server) -> Flavor {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let f = &server.flavor;
    Flavor {
        id: server.flavor_id.clone(),
        number: 0,
        name: f.name.clone(),
        vcpus: i64::from(f.vcpus),
        memory_mb: number(f.ram_mb),
        root_gb: number(f.root_gb),
        ephemeral_gb: number(f.ephemeral_gb),
        swap_mb: number(f.swap_mb),
        rxtx_factor: 1.0,
        is_public: true,
        disabled: false,
        description: None,
        extra_specs: f.extra_specs.clone(),
        created_at: Timestamp(0),
        updated_at: None,
    }
}

/// What the body says beside the image. `None` leaves things as they are.
struct Wish {
    name: Option<String>,
    hostname: Option<String>,
    description: Option<Option<String>>,
    metadata: Option<std::collections::BTreeMap<String, String>>,
    key: Option<Option<Keypair>>,
    trusted_certs: Option<Option<Vec<String>>>,
    user_data: Option<Option<String>>,
    personality: Vec<ferrostack_model::guest::Personality>,
    access_ip_v4: Option<String>,
    access_ip_v6: Option<String>,
    disk_config: Option<String>,
    preserve_ephemeral: bool,
    admin_pass: Secret,
}

impl Wish {
    async fn read(app: &App, ctx: &Ctx, server: &Server, asked: &Value) -> Result<Self> {
        let text = |name: &str| asked[name].as_str().map(str::to_owned);
        let nullable = |name: &str| asked.get(name).map(|value| value.as_str().map(str::to_owned));
        let key = match asked.get("key_name").filter(|_| ctx.version.has(feature::REBUILD_KEY)) {
            None => None,
            Some(Value::String(name)) => {
                // Keys belong to users: the one who rebuilds has it, whoever made the server.
                let found = keypairs::get(&app.db, ctx.caller()?.user_id(), name).await;
                Some(Some(found.map_err(|e| match e.kind {
                    ErrorKind::NotFound => Error::bad_request("Invalid key_name provided."),
                    _ => e,
                })?))
            }
            Some(_) => Some(None),
        };
        let wish = Self {
            name: text("name").map(|n| if ctx.legacy { n.trim().to_owned() } else { n }),
            hostname: text("hostname").map(|h| names::given_hostname(&h, ctx.version)).transpose()?,
            description: nullable("description"),
            metadata: asked.get("metadata").map(limits::texts),
            key,
            trusted_certs: asked.get("trusted_image_certificates").map(limits::list),
            user_data: nullable("user_data").map(|data| data.filter(|data| !data.is_empty())),
            personality: limits::personality(&asked["personality"]),
            access_ip_v4: text("accessIPv4"),
            access_ip_v6: text("accessIPv6"),
            disk_config: text("OS-DCF:diskConfig"),
            preserve_ephemeral: is_true(&asked["preserve_ephemeral"]),
            admin_pass: Secret(text("adminPass").unwrap_or_else(names::password)),
        };
        let limits = quota::limits(&app.db, &server.project_id, &app.settings.compute.quota).await?;
        limits::metadata(wish.metadata.as_ref().map_or(0, |m| m.len()), &limits)?;
        limits::files(&wish.personality, &limits)?;
        Ok(wish)
    }

    fn apply(&self, server: &mut Server) {
        fn set<T: Clone>(slot: &mut T, wish: &Option<T>) {
            if let Some(value) = wish {
                slot.clone_from(value);
            }
        }
        set(&mut server.display_name, &self.name);
        set(&mut server.hostname, &self.hostname);
        set(&mut server.description, &self.description);
        set(&mut server.metadata, &self.metadata);
        set(&mut server.trusted_certs, &self.trusted_certs);
        set(&mut server.access_ip_v4, &self.access_ip_v4);
        set(&mut server.access_ip_v6, &self.access_ip_v6);
        set(&mut server.disk_config, &self.disk_config);
        if let Some(key) = &self.key {
            server.key_name = key.as_ref().map(|key| key.name.clone());
            server.public_key = key.as_ref().map(|key| key.public_key.clone());
        }
    }
}

async fn commit(
    app: &App,
    mut server: Server,
    asker: Asker<'_>,
    wish: Wish,
    images: Images,
) -> Result<Begun> {
    let boot = Boot { image: images.root, kernel: images.kernel, ramdisk: images.ramdisk };
    let mut inputs = servers::inputs(&app.db, &server.id).await?;
    if let Some(user_data) = &wish.user_data {
        inputs.user_data.clone_from(user_data);
    }
    inputs.personality.clone_from(&wish.personality);
    inputs.admin_pass = Some(wish.admin_pass.clone());
    let mut origin = origin::get(&app.db, &server.id).await?;
    (origin.min_disk, origin.min_ram) = images.minimum;
    loop {
        let before = Boot::of(&server);
        let changes = before.image.id != boot.image.id;
        let data = Data {
            preserve_ephemeral: wish.preserve_ephemeral,
            stopped: server.vm_state == VmState::Stopped,
            before: changes.then_some(before),
            ..Data::default()
        };
        let begin = Begin {
            action: Action::Rebuild,
            task: TaskState::Rebuilding,
            name: KIND,
            event: EVENT,
            kind: KIND,
            first_step: FIRST,
            data: &data,
            interrupts: "",
        };
        let mut tx = app.db.begin_write().await?;
        if action::begin_in(&mut tx, &server, asker, &begin).await?.is_none() {
            // Somebody was faster: judge anew.
            drop(tx);
            server = servers::get(&app.db, &server.id).await?;
            continue;
        }
        // Read under the row's lock: what others changed meanwhile stays.
        let mut now =
            servers::find_in(&mut tx, &server.id).await?.ok_or_else(|| servers::not_found(&server.id))?;
        wish.apply(&mut now);
        (now.image, now.kernel, now.ramdisk) =
            (boot.image.clone(), boot.kernel.clone(), boot.ramdisk.clone());
        rows::write(&mut tx, &now).await?;
        rows::write_inputs(&mut tx, &now.id, &inputs).await?;
        origin::set(&mut tx, &now.id, &origin).await?;
        tx.commit().await.map_err(db_error)?;
        app.poke();
        return Ok(Begun { server: now, admin_pass: wish.admin_pass, user_data: inputs.user_data });
    }
}
