//! All SQL of orders.

use super::{Ledger, guests};
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{
    Error, Result, Timestamp,
    guest::{GuestSpec, WantedPower},
    live_migration::Part,
    message::{AgentOrder, Order, Outcome},
    server::PowerState,
};

/// The name of an order's kind.
pub fn verb(order: &Order) -> &'static str {
    match order {
        Order::Ensure { .. } => "ensure",
        Order::Rebuild { .. } => "rebuild",
        Order::Start => "start",
        Order::Stop { .. } => "stop",
        Order::RebootSoft { .. } => "reboot_soft",
        Order::RebootHard => "reboot_hard",
        Order::Destroy => "destroy",
        Order::Snapshot { .. } => "snapshot",
        Order::Nics { .. } => "nics",
        Order::Change { change } => change.as_str(),
        Order::Migrate { part } => part.verb(),
        Order::Move { step } => step.as_str(),
    }
}

/// Whether an order makes a guest where there was none.
pub fn builds(order: &Order) -> bool {
    match order {
        Order::Ensure { .. } => true,
        Order::Move { step } => step.builds(),
        _ => false,
    }
}

/// What recording an order found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// New and now in the ledger.
    New,
    /// Had come before and is still being worked on.
    Working,
    /// Had come before and is closed: its outcome shall be sent again.
    Closed {
        /// Its place, for [`Ledger::sent`].
        seq: i64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A newer generation, or the guest's end, has come before.
    Old,
}

/// An order as it is in the ledger.
#[derive(Clone, Debug)]
pub struct OrderRow {
    /// The host.
    pub host: String,
    /// The server.
    pub server_id: String,
    /// Order of arrival.
    pub seq: i64,
    /// Generation.
    pub generation: i64,
    /// The job that waits; empty if none.
    pub job_id: String,
    /// The request it goes back to.
    pub request_id: Option<String>,
    /// What is ordered; none if the record cannot be read.
    pub order: Option<Order>,
    /// What became of it; none while it is open.
    pub outcome: Option<Outcome>,
}

impl OrderRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let body: String = row.try_get("body").map_err(db_error)?;
        let outcome: Option<String> = row.try_get("outcome").map_err(db_error)?;
        Ok(Self {
            host: row.try_get("host").map_err(db_error)?,
            server_id: row.try_get("server_id").map_err(db_error)?,
            seq: row.try_get("seq").map_err(db_error)?,
            generation: row.try_get("generation").map_err(db_error)?,
            job_id: row.try_get("job_id").map_err(db_error)?,
            request_id: row.try_get("request_id").map_err(db_error)?,
            // What was secret is gone when the order is closed.
            order: (!body.is_empty()).then(|| serde_json::from_str(&body)).and_then(|read| {
                read.inspect_err(|error| tracing::error!(%error, "an order in the ledger cannot be read"))
                    .ok()
            }),
            outcome: outcome.as_deref().map(read_outcome),
        })
    }
}

fn read_outcome(text: &str) -> Outcome {
    // An outcome that cannot be read is asked for anew.
    serde_json::from_str(text).unwrap_or(Outcome::Unknown)
}

fn encode<T: serde::Serialize>(what: &T) -> Result<String> {
    serde_json::to_string(what).map_err(|e| Error::internal(format!("encoding for the ledger: {e}")))
}

pub(super) async fn prune(db: &Db, before: Timestamp) -> Result<()> {
    sqlx::query("DELETE FROM orders WHERE state = 'closed' AND unsent = 0 AND closed_at < $1")
        .bind(before.0)
        .execute(db.writer())
        .await
        .map_err(db_error)?;
    Ok(())
}

async fn insert(tx: &mut Tx, host: &str, order: &AgentOrder, request_id: Option<&str>) -> Result<()> {
    sqlx::query(
        "INSERT INTO orders (host, server_id, seq, generation, job_id, verb, body, request_id, state, unsent,
             received_at)
         SELECT $1, $2, COALESCE(MAX(seq), 0) + 1, $3, $4, $5, $6, $7, 'open', 0, $8
         FROM orders WHERE host = $1 AND server_id = $2
         ON CONFLICT (host, server_id, generation, job_id, verb)
         DO UPDATE SET state = 'open', outcome = NULL, unsent = 0",
    )
    .bind(host)
    .bind(&order.server_id)
    .bind(order.generation)
    .bind(&order.job_id)
    .bind(verb(&order.order))
    .bind(encode(&order.order)?)
    .bind(request_id)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(())
}

