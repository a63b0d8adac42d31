//! Ports.

use super::{encode, flag, json, number, text, time};
use ferrostack_db::{
    Change, Db, Tx, db_error, is_foreign_key_violation,
    sqlx::{self, any::AnyRow},
};
use ferrostack_model::{Result, Timestamp, network::FixedIp};
use serde_json::Value;

/// An interface on a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// UUID.
    pub id: String,
    /// The network it is on.
    pub network_id: String,
    /// Owner.
    pub project_id: String,
    /// Name, not unique.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Unique on the network.
    pub mac_address: String,
    /// Whether it is meant to work.
    pub admin_state_up: bool,
    /// What uses it: a server's id.
    pub device_id: String,
    /// Kind of what uses it: `compute:nova`.
    pub device_owner: String,
    /// Host that realises it; empty while unbound.
    pub binding_host: String,
    /// Kind of interface.
    pub vnic_type: String,
    /// Data of whoever binds it.
    pub binding_profile: Value,
    /// False while nothing filters: no security groups, no protection against foreign addresses.
    pub port_security_enabled: bool,
    /// Host label.
    pub dns_name: String,
    /// Its addresses.
    pub fixed_ips: Vec<FixedIp>,
    /// Tags.
    pub tags: Vec<String>,
    /// Made.
    pub created_at: Timestamp,
    /// Last changed.
    pub updated_at: Timestamp,
    /// Raised by every change; `revision_number`.
    pub generation: i64,
    /// Owner of the network; read only.
    pub network_project_id: String,
    /// Whether the network is shared; read only.
    pub network_shared: bool,
    /// DNS domain of the network; read only.
    pub network_dns_domain: String,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT p.id, p.network_id, p.project_id, p.name, p.description, p.mac_address, p.admin_state_up,
                    p.device_id, p.device_owner, p.binding_host, p.vnic_type, p.binding_profile,
                    p.port_security_enabled, p.dns_name, p.fixed_ips, p.tags, p.created_at, p.updated_at, p.generation,
                    n.project_id AS network_project_id, n.shared AS network_shared, n.dns_domain AS network_dns_domain
             FROM port p JOIN network n ON n.id = p.network_id ",
            $tail
        )
    };
}

