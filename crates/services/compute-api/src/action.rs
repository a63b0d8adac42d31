//! Beginning an action on a server: the lock, the table of states, and the job that carries it out, in one transaction.

use crate::{
    app::App,
    store::{
        Tx,
        instance_actions::{self as actions, Asker},
        quota,
        servers::{self, Server, change, states},
    },
};
use ferrostack_db::{Change, db_error};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{Error, Result, action::Action, auth::Secret, server::TaskState};
use serde::Serialize;

/// 409 if the server is locked against the caller.
pub fn check_lock(server: &Server, admin: bool) -> Result<()> {
    if server.locked && !admin {
        return Err(Error::conflict(format!("Instance {} is locked", server.id)));
    }
    Ok(())
}

/// 409 if the server is locked against the caller or its state does not allow `action`.
pub fn check(server: &Server, action: Action, admin: bool) -> Result<()> {
    if action.rule().lock {
        check_lock(server, admin)?;
    }
    action.check(&server.id, server.vm_state, server.task_state, server.launched_at.is_some())
}

/// What an action begins.
pub struct Begin<'a, T> {
    /// Judged by its row of the table.
    pub action: Action,
    /// The task that shows it.
    pub task: TaskState,
    /// Name in instance actions.
    pub name: &'a str,
    /// Its first event there.
    pub event: &'a str,
    /// Kind of its job.
    pub kind: &'a str,
    /// First step of its job.
    pub first_step: &'a str,
    /// What the job knows.
    pub data: &'a T,
    /// Why what it interrupts ends, for that one's record.
    pub interrupts: &'a str,
}

/// What else is written when an action begins, in the same transaction.
#[derive(Clone, Copy, Debug)]
pub enum Also<'a> {
    /// Nothing.
    Nothing,
    /// A password for the job, which forgets it when it ends.
    AdminPass(&'a Secret),
    /// Nothing, but the server counts for its quotas from now on: 403 if it does not fit.
    CountedAgain,
}

impl Also<'_> {
    async fn write(&self, app: &App, tx: &mut Tx, server: &Server) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::AdminPass(password) => states::set_admin_pass(tx, &server.id, password).await,
            Self::CountedAgain => {
                let want = quota::Want {
                    min_count: 1,
                    max_count: 1,
                    vcpus: i64::from(server.flavor.vcpus),
                    memory_mb: i64::try_from(server.flavor.ram_mb).unwrap_or(i64::MAX),
                };
                let defaults = &app.settings.compute.quota;
                quota::fits_restored(tx, defaults, &server.project_id, &server.user_id, want).await
            }
        }
    }
}

/// Begins an action if the server's state allows it, else 409; the job's id.
pub async fn begin<T: Serialize>(
    app: &App,
    server: Server,
    asker: Asker<'_>,
    wish: &Begin<'_, T>,
) -> Result<String> {
    begin_with(app, server, asker, wish, &Also::Nothing).await
}

/// [`begin`] with something else in the same transaction, which may refuse it.
pub async fn begin_with<T: Serialize>(
    app: &App,
    mut server: Server,
    asker: Asker<'_>,
    begin: &Begin<'_, T>,
    also: &Also<'_>,
) -> Result<String> {
    loop {
        check(&server, begin.action, asker.admin)?;
        let mut tx = app.db.begin_write().await?;
        if let Some(job_id) = begin_in(&mut tx, &server, asker, begin).await? {
            also.write(app, &mut tx, &server).await?;
            tx.commit().await.map_err(db_error)?;
            app.poke();
            return Ok(job_id);
        }
        // Somebody was faster: judge anew.
        drop(tx);
        let id = server.id.clone();
        server = servers::get(&app.db, &id).await?;
    }
}

/// Begins an action inside a transaction, for who has more to write in it. `None` if the server is not any more in the
/// state it was read in: read it again and try anew. 409 if its state does not allow it.
pub async fn begin_in<T: Serialize>(
    tx: &mut Tx,
    server: &Server,
    asker: Asker<'_>,
    begin: &Begin<'_, T>,
) -> Result<Option<String>> {
    check(server, begin.action, asker.admin)?;
    let id = server.id.as_str();
    let before = server.task_state;
    if change::begin_task(tx, id, server.vm_state, before, begin.task).await? != Change::Updated {
        return Ok(None);
    }
    if before.is_some()
        && let Some(job) = ferrostack_jobs::supersede(tx, id).await?
        && let Some(request) = &job.request_id
    {
        actions::abandoned(tx, id, request, begin.interrupts).await?;
    }
    let data =
        serde_json::to_value(begin.data).map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
    let request_id = Some(asker.request_id);
    let (kind, first_step) = (begin.kind, begin.first_step);
    let job = Enqueue { kind, first_step, target: id, data, request_id };
    let job_id = ferrostack_jobs::enqueue(tx, job).await?;
    actions::begin(tx, id, begin.name, asker).await?;
    actions::event_begin(tx, id, asker.request_id, begin.event, server.host.as_deref()).await?;
    Ok(Some(job_id))
}
