//! Subnets.

use super::{encode, flag, json, number, optional, text, time};
use crate::address::Pool;
use ferrostack_db::{
    Change, Db, Tx, db_error, is_foreign_key_violation,
    sqlx::{self, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A route handed to guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    /// Where to.
    pub destination: IpNet,
    /// By way of.
    pub nexthop: IpAddr,
}

/// A range of addresses on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
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
    /// The range.
    pub cidr: IpNet,
    /// The router's address; hosts give it to their bridge.
    pub gateway_ip: Option<IpAddr>,
    /// Whether guests get their address by DHCP.
    pub enable_dhcp: bool,
    /// Where addresses are taken from, in this order.
    pub allocation_pools: Vec<Pool>,
    /// Name servers handed to guests.
    pub dns_nameservers: Vec<IpAddr>,
    /// Routes handed to guests.
    pub host_routes: Vec<HostRoute>,
    /// Kept as given; addresses are allocated from the pools whatever it says.
    pub ipv6_ra_mode: Option<String>,
    /// Kept as given; addresses are allocated from the pools whatever it says.
    pub ipv6_address_mode: Option<String>,
    /// Device owners whose ports get addresses here unasked; empty for all that no other subnet is meant for.
    pub service_types: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Made.
    pub created_at: Timestamp,
    /// Last changed.
    pub updated_at: Timestamp,
    /// Raised by every change; `revision_number`.
    pub generation: i64,
}

impl Subnet {
    /// 4 or 6.
    pub fn ip_version(&self) -> i64 {
        if matches!(self.cidr, IpNet::V4(_)) { 4 } else { 6 }
    }
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, network_id, project_id, name, description, cidr, gateway_ip, enable_dhcp, allocation_pools,
                    dns_nameservers, host_routes, ipv6_ra_mode, ipv6_address_mode, service_types, tags, created_at,
                    updated_at, generation FROM subnet ",
            $tail
        )
    };
}

