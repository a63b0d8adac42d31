//! Beginning a move, its confirmation or its way back: what Nova refuses, then state, record, quota and job in one
//! transaction.

use super::{Data, confirm, resize, revert};
use crate::{
    action,
    app::App,
    jobs::order::host_is_up,
    store::{
        Tx,
        instance_actions::{self as actions, Asker},
        migrations::{self, Migration, New, Size},
        quota,
        servers::{self, Server, change, moves},
    },
};
use ferrostack_db::{Change, db_error};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{
    Error, Result, Timestamp,
    action::Action,
    migration::{Kind, Status},
    server::TaskState,
};

/// What the caller wants of a resize or a cold migration.
#[derive(Clone, Debug)]
pub struct Going {
    /// The other size; none for a migration.
    pub size: Option<Size>,
    /// The host an operator named.
    pub host: Option<String>,
    /// `OS-DCF:diskConfig` for after it.
    pub disk_config: Option<String>,
}

struct Starting<'a> {
    action: Action,
    task: TaskState,
    name: &'a str,
    event: &'a str,
    kind: &'a str,
    first_step: &'a str,
}

/// How much larger `new` is: vCPUs and MiB, each at least 0.
fn growth(old: &Size, new: &Size) -> (i64, i64) {
    let mib = |size: &Size| i64::try_from(size.flavor.ram_mb).unwrap_or(i64::MAX);
    let vcpus = i64::from(new.flavor.vcpus) - i64::from(old.flavor.vcpus);
    (vcpus.max(0), (mib(new) - mib(old)).max(0))
}

/// Holds what a move to `new` takes more, or says that the quota does not allow it.
async fn hold(app: &App, tx: &mut Tx, server: &Server, old: &Size, new: &Size) -> Result<()> {
    let more = growth(old, new);
    let defaults = &app.settings.compute.quota;
    quota::reserve_growth(tx, defaults, &server.project_id, &server.user_id, more).await?;
    moves::hold_quota(tx, &server.id, more.0, more.1).await
}

/// The task, if the state allows it; `None` if somebody was faster.
async fn task(app: &App, server: &Server, starting: &Starting<'_>, admin: bool) -> Result<Option<Tx>> {
    action::check(server, starting.action, admin)?;
    let mut tx = app.db.begin_write().await?;
    let state = (server.vm_state, server.task_state);
    let change = change::begin_task(&mut tx, &server.id, state.0, state.1, starting.task).await?;
    Ok((change == Change::Updated).then_some(tx))
}

async fn enqueue(
    app: &App,
    mut tx: Tx,
    server: &Server,
    asker: Asker<'_>,
    starting: &Starting<'_>,
    data: &Data,
) -> Result<String> {
    actions::begin(&mut tx, &server.id, starting.name, asker).await?;
    let host = server.host.as_deref();
    actions::event_begin(&mut tx, &server.id, asker.request_id, starting.event, host).await?;
    let data = serde_json::to_value(data).map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
    let (kind, first_step) = (starting.kind, starting.first_step);
    let request_id = Some(asker.request_id);
    let job = Enqueue { kind, first_step, target: &server.id, data, request_id };
    let id = ferrostack_jobs::enqueue(&mut tx, job).await?;
    tx.commit().await.map_err(db_error)?;
    app.poke();
    Ok(id)
}

/// Begins a resize or a cold migration; the job's id.
///
/// # Errors
/// `Conflict` if the server's state or lock does not allow it or its host does not answer, `OverLimit` if the larger
/// size is above the quota.
pub async fn go(app: &App, mut server: Server, asker: Asker<'_>, going: &Going) -> Result<String> {
    let resizes = going.size.is_some();
    let (name, action) = if resizes { ("resize", Action::Resize) } else { ("migrate", Action::Migrate) };
    let starting = Starting {
        action,
        task: TaskState::ResizePrep,
        name,
        event: resize::EVENT,
        kind: resize::KIND,
        first_step: resize::FIRST,
    };
    loop {
        action::check(&server, action, asker.admin)?;
        let host = server.host.as_deref().unwrap_or_default();
        if !host_is_up(app, host, Timestamp::now()).await? {
            return Err(Error::conflict("Service is unavailable at this time."));
        }
        let old = Size::of_server(&app.db, &server).await?;
        let new = going.size.as_ref().unwrap_or(&old);
        let Some(mut tx) = task(app, &server, &starting, asker.admin).await? else {
            server = servers::get(&app.db, &server.id).await?;
            continue;
        };
        hold(app, &mut tx, &server, &old, new).await?;
        let row = New {
            server: &server,
            kind: if resizes { Kind::Resize } else { Kind::Migration },
            status: Status::Accepted,
            user_id: asker.user_id,
            project_id: asker.project_id,
            request_id: asker.request_id,
            old: &old,
            new,
        };
        let data = Data {
            migration: migrations::insert(&mut tx, row).await?,
            disk_config: going.disk_config.clone(),
            wanted_host: going.host.clone(),
            same_host: resizes && app.settings.compute.allow_resize_to_same_host,
            ..Data::default()
        };
        return enqueue(app, tx, &server, asker, &starting, &data).await;
    }
}

/// The move that waits for a decision; 400 in Nova's words if there is none.
async fn undecided(app: &App, server: &Server) -> Result<Migration> {
    let found = migrations::of_server(&app.db, &server.id, Status::Finished).await?;
    found.ok_or_else(|| Error::bad_request("Instance has not been resized."))
}

async fn decide(
    app: &App,
    mut server: Server,
    asker: Asker<'_>,
    starting: &Starting<'_>,
    status: Status,
) -> Result<String> {
    loop {
        action::check(&server, starting.action, asker.admin)?;
        let migration = undecided(app, &server).await?;
        let Some(mut tx) = task(app, &server, starting, asker.admin).await? else {
            server = servers::get(&app.db, &server.id).await?;
            continue;
        };
        if status == Status::Reverting {
            hold(app, &mut tx, &server, &migration.new, &migration.old).await?;
        }
        if !migrations::advance(&mut tx, migration.id, Status::Finished, status).await? {
            // Somebody decided meanwhile.
            drop(tx);
            server = servers::get(&app.db, &server.id).await?;
            continue;
        }
        let data = Data { migration: migration.id, ..Data::default() };
        return enqueue(app, tx, &server, asker, starting, &data).await;
    }
}

/// Begins to confirm a move; the job's id.
///
/// # Errors
/// `Conflict` if the server's state or lock does not allow it, `BadRequest` if it was not moved.
pub async fn confirm(app: &App, server: Server, asker: Asker<'_>) -> Result<String> {
    let starting = Starting {
        action: Action::ConfirmResize,
        task: TaskState::ResizeConfirming,
        name: "confirmResize",
        event: confirm::EVENT,
        kind: confirm::KIND,
        first_step: confirm::FIRST,
    };
    decide(app, server, asker, &starting, Status::Confirming).await
}

/// Begins to take a move back; the job's id.
///
/// # Errors
/// As [`confirm`], and `OverLimit` if the old size is above the quota by now.
pub async fn revert(app: &App, server: Server, asker: Asker<'_>) -> Result<String> {
    let starting = Starting {
        action: Action::RevertResize,
        task: TaskState::ResizeReverting,
        name: "revertResize",
        event: revert::EVENT,
        kind: revert::KIND,
        first_step: revert::FIRST,
    };
    decide(app, server, asker, &starting, Status::Reverting).await
}