impl Ledger {
    /// Records an order, and with it what is wanted of the guest from now on, unless it is known or too old.
    pub async fn record(&self, host: &str, order: &AgentOrder, request_id: Option<&str>) -> Result<Recorded> {
        let mut tx = self.db().begin_write().await?;
        let known = sqlx::query(
            "SELECT seq, outcome FROM orders
             WHERE host = $1 AND server_id = $2 AND generation = $3 AND job_id = $4 AND verb = $5",
        )
        .bind(host)
        .bind(&order.server_id)
        .bind(order.generation)
        .bind(&order.job_id)
        .bind(verb(&order.order))
        .fetch_optional(&mut *tx)
        .await
        .map_err(db_error)?;
        let guest = guests::get_in(&mut tx, host, &order.server_id).await?;
        if let Some(row) = known {
            let outcome: Option<String> = row.try_get("outcome").map_err(db_error)?;
            let Some(outcome) = outcome.as_deref().map(read_outcome) else { return Ok(Recorded::Working) };
            // What could not be removed is removed when it is asked for again.
            let again = order.order == Order::Destroy
                && matches!(outcome, Outcome::Failed { .. })
                && guest.is_some_and(|g| g.generation == order.generation);
            if !again {
                return Ok(Recorded::Closed { seq: row.try_get("seq").map_err(db_error)?, outcome });
            }
            insert(&mut tx, host, order, request_id).await?;
            tx.commit().await.map_err(db_error)?;
            return Ok(Recorded::New);
        }
        let old = guest.as_ref().is_some_and(|g| {
            order.generation < g.generation
                || (g.destroyed && order.generation == g.generation && order.order != Order::Destroy)
        });
        if old {
            return Ok(Recorded::Old);
        }
        guests::raise_in(&mut tx, host, &order.server_id, order.generation).await?;
        let spec = guest.and_then(|g| g.spec);
        match (&order.order, spec) {
            (Order::Ensure { spec } | Order::Rebuild { spec, .. }, _) | (Order::Nics { spec }, None) => {
                guests::want_in(&mut tx, host, spec).await?;
            }
            (Order::Nics { spec }, Some(known)) => {
                let spec = GuestSpec { power: known.power, ..(**spec).clone() };
                guests::want_in(&mut tx, host, &spec).await?;
            }
            (Order::Move { step }, _) => {
                if let Some(spec) = step.spec() {
                    guests::want_in(&mut tx, host, spec).await?;
                }
            }
            (Order::Start | Order::RebootSoft { .. } | Order::RebootHard, Some(spec)) => {
                guests::power_in(&mut tx, host, spec, WantedPower::Running).await?;
            }
            (Order::Stop { .. }, Some(spec)) => {
                guests::power_in(&mut tx, host, spec, WantedPower::Stopped).await?;
            }
            (Order::Change { change }, Some(spec)) => {
                if let Some(power) = crate::change::power_of(change) {
                    guests::power_in(&mut tx, host, spec, power).await?;
                }
            }
            (Order::Migrate { part }, _) => {
                if let Some(spec) = part.spec() {
                    guests::want_in(&mut tx, host, spec).await?;
                }
            }
            (_, None) | (Order::Destroy | Order::Snapshot { .. }, _) => {}
        }
        insert(&mut tx, host, order, request_id).await?;
        tx.commit().await.map_err(db_error)?;
        Ok(Recorded::New)
    }

    /// Opens an order of our own to remove a guest that was destroyed and is there again (or still).
    pub async fn sweep(&self, host: &str, server_id: &str) -> Result<()> {
        let mut tx = self.db().begin_write().await?;
        let Some(guest) = guests::get_in(&mut tx, host, server_id).await?.filter(|g| g.destroyed) else {
            return Ok(());
        };
        let order = AgentOrder {
            job_id: String::new(),
            server_id: server_id.to_owned(),
            generation: guest.generation,
            order: Order::Destroy,
        };
        insert(&mut tx, host, &order, None).await?;
        tx.commit().await.map_err(db_error)
    }

    /// The newest open order of a server. Older open ones are closed as superseded and returned beside it.
    pub async fn next(&self, host: &str, server_id: &str) -> Result<(Option<OrderRow>, Vec<OrderRow>)> {
        let rows = sqlx::query(
            "SELECT host, server_id, seq, generation, job_id, body, request_id, outcome FROM orders
             WHERE host = $1 AND server_id = $2 AND state = 'open' ORDER BY seq",
        )
        .bind(host)
        .bind(server_id)
        .fetch_all(self.db().reader())
        .await
        .map_err(db_error)?;
        let mut open = rows.iter().map(OrderRow::read).collect::<Result<Vec<_>>>()?;
        let newest = open.pop();
        for old in &mut open {
            self.close(old, &Outcome::Superseded).await?;
            old.outcome = Some(Outcome::Superseded);
        }
        Ok((newest, open))
    }