/// Which subnets a list looks at.
#[derive(Clone, Debug)]
pub enum Scope<'a> {
    /// By id.
    Id(&'a str),
    /// Of a network.
    Network(&'a str),
    /// Of a project, of its networks, and of shared networks.
    Visible(&'a str),
    /// All.
    All,
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|e| Error::internal(format!("stored address {text}: {e}")))
}

fn read(row: &AnyRow) -> Result<Subnet> {
    let cidr = text(row, "cidr")?;
    Ok(Subnet {
        id: text(row, "id")?,
        network_id: text(row, "network_id")?,
        project_id: text(row, "project_id")?,
        name: text(row, "name")?,
        description: text(row, "description")?,
        cidr: cidr.parse().map_err(|e| Error::internal(format!("stored prefix {cidr}: {e}")))?,
        gateway_ip: optional(row, "gateway_ip")?.as_deref().map(address).transpose()?,
        enable_dhcp: flag(row, "enable_dhcp")?,
        allocation_pools: json(row, "allocation_pools")?,
        dns_nameservers: json(row, "dns_nameservers")?,
        host_routes: json(row, "host_routes")?,
        ipv6_ra_mode: optional(row, "ipv6_ra_mode")?,
        ipv6_address_mode: optional(row, "ipv6_address_mode")?,
        service_types: json(row, "service_types")?,
        tags: json(row, "tags")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        generation: number(row, "generation")?,
    })
}

/// Inserts with its cursor. `NotFound` if the network is gone.
pub async fn insert(tx: &mut Tx, s: &Subnet) -> Result<()> {
    let done = sqlx::query(
        "INSERT INTO subnet (id, network_id, project_id, name, description, ip_version, cidr, gateway_ip, enable_dhcp,
                             allocation_pools, dns_nameservers, host_routes, ipv6_ra_mode, ipv6_address_mode,
                             service_types, tags, created_at, updated_at, generation)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(&s.id)
    .bind(&s.network_id)
    .bind(&s.project_id)
    .bind(&s.name)
    .bind(&s.description)
    .bind(s.ip_version())
    .bind(s.cidr.to_string())
    .bind(s.gateway_ip.map(|ip| ip.to_string()))
    .bind(i64::from(s.enable_dhcp))
    .bind(encode(&s.allocation_pools)?)
    .bind(encode(&s.dns_nameservers)?)
    .bind(encode(&s.host_routes)?)
    .bind(&s.ipv6_ra_mode)
    .bind(&s.ipv6_address_mode)
    .bind(encode(&s.service_types)?)
    .bind(encode(&s.tags)?)
    .bind(s.created_at.0)
    .bind(s.updated_at.0)
    .bind(s.generation)
    .execute(&mut **tx)
    .await;
    match done {
        Ok(_) => super::allocation::insert_cursor(tx, &s.id).await,
        Err(e) if is_foreign_key_violation(&e) => Err(crate::error::network_not_found(&s.network_id)),
        Err(e) => Err(db_error(e)),
    }
}

/// The subnet `id`.
pub async fn get(db: &Db, id: &str) -> Result<Option<Subnet>> {
    if !super::storable(id) {
        return Ok(None);
    }
    let row = sqlx::query(select!("WHERE id = $1")).bind(id).fetch_optional(db.reader()).await;
    row.map_err(db_error)?.as_ref().map(read).transpose()
}

/// The subnets of a network, oldest first, as a transaction sees them.
pub async fn of_network(tx: &mut Tx, network_id: &str) -> Result<Vec<Subnet>> {
    let rows = sqlx::query(select!("WHERE network_id = $1 ORDER BY created_at, id"))
        .bind(network_id)
        .fetch_all(&mut **tx)
        .await;
    rows.map_err(db_error)?.iter().map(read).collect()
}

/// The subnets of `scope`.
pub async fn list(db: &Db, scope: &Scope<'_>) -> Result<Vec<Subnet>> {
    let query = match scope {
        Scope::Id(id) => sqlx::query(select!("WHERE id = $1")).bind(*id),
        Scope::Network(id) => {
            sqlx::query(select!("WHERE network_id = $1 ORDER BY created_at, id")).bind(*id)
        }
        Scope::Visible(project) => sqlx::query(select!(
            "WHERE project_id = $1 OR network_id IN (SELECT id FROM network WHERE project_id = $1 OR shared = 1)
             ORDER BY id"
        ))
        .bind(*project),
        Scope::All => sqlx::query(select!("ORDER BY id")),
    };
    query.fetch_all(db.reader()).await.map_err(db_error)?.iter().map(read).collect()
}

/// Pairs of network and subnet id, oldest subnet first: of one network or of all.
pub async fn ids(db: &Db, network_id: Option<&str>) -> Result<Vec<(String, String)>> {
    let query = match network_id {
        Some(id) => {
            sqlx::query("SELECT network_id, id FROM subnet WHERE network_id = $1 ORDER BY created_at, id")
                .bind(id)
        }
        None => sqlx::query("SELECT network_id, id FROM subnet ORDER BY created_at, id"),
    };
    let rows = query.fetch_all(db.reader()).await.map_err(db_error)?;
    rows.iter().map(|row| Ok((text(row, "network_id")?, text(row, "id")?))).collect()
}

/// Writes `s` over the row that still has `s.generation`, and raises the generation.
pub async fn update(tx: &mut Tx, s: &Subnet) -> Result<Change> {
    let done = sqlx::query(
        "UPDATE subnet SET name = $3, description = $4, cidr = $5, gateway_ip = $6, enable_dhcp = $7,
                allocation_pools = $8, dns_nameservers = $9, host_routes = $10, service_types = $11, tags = $12,
                updated_at = $13, generation = generation + 1
         WHERE id = $1 AND generation = $2",
    )
    .bind(&s.id)
    .bind(s.generation)
    .bind(&s.name)
    .bind(&s.description)
    .bind(s.cidr.to_string())
    .bind(s.gateway_ip.map(|ip| ip.to_string()))
    .bind(i64::from(s.enable_dhcp))
    .bind(encode(&s.allocation_pools)?)
    .bind(encode(&s.dns_nameservers)?)
    .bind(encode(&s.host_routes)?)
    .bind(encode(&s.service_types)?)
    .bind(encode(&s.tags)?)
    .bind(s.updated_at.0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(if done.rows_affected() == 1 { Change::Updated } else { Change::Stale })
}

/// Deletes; `Conflict` if addresses are allocated. Whether there was such a subnet.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool> {
    super::allocation::delete_cursor(tx, id).await?;
    match sqlx::query("DELETE FROM subnet WHERE id = $1").bind(id).execute(&mut **tx).await {
        Ok(done) => Ok(done.rows_affected() == 1),
        Err(e) if is_foreign_key_violation(&e) => Err(Error::conflict(format!(
            "Unable to complete operation on subnet {id}: One or more ports have an IP allocation from this subnet."
        ))
        .named("SubnetInUse")),
        Err(e) => Err(db_error(e)),
    }
}
