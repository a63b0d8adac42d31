//! What was done to a server, by the request that asked for it, and the events of the doing.

use crate::notify::{self, Phase};
use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::{Caller, Result, Timestamp};

/// A row of `instance_actions`; times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Action {
    /// The server.
    pub server_id: String,
    /// The request; key of the action.
    pub request_id: String,
    /// `create`, `stop`, …
    pub action: String,
    /// Who asked.
    pub user_id: String,
    /// In which project.
    pub project_id: String,
    /// When asked.
    pub start_time: i64,
    /// Latest change.
    pub updated_at: i64,
    /// `Error`, or none.
    pub message: Option<String>,
}

/// A row of `instance_action_events`; times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Event {
    /// `compute_stop_instance`, …
    pub event: String,
    /// Begun.
    pub start_time: i64,
    /// Ended.
    pub finish_time: Option<i64>,
    /// `Success` or `Error`.
    pub result: Option<String>,
    /// Where.
    pub host: Option<String>,
    /// The fault, for everybody.
    pub details: Option<String>,
    /// More, for admins.
    pub traceback: Option<String>,
}

/// Who asked for an action.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The request.
    pub request_id: &'a str,
    /// The user.
    pub user_id: &'a str,
    /// The project.
    pub project_id: &'a str,
    /// Whether locks do not hold them.
    pub admin: bool,
}

impl<'a> Asker<'a> {
    /// The caller of a request.
    pub fn of(caller: &'a Caller, request_id: &'a str) -> Self {
        Self {
            request_id,
            user_id: caller.user_id(),
            project_id: caller.project_id(),
            admin: caller.is_admin(),
        }
    }
}

/// Begins an action.
pub async fn begin(tx: &mut Tx, server_id: &str, action: &str, asker: Asker<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO instance_actions (server_id, request_id, action, user_id, project_id, start_time, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (server_id, request_id) DO NOTHING",
    )
    .bind(server_id)
    .bind(asker.request_id)
    .bind(action)
    .bind(asker.user_id)
    .bind(asker.project_id)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Begins an event; the one of that name that is still open, if any, goes on.
pub async fn event_begin(
    tx: &mut Tx,
    server_id: &str,
    request_id: &str,
    event: &str,
    host: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO instance_action_events (server_id, request_id, number, event, start_time, host)
         SELECT $1, $2, COALESCE((SELECT MAX(number) FROM instance_action_events
                                  WHERE server_id = $1 AND request_id = $2), 0) + 1, $3, $4, $5
         WHERE EXISTS (SELECT 1 FROM instance_actions WHERE server_id = $1 AND request_id = $2)
             AND NOT EXISTS (SELECT 1 FROM instance_action_events WHERE server_id = $1 AND request_id = $2
                             AND event = $3 AND finish_time IS NULL)",
    )
    .bind(server_id)
    .bind(request_id)
    .bind(event)
    .bind(Timestamp::now().0)
    .bind(host)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    notify::event(tx, server_id, request_id, event, Phase::Start).await
}

/// How an event ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// No error.
    pub success: bool,
    /// The fault, for everybody.
    pub details: Option<&'a str>,
    /// More, for admins.
    pub traceback: Option<&'a str>,
}

/// Ended well.
pub const SUCCESS: End<'static> = End { success: true, details: None, traceback: None };

