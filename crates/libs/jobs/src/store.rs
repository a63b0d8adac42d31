//! All SQL on the `jobs` table. The table's definition is a migration of the service that uses it.

use crate::{Job, State};
use ferrostack_db::{
    Db, Tx, db_error, is_unique_violation,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::Value;

macro_rules! columns {
    () => {
        "id, kind, target, state, step, data, attempt, run_after, generation, request_id, error, inbox, inbox_seq, created_at"
    };
}

/// A job to make.
#[derive(Clone)]
pub struct Enqueue<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Name of the first step.
    pub first_step: &'a str,
    /// What it works on.
    pub target: &'a str,
    /// Its first data.
    pub data: Value,
    /// The API request.
    pub request_id: Option<&'a str>,
}

/// Inserts a job in the request's own transaction; its id. `Conflict` if the target has an active job.
/// Call [`crate::Runner::poke`] after the commit.
pub async fn enqueue(tx: &mut Tx, job: Enqueue<'_>) -> Result<String> {
    let (id, now) = (id::uuid(), Timestamp::now());
    sqlx::query(
        "INSERT INTO jobs (id, kind, target, state, step, data, run_after, request_id, created_at, updated_at)
         VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $6, $6)",
    )
    .bind(&id)
    .bind(job.kind)
    .bind(job.target)
    .bind(job.first_step)
    .bind(Job::encode(&job.data)?)
    .bind(now.0)
    .bind(job.request_id)
    .execute(&mut **tx)
    .await
    .map_err(|e| {
        if is_unique_violation(&e) {
            Error::conflict(format!("{} has an operation in progress.", job.target))
        } else {
            db_error(e)
        }
    })?;
    Ok(id)
}

/// Ends the target's active job so that another may take over; its last state, if there was one.
/// A runner in the middle of it is fenced off and writes nothing any more.
pub async fn supersede(tx: &mut Tx, target: &str) -> Result<Option<Job>> {
    sqlx::query(concat!(
        "UPDATE jobs SET state = 'superseded', generation = generation + 1, owner = NULL, lease_until = 0, updated_at = $2
         WHERE target = $1 AND state IN ('active', 'undoing') RETURNING ",
        columns!()
    ))
    .bind(target)
    .bind(Timestamp::now().0)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)?
    .map(|row| read(&row))
    .transpose()
}

/// Hands an answer to a waiting job and makes it due; whether it is still active.
pub async fn wake(db: &Db, job_id: &str, answer: &Value) -> Result<bool> {
    let now = Timestamp::now().0;
    sqlx::query(
        "UPDATE jobs SET inbox = $2, inbox_seq = inbox_seq + 1, run_after = $3, updated_at = $3
         WHERE id = $1 AND state IN ('active', 'undoing')",
    )
    .bind(job_id)
    .bind(Job::encode(answer)?)
    .bind(now)
    .execute(db.writer())
    .await
    .map(|done| done.rows_affected() > 0)
    .map_err(db_error)
}

/// [`wake`] for a word that is not final: it is dropped if another answer waits to be read.
pub async fn wake_if_silent(db: &Db, job_id: &str, answer: &Value) -> Result<bool> {
    let now = Timestamp::now().0;
    sqlx::query(
        "UPDATE jobs SET inbox = $2, inbox_seq = inbox_seq + 1, run_after = $3, updated_at = $3
         WHERE id = $1 AND state IN ('active', 'undoing') AND inbox IS NULL",
    )
    .bind(job_id)
    .bind(Job::encode(answer)?)
    .bind(now)
    .execute(db.writer())
    .await
    .map(|done| done.rows_affected() > 0)
    .map_err(db_error)
}

/// Forgets jobs that ended before `before`; how many.
pub async fn prune(db: &Db, before: Timestamp) -> Result<u64> {
    sqlx::query("DELETE FROM jobs WHERE state IN ('done', 'failed', 'superseded') AND updated_at < $1")
        .bind(before.0)
        .execute(db.writer())
        .await
        .map(|done| done.rows_affected())
        .map_err(db_error)
}

/// The target's active job.
pub async fn find_active(db: &Db, target: &str) -> Result<Option<Job>> {
    sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM jobs WHERE target = $1 AND state IN ('active', 'undoing')"
    ))
    .bind(target)
    .fetch_optional(db.reader())
    .await
    .map_err(db_error)?
    .map(|row| read(&row))
    .transpose()
}

/// What the target's active job knows, inside a transaction.
pub async fn active_data(tx: &mut Tx, target: &str) -> Result<Option<Value>> {
    let text: Option<String> =
        sqlx::query_scalar("SELECT data FROM jobs WHERE target = $1 AND state IN ('active', 'undoing')")
            .bind(target)
            .fetch_optional(&mut **tx)
            .await
            .map_err(db_error)?;
    text.map(|t| serde_json::from_str(&t).map_err(|e| Error::internal(format!("jobs.data: {e}")))).transpose()
}

/// A job by id.
pub async fn find(db: &Db, id: &str) -> Result<Option<Job>> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1"))
        .bind(id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()
}

