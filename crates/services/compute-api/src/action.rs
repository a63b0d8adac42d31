//! Beginning an action on a server: the lock, the table of states, and the job that carries it out, in one transaction.

use crate::{
    app::App,
    store::{
        instance_actions::{self as actions, Asker},
        servers::{self, Server, change},
    },
};
use ferrostack_db::{Change, db_error};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{Error, Result, action::Action, server::TaskState};
use serde::Serialize;

/// 409 if the server is locked against the caller or its state does not allow `action`.
pub fn check(server: &Server, action: Action, admin: bool) -> Result<()> {
    if action.rule().lock && server.locked && !admin {
        return Err(Error::conflict(format!("Instance {} is locked", server.id)));
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

/// Begins an action if the server's state allows it, else 409; the job's id.
pub async fn begin<T: Serialize>(
    app: &App,
    mut server: Server,
    asker: Asker<'_>,
    begin: &Begin<'_, T>,
) -> Result<String> {
    loop {
        check(&server, begin.action, asker.admin)?;
        let id = server.id.as_str();
        let mut tx = app.db.begin_write().await?;
        let before = server.task_state;
        if change::begin_task(&mut tx, id, server.vm_state, before, begin.task).await? != Change::Updated {
            // Somebody was faster: judge anew.
            drop(tx);
            server = servers::get(&app.db, id).await?;
            continue;
        }
        if before.is_some()
            && let Some(job) = ferrostack_jobs::supersede(&mut tx, id).await?
            && let Some(request) = &job.request_id
        {
            actions::abandoned(&mut tx, id, request, begin.interrupts).await?;
        }
        actions::begin(&mut tx, id, begin.name, asker).await?;
        actions::event_begin(&mut tx, id, asker.request_id, begin.event, server.host.as_deref()).await?;
        let data =
            serde_json::to_value(begin.data).map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
        let request_id = Some(asker.request_id);
        let (kind, first_step) = (begin.kind, begin.first_step);
        let job = Enqueue { kind, first_step, target: id, data, request_id };
        let job_id = ferrostack_jobs::enqueue(&mut tx, job).await?;
        tx.commit().await.map_err(db_error)?;
        app.poke();
        return Ok(job_id);
    }
}