    /// Closes an order; its answer is due from now on.
    pub async fn close(&self, row: &OrderRow, outcome: &Outcome) -> Result<()> {
        let mut tx = self.db().begin_write().await?;
        sqlx::query(
            "UPDATE orders SET state = 'closed', outcome = $4, unsent = 1, closed_at = $5,
                 body = CASE WHEN verb IN ('set_password', 'rescue') THEN '' ELSE body END
             WHERE host = $1 AND server_id = $2 AND seq = $3",
        )
        .bind(&row.host)
        .bind(&row.server_id)
        .bind(row.seq)
        .bind(encode(outcome)?)
        .bind(Timestamp::now().0)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
        let guest = guests::get_in(&mut tx, &row.host, &row.server_id).await?;
        // A newer order decides about the guest; this one only ends.
        if guest.as_ref().is_some_and(|g| g.generation == row.generation) {
            let built = guest.is_some_and(|g| g.built);
            match (&row.order, outcome) {
                (Some(order), Outcome::Done { .. })
                    if builds(order) || matches!(order, Order::Rebuild { .. }) =>
                {
                    guests::built_in(&mut tx, &row.host, &row.server_id).await?;
                }
                (Some(order), Outcome::Failed { .. }) if builds(order) && !built => {
                    guests::gone_in(&mut tx, &row.host, &row.server_id, false).await?;
                }
                (Some(Order::Migrate { part: Part::Settle { .. } }), Outcome::Done { power }) => {
                    match power {
                        PowerState::NoState => {
                            guests::gone_in(&mut tx, &row.host, &row.server_id, false).await?;
                        }
                        _ => guests::built_in(&mut tx, &row.host, &row.server_id).await?,
                    }
                }
                (Some(Order::Migrate { part: Part::Receive { .. } }), Outcome::Failed { .. }) if !built => {
                    guests::gone_in(&mut tx, &row.host, &row.server_id, false).await?;
                }
                (Some(Order::Destroy), Outcome::Done { .. }) => {
                    guests::gone_in(&mut tx, &row.host, &row.server_id, true).await?;
                }
                _ => {}
            }
        }
        tx.commit().await.map_err(db_error)
    }

    /// Closes the open orders of a server that is not this host's any more, but for those that remove it; those closed.
    pub async fn void(&self, host: &str, server_id: &str) -> Result<Vec<OrderRow>> {
        let rows = sqlx::query(
            "SELECT host, server_id, seq, generation, job_id, body, request_id, outcome FROM orders
             WHERE host = $1 AND server_id = $2 AND state = 'open' AND verb <> 'destroy' ORDER BY seq",
        )
        .bind(host)
        .bind(server_id)
        .fetch_all(self.db().reader())
        .await
        .map_err(db_error)?;
        let open = rows.iter().map(OrderRow::read).collect::<Result<Vec<_>>>()?;
        for row in &open {
            self.close(row, &Outcome::Superseded).await?;
        }
        Ok(open)
    }

    /// The bus has the answer.
    pub async fn sent(&self, host: &str, server_id: &str, seq: i64) -> Result<()> {
        sqlx::query("UPDATE orders SET unsent = 0 WHERE host = $1 AND server_id = $2 AND seq = $3")
            .bind(host)
            .bind(server_id)
            .bind(seq)
            .execute(self.db().writer())
            .await
            .map_err(db_error)?;
        Ok(())
    }

    /// Closed orders whose answers the bus has not.
    pub async fn unsent(&self) -> Result<Vec<OrderRow>> {
        let rows = sqlx::query(
            "SELECT host, server_id, seq, generation, job_id, body, request_id, outcome FROM orders
             WHERE unsent = 1",
        )
        .fetch_all(self.db().reader())
        .await
        .map_err(db_error)?;
        rows.iter().map(OrderRow::read).collect()
    }

    /// Servers (host, id) with open orders.
    pub async fn busy(&self) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query("SELECT DISTINCT host, server_id FROM orders WHERE state = 'open'")
            .fetch_all(self.db().reader())
            .await
            .map_err(db_error)?;
        rows.iter()
            .map(|r| Ok((r.try_get("host").map_err(db_error)?, r.try_get("server_id").map_err(db_error)?)))
            .collect()
    }

    /// What became of the order of `generation` (of this job, if there are several).
    pub async fn outcome(
        &self,
        host: &str,
        server_id: &str,
        generation: i64,
        job_id: &str,
    ) -> Result<Outcome> {
        let rows = sqlx::query(
            "SELECT host, server_id, seq, generation, job_id, body, request_id, outcome FROM orders
             WHERE host = $1 AND server_id = $2 AND generation = $3 ORDER BY seq DESC",
        )
        .bind(host)
        .bind(server_id)
        .bind(generation)
        .fetch_all(self.db().reader())
        .await
        .map_err(db_error)?;
        let rows = rows.iter().map(OrderRow::read).collect::<Result<Vec<_>>>()?;
        let row = rows.iter().find(|r| r.job_id == job_id).or(rows.first());
        if let Some(row) = row {
            let detail = row.order.as_ref().map_or("unreadable", verb).to_owned();
            return Ok(row.outcome.clone().unwrap_or(Outcome::Working { detail }));
        }
        match self.guest(host, server_id).await? {
            Some(guest) if guest.generation > generation => Ok(Outcome::Superseded),
            _ => Ok(Outcome::Unknown),
        }
    }

    /// Whether the guest was ever built, and what is wanted of it.
    pub async fn spec(&self, host: &str, server_id: &str) -> Result<Option<(bool, GuestSpec)>> {
        Ok(self.guest(host, server_id).await?.and_then(|g| Some((g.built, g.spec?))))
    }
}
