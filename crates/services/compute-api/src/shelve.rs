//! Asking for a server to be shelved, to leave its host, and to come back.

use crate::{
    action::{self, Begin},
    app::App,
    jobs::{
        build,
        shelve::{self as job, Shelving},
        snapshot::Data,
        unshelve::{self, Here, Unshelving},
    },
    snapshot::{self, Wish},
    store::{
        hosts,
        instance_actions::Asker,
        servers::{self, Server},
        shelved,
    },
};
use ferrostack_db::db_error;
use ferrostack_http::Ctx;
use ferrostack_model::{
    Error, Result,
    action::Action,
    id,
    server::{TaskState, VmState},
};
use serde::Serialize;

const TO_HOST: &str = "os_compute_api:os-shelve:unshelve_to_host";
/// Longest name of an image, characters.
const LONGEST_NAME: usize = 255;
const SUFFIX: &str = "-shelved";

/// Shelves a server.
pub async fn begin(app: &App, ctx: &Ctx, server: Server) -> Result<()> {
    let caller = ctx.caller()?;
    let asker = Asker::of(caller, &ctx.request_id);
    let image_id = id::uuid();
    let name: String = server.display_name.chars().take(LONGEST_NAME - SUFFIX.len()).collect();
    let wish = Wish { name: format!("{name}{SUFFIX}"), ..Wish::default() };
    let shelving = Shelving {
        offload: app.settings.compute.shelved_offload_time == 0,
        was: Some(server.vm_state),
        ..Shelving::default()
    };
    let data = Data {
        image_id: image_id.clone(),
        owner: caller.project_id().to_owned(),
        format: app.settings.compute.snapshot_image_format,
        shelve: Some(shelving),
        ..Data::default()
    };
    let begin = Begin {
        action: Action::Shelve,
        task: TaskState::Shelving,
        name: "shelve",
        event: job::EVENT,
        kind: job::KIND,
        first_step: job::FIRST,
        data: &data,
        interrupts: "",
    };
    // The job goes by the state that it was begun in: if that changes before, all is judged anew.
    let mut tx = app.db.begin_write().await?;
    let Some(job_id) = action::begin_in(&mut tx, &server, asker, &begin).await? else {
        drop(tx);
        let now = servers::get(&app.db, &server.id).await?;
        return Box::pin(self::begin(app, ctx, now)).await;
    };
    tx.commit().await.map_err(db_error)?;
    app.poke();
    snapshot::make(app, caller, &server, &wish, &image_id, &job_id, &ctx.request_id).await
}

/// Takes a shelved server off its host.
pub async fn offload(app: &App, server: Server, asker: Asker<'_>) -> Result<()> {
    let shelving = Shelving { offload: true, ..Shelving::default() };
    let data = Data { shelve: Some(shelving), ..Data::default() };
    let begin = Begin {
        action: Action::ShelveOffload,
        task: TaskState::ShelvingOffloading,
        name: "shelveOffload",
        event: job::OFFLOAD_EVENT,
        kind: job::OFFLOAD_KIND,
        first_step: job::OFFLOAD_FIRST,
        data: &data,
        interrupts: "",
    };
    action::begin(app, server, asker, &begin).await.map(|_| ())
}

/// Where a server is to come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// To this zone from now on; to any if that is `None`.
    pub zone: Option<Option<String>>,
    /// To this host, this time.
    pub host: Option<String>,
}

/// Brings a shelved server back.
///
/// # Errors
/// `Conflict` for a zone or a host of a server that never left its own, and for a host outside of the zone;
/// `BadRequest` for a zone or host that is not there; `Forbidden` for a host that is not the caller's to choose.
pub async fn back(app: &App, ctx: &Ctx, mut server: Server, target: &Target) -> Result<()> {
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    loop {
        action::check(&server, Action::Unshelve, asker.admin)?;
        admit(app, ctx, &server, target).await?;
        let begun = if server.vm_state == VmState::ShelvedOffloaded {
            let data = build::Data {
                forced_host: target.host.clone(),
                unshelve: Some(Unshelving::default()),
                ..build::Data::default()
            };
            start(app, &server, asker, target, unshelve::KIND, unshelve::FIRST, &data).await?
        } else {
            let data = Here::default();
            start(app, &server, asker, target, unshelve::HERE_KIND, unshelve::HERE_FIRST, &data).await?
        };
        if begun {
            return Ok(());
        }
        server = servers::get(&app.db, &server.id).await?;
    }
}

async fn start<T: Serialize>(
    app: &App,
    server: &Server,
    asker: Asker<'_>,
    target: &Target,
    kind: &str,
    first_step: &str,
    data: &T,
) -> Result<bool> {
    let begin = Begin {
        action: Action::Unshelve,
        task: TaskState::Unshelving,
        name: "unshelve",
        event: unshelve::EVENT,
        kind,
        first_step,
        data,
        interrupts: "",
    };
    let mut tx = app.db.begin_write().await?;
    if action::begin_in(&mut tx, server, asker, &begin).await?.is_none() {
        return Ok(false);
    }
    if let Some(zone) = &target.zone {
        shelved::pin(&mut tx, &server.id, zone.as_deref()).await?;
    }
    tx.commit().await.map_err(db_error)?;
    app.poke();
    Ok(true)
}

async fn admit(app: &App, ctx: &Ctx, server: &Server, target: &Target) -> Result<()> {
    if *target == Target::default() {
        return Ok(());
    }
    if server.vm_state != VmState::ShelvedOffloaded {
        return Err(Error::conflict(format!(
            "Specifying an availability zone when unshelving server {} with status \"{}\" is not supported. \
             The server status must be SHELVED_OFFLOADED.",
            server.id,
            server.vm_state.as_str()
        )));
    }
    let hosts = hosts::list(&app.db).await?;
    if let Some(Some(zone)) = &target.zone
        && !hosts.iter().any(|h| !h.disabled && h.availability_zone == *zone)
    {
        return Err(Error::bad_request("The requested availability zone is not available"));
    }
    let Some(host) = &target.host else { return Ok(()) };
    ctx.enforce(TO_HOST, &[("project_id", &server.project_id), ("user_id", &server.user_id)])?;
    let Some(found) = hosts.iter().find(|h| h.host == *host) else {
        let host: String = host.chars().take(255).collect();
        return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
    };
    let zone = target.zone.clone().unwrap_or_else(|| server.pinned_az.clone());
    match zone {
        Some(zone) if zone != found.availability_zone => {
            Err(Error::conflict(format!("Host \"{host}\" is not in the availability zone \"{zone}\".")))
        }
        _ => Ok(()),
    }
}
