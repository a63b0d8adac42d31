//! All SQL of guests and their addresses.

use super::Ledger;
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{
    Error, Result, Timestamp,
    guest::{GuestSpec, WantedPower},
};
use std::{collections::HashSet, net::IpAddr};

/// A guest as wanted.
#[derive(Clone, Debug)]
pub struct GuestRow {
    /// Newest generation ordered.
    pub generation: i64,
    /// What is wanted; none if there is no guest or the record cannot be read.
    pub spec: Option<GuestSpec>,
    /// Whether an ensure has succeeded.
    pub built: bool,
    /// Whether it was destroyed.
    pub destroyed: bool,
    /// What the guest posted as its password.
    pub password: String,
}

impl GuestRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let spec: Option<String> = row.try_get("spec").map_err(db_error)?;
        let destroyed_at: Option<i64> = row.try_get("destroyed_at").map_err(db_error)?;
        Ok(Self {
            generation: row.try_get("generation").map_err(db_error)?,
            spec: spec.as_deref().and_then(read_spec),
            built: row.try_get::<i64, _>("built").map_err(db_error)? != 0,
            destroyed: destroyed_at.is_some(),
            password: row.try_get("password").map_err(db_error)?,
        })
    }
}

/// One unreadable record must not stop the agent.
fn read_spec(text: &str) -> Option<GuestSpec> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::error!(%error, "a guest's record in the ledger cannot be read"))
        .ok()
}

const COLUMNS: &str = "SELECT generation, spec, built, destroyed_at, password FROM guests
    WHERE host = $1 AND server_id = $2";

/// The guest within a transaction.
pub(super) async fn get_in(tx: &mut Tx, host: &str, server_id: &str) -> Result<Option<GuestRow>> {
    let row =
        sqlx::query(COLUMNS).bind(host).bind(server_id).fetch_optional(&mut **tx).await.map_err(db_error)?;
    row.as_ref().map(GuestRow::read).transpose()
}

/// Notes the newest generation of a guest.
pub(super) async fn raise_in(tx: &mut Tx, host: &str, server_id: &str, generation: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO guests (host, server_id, generation, built, password) VALUES ($1, $2, $3, 0, '')
         ON CONFLICT (host, server_id) DO UPDATE SET generation = excluded.generation",
    )
    .bind(host)
    .bind(server_id)
    .bind(generation)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(())
}

/// Notes what is wanted of a guest and its addresses; takes a tombstone away.
pub(super) async fn want_in(tx: &mut Tx, host: &str, spec: &GuestSpec) -> Result<()> {
    let text = serde_json::to_string(spec).map_err(|e| Error::internal(format!("encoding a guest: {e}")))?;
    sqlx::query("UPDATE guests SET spec = $3, destroyed_at = NULL WHERE host = $1 AND server_id = $2")
        .bind(host)
        .bind(&spec.server_id)
        .bind(text)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    forget_addresses(tx, host, &spec.server_id).await?;
    for ip in spec.nics.iter().flat_map(|n| &n.fixed_ips) {
        sqlx::query(
            "INSERT INTO addresses (address, host, server_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(ip.ip_address.to_canonical().to_string())
        .bind(host)
        .bind(&spec.server_id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    }
    Ok(())
}

/// Notes the power that is wanted from now on.
pub(super) async fn power_in(tx: &mut Tx, host: &str, mut spec: GuestSpec, power: WantedPower) -> Result<()> {
    if spec.power == power {
        return Ok(());
    }
    spec.power = power;
    want_in(tx, host, &spec).await
}

/// Notes that the guest stands.
pub(super) async fn built_in(tx: &mut Tx, host: &str, server_id: &str) -> Result<()> {
    sqlx::query("UPDATE guests SET built = 1 WHERE host = $1 AND server_id = $2")
        .bind(host)
        .bind(server_id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    Ok(())
}

/// Notes that there is no guest, with a tombstone if it was `destroyed` (and not merely never built).
pub(super) async fn gone_in(tx: &mut Tx, host: &str, server_id: &str, destroyed: bool) -> Result<()> {
    sqlx::query(
        "UPDATE guests SET spec = NULL, built = 0, password = '', destroyed_at = $3
         WHERE host = $1 AND server_id = $2",
    )
    .bind(host)
    .bind(server_id)
    .bind(destroyed.then(|| Timestamp::now().0))
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    forget_addresses(tx, host, server_id).await
}

async fn forget_addresses(tx: &mut Tx, host: &str, server_id: &str) -> Result<()> {
    sqlx::query("DELETE FROM addresses WHERE host = $1 AND server_id = $2")
        .bind(host)
        .bind(server_id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    Ok(())
}

pub(super) async fn prune(db: &Db, before: Timestamp) -> Result<()> {
    sqlx::query("DELETE FROM guests WHERE destroyed_at < $1")
        .bind(before.0)
        .execute(db.writer())
        .await
        .map_err(db_error)?;
    Ok(())
}

impl Ledger {
    /// The guest.
    pub async fn guest(&self, host: &str, server_id: &str) -> Result<Option<GuestRow>> {
        let row = sqlx::query(COLUMNS)
            .bind(host)
            .bind(server_id)
            .fetch_optional(self.db().reader())
            .await
            .map_err(db_error)?;
        row.as_ref().map(GuestRow::read).transpose()
    }

    /// The guests (host, server id) that have `address`.
    pub async fn guests_at(&self, address: IpAddr) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query("SELECT host, server_id FROM addresses WHERE address = $1")
            .bind(address.to_canonical().to_string())
            .fetch_all(self.db().reader())
            .await
            .map_err(db_error)?;
        rows.iter()
            .map(|r| Ok((r.try_get("host").map_err(db_error)?, r.try_get("server_id").map_err(db_error)?)))
            .collect()
    }

    /// What is wanted of every guest of every host of this agent.
    pub async fn wanted(&self) -> Result<Vec<GuestSpec>> {
        let rows = sqlx::query("SELECT spec FROM guests WHERE spec IS NOT NULL")
            .fetch_all(self.db().reader())
            .await
            .map_err(db_error)?;
        let mut specs = Vec::new();
        for row in rows {
            specs.extend(read_spec(row.try_get("spec").map_err(db_error)?));
        }
        Ok(specs)
    }

    /// Servers of `host` that were destroyed of late, with their generation.
    pub async fn destroyed(&self, host: &str) -> Result<HashSet<String>> {
        let rows = sqlx::query("SELECT server_id FROM guests WHERE host = $1 AND destroyed_at IS NOT NULL")
            .bind(host)
            .fetch_all(self.db().reader())
            .await
            .map_err(db_error)?;
        rows.iter().map(|r| r.try_get("server_id").map_err(db_error)).collect()
    }

    /// Forgets what the guest posted as its password: it may post another.
    pub async fn forget_password(&self, host: &str, server_id: &str) -> Result<()> {
        sqlx::query("UPDATE guests SET password = '' WHERE host = $1 AND server_id = $2")
            .bind(host)
            .bind(server_id)
            .execute(self.db().writer())
            .await
            .map(|_| ())
            .map_err(db_error)
    }

    /// Keeps what the guest posted as its password; `false` if it has posted one before.
    pub async fn set_password(&self, host: &str, server_id: &str, password: &str) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE guests SET password = $3 WHERE host = $1 AND server_id = $2 AND password = ''
             AND spec IS NOT NULL",
        )
        .bind(host)
        .bind(server_id)
        .bind(password)
        .execute(self.db().writer())
        .await
        .map_err(db_error)?;
        Ok(done.rows_affected() == 1)
    }
}