/// Which ports a list looks at.
#[derive(Clone, Debug)]
pub enum Scope<'a> {
    /// By id.
    Id(&'a str),
    /// Of a device.
    Device(&'a str),
    /// By MAC address.
    Mac(&'a str),
    /// Of a network.
    Network(&'a str),
    /// Of a project and of its networks.
    Visible(&'a str),
    /// All.
    All,
}

fn read(row: &AnyRow) -> Result<Port> {
    Ok(Port {
        id: text(row, "id")?,
        network_id: text(row, "network_id")?,
        project_id: text(row, "project_id")?,
        name: text(row, "name")?,
        description: text(row, "description")?,
        mac_address: text(row, "mac_address")?,
        admin_state_up: flag(row, "admin_state_up")?,
        device_id: text(row, "device_id")?,
        device_owner: text(row, "device_owner")?,
        binding_host: text(row, "binding_host")?,
        vnic_type: text(row, "vnic_type")?,
        binding_profile: json(row, "binding_profile")?,
        port_security_enabled: flag(row, "port_security_enabled")?,
        dns_name: text(row, "dns_name")?,
        fixed_ips: json(row, "fixed_ips")?,
        tags: json(row, "tags")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        generation: number(row, "generation")?,
        network_project_id: text(row, "network_project_id")?,
        network_shared: flag(row, "network_shared")?,
        network_dns_domain: text(row, "network_dns_domain")?,
    })
}

/// Inserts without addresses; `false` if the MAC address or the client's key is in use.
/// `NotFound` if the network is gone.
pub async fn insert(tx: &mut Tx, p: &Port, client_key: Option<&str>) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO port (id, network_id, project_id, name, description, mac_address, admin_state_up, device_id,
                           device_owner, binding_host, vnic_type, binding_profile, port_security_enabled, dns_name,
                           fixed_ips, tags, client_key, created_at, updated_at, generation)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
         ON CONFLICT DO NOTHING",
    )
    .bind(&p.id)
    .bind(&p.network_id)
    .bind(&p.project_id)
    .bind(&p.name)
    .bind(&p.description)
    .bind(&p.mac_address)
    .bind(i64::from(p.admin_state_up))
    .bind(&p.device_id)
    .bind(&p.device_owner)
    .bind(&p.binding_host)
    .bind(&p.vnic_type)
    .bind(encode(&p.binding_profile)?)
    .bind(i64::from(p.port_security_enabled))
    .bind(&p.dns_name)
    .bind(encode(&p.fixed_ips)?)
    .bind(encode(&p.tags)?)
    .bind(client_key)
    .bind(p.created_at.0)
    .bind(p.updated_at.0)
    .bind(p.generation)
    .execute(&mut **tx)
    .await;
    match done {
        Ok(done) => Ok(done.rows_affected() == 1),
        Err(e) if is_foreign_key_violation(&e) => Err(crate::error::network_not_found(&p.network_id)),
        Err(e) => Err(db_error(e)),
    }
}

/// Writes the addresses of a port that was inserted in the same transaction.
pub async fn set_fixed_ips(tx: &mut Tx, id: &str, fixed_ips: &[FixedIp]) -> Result<()> {
    sqlx::query("UPDATE port SET fixed_ips = $2 WHERE id = $1")
        .bind(id)
        .bind(encode(fixed_ips)?)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// The port `id`.
pub async fn get(db: &Db, id: &str) -> Result<Option<Port>> {
    if !super::storable(id) {
        return Ok(None);
    }
    let row = sqlx::query(select!("WHERE p.id = $1")).bind(id).fetch_optional(db.reader()).await;
    row.map_err(db_error)?.as_ref().map(read).transpose()
}

/// The port that was created with the client's key.
pub async fn by_client_key(db: &Db, key: &str) -> Result<Option<Port>> {
    let row = sqlx::query(select!("WHERE p.client_key = $1")).bind(key).fetch_optional(db.reader()).await;
    row.map_err(db_error)?.as_ref().map(read).transpose()
}

/// Whether the client's key is in use, as a transaction sees it.
pub async fn key_in_use(tx: &mut Tx, key: &str) -> Result<bool> {
    let row =
        sqlx::query("SELECT id FROM port WHERE client_key = $1").bind(key).fetch_optional(&mut **tx).await;
    Ok(row.map_err(db_error)?.is_some())
}

/// The ports of `scope`.
pub async fn list(db: &Db, scope: &Scope<'_>) -> Result<Vec<Port>> {
    let query = match scope {
        Scope::Id(id) => sqlx::query(select!("WHERE p.id = $1")).bind(*id),
        Scope::Device(id) => sqlx::query(select!("WHERE p.device_id = $1 ORDER BY p.id")).bind(*id),
        Scope::Mac(mac) => sqlx::query(select!("WHERE p.mac_address = $1 ORDER BY p.id")).bind(*mac),
        Scope::Network(id) => sqlx::query(select!("WHERE p.network_id = $1 ORDER BY p.id")).bind(*id),
        Scope::Visible(project) => {
            sqlx::query(select!("WHERE p.project_id = $1 OR n.project_id = $1 ORDER BY p.id")).bind(*project)
        }
        Scope::All => sqlx::query(select!("ORDER BY p.id")),
    };
    query.fetch_all(db.reader()).await.map_err(db_error)?.iter().map(read).collect()
}

/// Writes `p` over the row that still has `p.generation`, and raises the generation.
/// `None` if another port of the network has the MAC address.
pub async fn update(tx: &mut Tx, p: &Port) -> Result<Option<Change>> {
    let done = sqlx::query(
        "UPDATE port SET name = $3, description = $4, mac_address = $5, admin_state_up = $6, device_id = $7,
                device_owner = $8, binding_host = $9, vnic_type = $10, binding_profile = $11,
                port_security_enabled = $12, dns_name = $13, fixed_ips = $14, tags = $15, updated_at = $16,
                generation = generation + 1
         WHERE id = $1 AND generation = $2",
    )
    .bind(&p.id)
    .bind(p.generation)
    .bind(&p.name)
    .bind(&p.description)
    .bind(&p.mac_address)
    .bind(i64::from(p.admin_state_up))
    .bind(&p.device_id)
    .bind(&p.device_owner)
    .bind(&p.binding_host)
    .bind(&p.vnic_type)
    .bind(encode(&p.binding_profile)?)
    .bind(i64::from(p.port_security_enabled))
    .bind(&p.dns_name)
    .bind(encode(&p.fixed_ips)?)
    .bind(encode(&p.tags)?)
    .bind(p.updated_at.0)
    .execute(&mut **tx)
    .await;
    match done {
        Ok(done) if done.rows_affected() == 1 => Ok(Some(Change::Updated)),
        Ok(_) => Ok(Some(Change::Stale)),
        Err(e) if ferrostack_db::is_unique_violation(&e) => Ok(None),
        Err(e) => Err(db_error(e)),
    }
}

/// Deletes the port's row; its addresses must have been released before. `Stale` if it got one since.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<Change> {
    match sqlx::query("DELETE FROM port WHERE id = $1").bind(id).execute(&mut **tx).await {
        Ok(done) if done.rows_affected() == 1 => Ok(Change::Updated),
        Ok(_) => Ok(Change::Missing),
        Err(e) if is_foreign_key_violation(&e) => Ok(Change::Stale),
        Err(e) => Err(db_error(e)),
    }
}