/// Ends the open event of that name, and with it (unless another attempt follows) the action.
pub async fn event_end(
    tx: &mut Tx,
    server_id: &str,
    request_id: &str,
    event: &str,
    end: End<'_>,
    last: bool,
) -> Result<()> {
    let now = Timestamp::now().0;
    sqlx::query(
        "UPDATE instance_action_events SET finish_time = $4, result = $5, details = $6, traceback = $7
         WHERE server_id = $1 AND request_id = $2 AND event = $3 AND finish_time IS NULL",
    )
    .bind(server_id)
    .bind(request_id)
    .bind(event)
    .bind(now)
    .bind(if end.success { "Success" } else { "Error" })
    .bind(end.details)
    .bind(end.traceback)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    sqlx::query(
        "UPDATE instance_actions SET updated_at = $3, message = COALESCE($4, message),
             finish_time = CASE WHEN CAST($5 AS BIGINT) = 1 THEN $3 ELSE finish_time END
         WHERE server_id = $1 AND request_id = $2",
    )
    .bind(server_id)
    .bind(request_id)
    .bind(now)
    .bind((!end.success).then_some("Error"))
    .bind(i64::from(last))
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    let phase = match end.success {
        true => Phase::End,
        false => Phase::Error(end.details.unwrap_or_default(), end.traceback.unwrap_or_default()),
    };
    notify::event(tx, server_id, request_id, event, phase).await
}

/// Ends what a job left open that was taken over; `why` for the event's details.
pub async fn abandoned(tx: &mut Tx, server_id: &str, request_id: &str, why: &str) -> Result<()> {
    let now = Timestamp::now().0;
    sqlx::query(
        "UPDATE instance_action_events SET finish_time = $3, result = 'Error', details = $4
         WHERE server_id = $1 AND request_id = $2 AND finish_time IS NULL",
    )
    .bind(server_id)
    .bind(request_id)
    .bind(now)
    .bind(why)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    sqlx::query(
        "UPDATE instance_actions SET updated_at = $3, finish_time = $3, message = 'Error'
         WHERE server_id = $1 AND request_id = $2 AND finish_time IS NULL",
    )
    .bind(server_id)
    .bind(request_id)
    .bind(now)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Ends an action that has no events.
pub async fn end(tx: &mut Tx, server_id: &str, request_id: &str) -> Result<()> {
    sqlx::query(
        "UPDATE instance_actions SET updated_at = $3, finish_time = $3 WHERE server_id = $1 AND request_id = $2",
    )
    .bind(server_id)
    .bind(request_id)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Which actions a list wants.
#[derive(Clone, Debug)]
pub struct Window {
    /// Changed at or after.
    pub since: Option<Timestamp>,
    /// Changed at or before.
    pub before: Option<Timestamp>,
    /// After this action in the list's order.
    pub after: Option<Action>,
    /// At most.
    pub limit: i64,
}

/// A server's actions, newest first.
pub async fn list(db: &Db, server_id: &str, window: &Window) -> Result<Vec<Action>> {
    let (time, request) =
        window.after.as_ref().map_or((i64::MAX, ""), |a| (a.start_time, a.request_id.as_str()));
    sqlx::query_as(
        "SELECT server_id, request_id, action, user_id, project_id, start_time, updated_at, message
         FROM instance_actions
         WHERE server_id = $1 AND updated_at >= $2 AND updated_at <= $3
             AND (start_time < $4 OR (start_time = $4 AND request_id < $5))
         ORDER BY start_time DESC, request_id DESC LIMIT $6",
    )
    .bind(server_id)
    .bind(window.since.map_or(i64::MIN, |t| t.0))
    .bind(window.before.map_or(i64::MAX, |t| t.0))
    .bind(time)
    .bind(request)
    .bind(window.limit)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}

/// One action.
pub async fn get(db: &Db, server_id: &str, request_id: &str) -> Result<Option<Action>> {
    sqlx::query_as(
        "SELECT server_id, request_id, action, user_id, project_id, start_time, updated_at, message
         FROM instance_actions WHERE server_id = $1 AND request_id = $2",
    )
    .bind(server_id)
    .bind(request_id)
    .fetch_optional(db.reader())
    .await
    .map_err(db_error)
}

/// Its events, newest first as Nova lists them.
pub async fn events(db: &Db, server_id: &str, request_id: &str) -> Result<Vec<Event>> {
    sqlx::query_as(
        "SELECT event, start_time, finish_time, result, host, details, traceback FROM instance_action_events
         WHERE server_id = $1 AND request_id = $2 ORDER BY number DESC",
    )
    .bind(server_id)
    .bind(request_id)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}