/// The newest jobs, unfinished ones only if asked so: for the operator's tool.
pub async fn list(db: &Db, unfinished_only: bool, limit: i64) -> Result<Vec<Job>> {
    let sql = if unfinished_only {
        concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE state IN ('active', 'undoing') ORDER BY created_at DESC LIMIT $1"
        )
    } else {
        concat!("SELECT ", columns!(), " FROM jobs ORDER BY created_at DESC LIMIT $1")
    };
    let rows = sqlx::query(sql).bind(limit).fetch_all(db.reader()).await.map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// Ids of jobs that are due and that nobody holds, oldest first.
pub(crate) async fn due(db: &Db, limit: i64) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT id FROM jobs WHERE state IN ('active', 'undoing') AND run_after <= $1 AND lease_until < $1
         ORDER BY run_after LIMIT $2",
    )
    .bind(Timestamp::now().0)
    .bind(limit)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}

/// Claims a due job; `None` if somebody else has it or it is not due any more.
pub(crate) async fn claim(db: &Db, id: &str, owner: &str, lease_ms: i64) -> Result<Option<Job>> {
    let now = Timestamp::now();
    sqlx::query(concat!(
        "UPDATE jobs SET owner = $2, lease_until = $3, generation = generation + 1
         WHERE id = $1 AND state IN ('active', 'undoing') AND run_after <= $4 AND lease_until < $4 RETURNING ",
        columns!()
    ))
    .bind(id)
    .bind(owner)
    .bind(now.plus_millis(lease_ms).0)
    .bind(now.0)
    .fetch_optional(db.writer())
    .await
    .map_err(db_error)?
    .map(|row| read(&row))
    .transpose()
}

/// Keeps a claim; false if it is lost.
pub(crate) async fn renew(db: &Db, job: &Job, lease_ms: i64) -> Result<bool> {
    sqlx::query("UPDATE jobs SET lease_until = $3 WHERE id = $1 AND generation = $2 AND owner IS NOT NULL")
        .bind(&job.id)
        .bind(job.generation)
        .bind(Timestamp::now().plus_millis(lease_ms).0)
        .execute(db.writer())
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(db_error)
}

/// How a claimed job's row is left.
pub(crate) struct Leave<'a> {
    pub state: State,
    pub step: &'a str,
    pub data: &'a Value,
    pub attempt: i64,
    /// When it is due next; the inbox may make it due sooner.
    pub run_after: Timestamp,
    /// Whether the claim is kept for the next step.
    pub keep_until: Option<Timestamp>,
    /// Whether the answer the step saw is used up.
    pub consumed: bool,
}

/// Writes a claimed job's row; false if the claim is lost.
pub(crate) async fn leave(tx: &mut Tx, job: &Job, leave: Leave<'_>) -> Result<bool> {
    sqlx::query(
        "UPDATE jobs SET state = $3, step = $4, data = $5, attempt = $6, error = $8,
             run_after = CASE WHEN inbox IS NOT NULL AND inbox_seq > $9 THEN $12 ELSE $7 END,
             inbox = CASE WHEN inbox_seq > $9 OR $10 = 0 THEN inbox ELSE NULL END,
             owner = CASE WHEN $11 > 0 THEN owner ELSE NULL END, lease_until = $11, updated_at = $12
         WHERE id = $1 AND generation = $2",
    )
    .bind(&job.id)
    .bind(job.generation)
    .bind(leave.state.as_str())
    .bind(leave.step)
    .bind(Job::encode(leave.data)?)
    .bind(leave.attempt)
    .bind(leave.run_after.0)
    .bind(job.encode_failure()?)
    .bind(job.inbox_seq)
    .bind(i64::from(leave.consumed))
    .bind(leave.keep_until.map_or(0, |t| t.0))
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected() > 0)
    .map_err(db_error)
}

/// The inbox as it is now: an answer may have come while the step ran.
pub(crate) async fn reread_inbox(db: &Db, job: &mut Job) -> Result<()> {
    let row = sqlx::query("SELECT inbox, inbox_seq FROM jobs WHERE id = $1")
        .bind(&job.id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?;
    if let Some(row) = row {
        job.inbox = inbox(&row)?;
        job.inbox_seq = row.try_get("inbox_seq").map_err(db_error)?;
    }
    Ok(())
}

fn inbox(row: &AnyRow) -> Result<Option<Value>> {
    let text: Option<String> = row.try_get("inbox").map_err(db_error)?;
    text.map(|t| serde_json::from_str(&t).map_err(|e| Error::internal(format!("job inbox: {e}")))).transpose()
}

fn read(row: &AnyRow) -> Result<Job> {
    let text = |name: &str| row.try_get::<String, _>(name).map_err(db_error);
    let number = |name: &str| row.try_get::<i64, _>(name).map_err(db_error);
    let failure =
        row.try_get::<Option<String>, _>("error").map_err(db_error)?.map(|text| Job::decode_failure(&text));
    Ok(Job {
        id: text("id")?,
        kind: text("kind")?,
        target: text("target")?,
        state: State::parse(&text("state")?)?,
        step: text("step")?,
        data: serde_json::from_str(&text("data")?).map_err(|e| Error::internal(format!("job data: {e}")))?,
        attempt: number("attempt")?,
        run_after: Timestamp(number("run_after")?),
        generation: number("generation")?,
        request_id: row.try_get("request_id").map_err(db_error)?,
        error: failure.as_ref().map(Error::for_log),
        failure,
        inbox: inbox(row)?,
        inbox_seq: number("inbox_seq")?,
        created_at: Timestamp(number("created_at")?),
    })
}
