//! The one transaction that makes the servers: quota, rows, actions and jobs.

use super::{hints, names, place::Place, request::Wish};
use crate::{
    app::App,
    boot_image::Images,
    jobs::build,
    store::{
        flavors::Flavor,
        instance_actions::{self as actions, Asker},
        keypairs::Keypair,
        origin::{self, Origin},
        quota, server_groups,
        servers::{self, Inputs, NicRequest, Server},
    },
};
use ferrostack_db::db_error;
use ferrostack_http::Ctx;
use ferrostack_jobs::Enqueue;
use ferrostack_model::{
    Error, Result, Timestamp,
    auth::Secret,
    id,
    server::{PowerState, TaskState, VmState},
};

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The first server.
    pub id: String,
    /// Of all.
    pub reservation_id: String,
    /// Whether the client wants only that.
    pub return_reservation_id: bool,
    /// The admin password.
    pub admin_pass: Secret,
    /// `OS-DCF:diskConfig`
    pub disk_config: String,
    /// The groups asked for.
    pub security_groups: Vec<String>,
}

/// Makes them.
#[allow(clippy::too_many_arguments)] // every one was checked by a module of its own
pub async fn insert(
    app: &App,
    ctx: &Ctx,
    wish: Wish,
    place: Place,
    flavor: Flavor,
    images: Images,
    key: Option<Keypair>,
    nics: Vec<NicRequest>,
) -> Result<Made> {
    let caller = ctx.caller()?;
    let (project_id, user_id) = (caller.project_id(), caller.user_id());
    // Numbers first: their row would otherwise make all creations wait for each other.
    let first_number = servers::numbers(&app.db, wish.max_count).await?;
    let now = Timestamp::now();
    let disk_config = if images.auto_disk { "AUTO".to_owned() } else { wish.disk_config.clone() };
    let template = Server {
        id: String::new(),
        generation: 1,
        project_id: project_id.to_owned(),
        user_id: user_id.to_owned(),
        display_name: wish.name.clone(),
        hostname: String::new(),
        description: wish.description.clone(),
        instance_name: String::new(),
        reservation_id: names::reservation(),
        launch_index: 0,
        vm_state: VmState::Building,
        task_state: Some(TaskState::Scheduling),
        power_state: PowerState::NoState,
        power_at: Timestamp(0),
        progress: 0,
        host: None,
        node: None,
        availability_zone: place.zone.clone(),
        pinned_az: place.zone.clone(),
        image: images.root,
        kernel: images.kernel,
        ramdisk: images.ramdisk,
        flavor: flavor.guest(),
        flavor_id: flavor.id.clone(),
        key_name: wish.key_name.clone(),
        public_key: key.map(|k| k.public_key),
        config_drive: wish.config_drive,
        access_ip_v4: wish.access_ip_v4.clone(),
        access_ip_v6: wish.access_ip_v6.clone(),
        metadata: wish.metadata.clone(),
        hints: wish.hints.clone(),
        nics,
        ports: Vec::new(),
        fault: None,
        locked: false,
        locked_reason: None,
        created_at: now,
        updated_at: now,
        launched_at: None,
        terminated_at: None,
        deleted_at: None,
        tags: wish.tags.clone(),
        trusted_certs: wish.trusted_certs.clone(),
        disk_config: disk_config.clone(),
    };
    let origin = Origin {
        user_name: caller.claims.name.clone(),
        project_name: caller.claims.project.as_ref().map(|p| p.name.clone()).unwrap_or_default(),
        roles: caller.claims.roles.join(","),
        min_disk: images.minimum.0,
        min_ram: images.minimum.1,
    };
    let inputs = Inputs {
        user_data: wish.user_data.clone(),
        personality: wish.personality.clone(),
        admin_pass: Some(wish.admin_pass.clone()),
    };
    let data = build::Data {
        forced: place.forced,
        forced_host: place.host.clone(),
        forced_node: place.node.clone(),
        ..build::Data::default()
    };
    let data = serde_json::to_value(&data).map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
    let want = quota::Want {
        min_count: wish.min_count,
        max_count: wish.max_count,
        vcpus: flavor.vcpus,
        memory_mb: flavor.memory_mb,
    };
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    let limits = quota::user_limits(&app.db, project_id, user_id, &app.settings.compute.quota).await?;
    let member_limit = limits.server_group_members;

    let mut tx = app.db.begin_write().await?;
    let count =
        quota::reserve_servers(&mut tx, &app.settings.compute.quota, project_id, user_id, want).await?;
    let group = wish.hints.get(hints::GROUP).and_then(|ids| ids.first());
    if let Some(group) = group {
        server_groups::admit(&mut tx, group, user_id, count, member_limit).await?;
    }
    let mut first_id = None;
    for index in 0..count {
        let server_id = id::uuid();
        let display_name = if count > 1 { format!("{}-{}", wish.name, index + 1) } else { wish.name.clone() };
        let hostname = match &wish.hostname {
            Some(given) if count > 1 => format!("{given}-{}", index + 1),
            Some(given) => given.clone(),
            None => names::hostname(&display_name, &format!("server-{server_id}")),
        };
        let server = Server {
            id: server_id.clone(),
            display_name,
            hostname,
            instance_name: format!("instance-{:08x}", first_number + index),
            launch_index: index,
            ..template.clone()
        };
        servers::insert(&mut tx, &server, &inputs).await?;
        origin::set(&mut tx, &server_id, &origin).await?;
        if let Some(group) = group {
            server_groups::join(&mut tx, group, &server_id, user_id).await?;
        }
        actions::begin(&mut tx, &server_id, "create", asker).await?;
        let job = Enqueue {
            kind: build::KIND,
            first_step: build::FIRST,
            target: &server_id,
            data: data.clone(),
            request_id: Some(&ctx.request_id),
        };
        ferrostack_jobs::enqueue(&mut tx, job).await?;
        first_id.get_or_insert(server_id);
    }
    tx.commit().await.map_err(db_error)?;
    app.poke();
    Ok(Made {
        id: first_id.ok_or_else(|| Error::internal("no server was made"))?,
        reservation_id: template.reservation_id,
        return_reservation_id: wish.return_reservation_id,
        admin_pass: wish.admin_pass,
        disk_config,
        security_groups: wish.security_groups,
    })
}
