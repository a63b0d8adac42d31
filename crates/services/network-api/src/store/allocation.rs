//! Addresses in use: one row each, unique per subnet, and the cursor below which nothing is free.

use super::text;
use crate::{
    address::{Pool, after, from_key, key},
    error,
    store::subnet::Subnet,
};
use ferrostack_db::{
    Tx, db_error,
    sqlx::{self},
};
use ferrostack_model::{Error, Result, network::FixedIp};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Allocated addresses read at once when looking for a gap.
const WINDOW: i64 = 256;
/// A cursor beyond every address: sorts after hexadecimal digits.
const FULL: &str = "~";

/// Makes the cursor of a new subnet.
pub async fn insert_cursor(tx: &mut Tx, subnet_id: &str) -> Result<()> {
    sqlx::query("INSERT INTO allocation_cursor (subnet_id, next) VALUES ($1, '')")
        .bind(subnet_id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Removes the cursor of a subnet that goes; waits for whoever is allocating.
pub async fn delete_cursor(tx: &mut Tx, subnet_id: &str) -> Result<()> {
    sqlx::query("DELETE FROM allocation_cursor WHERE subnet_id = $1")
        .bind(subnet_id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Locks the addresses of a subnet until the end of the transaction; the cursor, `None` if the subnet is gone.
pub async fn lock(tx: &mut Tx, subnet_id: &str) -> Result<Option<String>> {
    let row = sqlx::query("UPDATE allocation_cursor SET next = next WHERE subnet_id = $1 RETURNING next")
        .bind(subnet_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    row.as_ref().map(|row| text(row, "next")).transpose()
}

/// Sets the cursor back to the beginning: after a change of the pools.
pub async fn rewind(tx: &mut Tx, subnet_id: &str) -> Result<()> {
    sqlx::query("UPDATE allocation_cursor SET next = '' WHERE subnet_id = $1")
        .bind(subnet_id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Whether any address of the subnet is in use.
pub async fn any(tx: &mut Tx, subnet_id: &str) -> Result<bool> {
    let row = sqlx::query("SELECT port_id FROM allocation WHERE subnet_id = $1 LIMIT 1")
        .bind(subnet_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    Ok(row.is_some())
}

/// The port that has `ip`.
pub async fn holder(tx: &mut Tx, subnet_id: &str, ip: IpAddr) -> Result<Option<String>> {
    let row = sqlx::query("SELECT port_id FROM allocation WHERE subnet_id = $1 AND ip = $2")
        .bind(subnet_id)
        .bind(key(ip))
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    row.as_ref().map(|row| text(row, "port_id")).transpose()
}

/// The ports that have `ip`, in any subnet.
pub async fn holders(db: &ferrostack_db::Db, ip: IpAddr) -> Result<Vec<String>> {
    let rows = sqlx::query(
        "SELECT a.port_id FROM subnet s JOIN allocation a ON a.subnet_id = s.id AND a.ip = $1 ORDER BY a.port_id",
    )
    .bind(key(ip))
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(|row| text(row, "port_id")).collect()
}

/// The subnets in which a port has addresses.
pub async fn subnets_of(tx: &mut Tx, port_id: &str) -> Result<BTreeSet<String>> {
    let rows = sqlx::query("SELECT subnet_id FROM allocation WHERE port_id = $1")
        .bind(port_id)
        .fetch_all(&mut **tx)
        .await
        .map_err(db_error)?;
    rows.iter().map(|row| text(row, "subnet_id")).collect()
}

/// Takes and gives back addresses in one transaction, with the subnets' locks held.
///
/// Locks are taken in the order of subnet ids and before any row of a port is written, so that two
/// transactions never wait for each other.
pub struct Allocator<'a> {
    tx: &'a mut Tx,
    /// Cursor by subnet id; `true` if it must be written back.
    cursors: BTreeMap<String, (String, bool)>,
}

impl<'a> Allocator<'a> {
    /// Locks `subnets`. One that is gone is left out, and taking from it fails.
    pub async fn lock(tx: &'a mut Tx, subnets: &BTreeSet<String>) -> Result<Self> {
        let mut cursors = BTreeMap::new();
        for id in subnets {
            if let Some(next) = lock(tx, id).await? {
                cursors.insert(id.clone(), (next, false));
            }
        }
        Ok(Self { tx, cursors })
    }

    /// The transaction, for the rows of the port itself.
    pub fn tx(&mut self) -> &mut Tx {
        self.tx
    }

    async fn insert(&mut self, subnet_id: &str, ip: IpAddr, port_id: &str) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO allocation (subnet_id, ip, port_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(subnet_id)
        .bind(key(ip))
        .bind(port_id)
        .execute(&mut **self.tx)
        .await
        .map_err(db_error)?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes one address. `Conflict` if it is in use.
    pub async fn take(&mut self, subnet: &Subnet, ip: IpAddr, port_id: &str) -> Result<FixedIp> {
        let taken = || {
            Error::conflict(format!("IP address {ip} already allocated in subnet {}.", subnet.id))
                .named("IpAddressAlreadyAllocated")
        };
        // Hosts give the gateway's address to their bridge.
        if subnet.gateway_ip == Some(ip) || !self.cursors.contains_key(&subnet.id) {
            return Err(taken());
        }
        if !self.insert(&subnet.id, ip, port_id).await? {
            return Err(taken());
        }
        Ok(FixedIp { subnet_id: subnet.id.clone(), ip_address: ip })
    }

    /// Takes the first free address of the subnet's pools; `None` if there is none.
    pub async fn take_any(&mut self, subnet: &Subnet, port_id: &str) -> Result<Option<FixedIp>> {
        let Some((next, _)) = self.cursors.get(&subnet.id) else { return Ok(None) };
        let next = next.clone();
        let mut pools = subnet.allocation_pools.clone();
        pools.sort_by_key(|p| key(p.start));
        for pool in pools {
            if key(pool.end) < next {
                continue;
            }
            let mut from = match from_key(&next) {
                Some(ip) if ip > pool.start => ip,
                _ => pool.start,
            };
            while let Some(ip) = self.first_gap(&subnet.id, Pool { start: from, end: pool.end }).await? {
                if self.insert(&subnet.id, ip, port_id).await? {
                    let beyond = after(ip).map_or_else(|| FULL.to_owned(), key);
                    self.cursors.insert(subnet.id.clone(), (beyond, true));
                    return Ok(Some(FixedIp { subnet_id: subnet.id.clone(), ip_address: ip }));
                }
                // Taken by name a moment ago.
                let Some(following) = after(ip).filter(|ip| *ip <= pool.end) else { break };
                from = following;
            }
        }
        self.cursors.insert(subnet.id.clone(), (FULL.into(), next != FULL));
        Ok(None)
    }

    /// The first address of `range` that has no row.
    async fn first_gap(&mut self, subnet_id: &str, range: Pool) -> Result<Option<IpAddr>> {
        let mut candidate = range.start;
        loop {
            let rows = sqlx::query(
                "SELECT ip FROM allocation WHERE subnet_id = $1 AND ip >= $2 AND ip <= $3 ORDER BY ip LIMIT $4",
            )
            .bind(subnet_id)
            .bind(key(candidate))
            .bind(key(range.end))
            .bind(WINDOW)
            .fetch_all(&mut **self.tx)
            .await
            .map_err(db_error)?;
            for row in &rows {
                if text(row, "ip")? != key(candidate) {
                    return Ok(Some(candidate));
                }
                match after(candidate).filter(|ip| *ip <= range.end) {
                    Some(following) => candidate = following,
                    None => return Ok(None),
                }
            }
            if i64::try_from(rows.len()).unwrap_or(i64::MAX) < WINDOW {
                return Ok(Some(candidate));
            }
        }
    }

    /// Gives one address of a port back.
    pub async fn release(&mut self, port_id: &str, ip: &FixedIp) -> Result<()> {
        let done = sqlx::query("DELETE FROM allocation WHERE subnet_id = $1 AND ip = $2 AND port_id = $3")
            .bind(&ip.subnet_id)
            .bind(key(ip.ip_address))
            .bind(port_id)
            .execute(&mut **self.tx)
            .await
            .map_err(db_error)?;
        if done.rows_affected() == 1 {
            self.freed(&ip.subnet_id, key(ip.ip_address));
        }
        Ok(())
    }

    /// Gives every address of a port back.
    pub async fn release_all(&mut self, port_id: &str) -> Result<()> {
        let rows = sqlx::query("DELETE FROM allocation WHERE port_id = $1 RETURNING subnet_id, ip")
            .bind(port_id)
            .fetch_all(&mut **self.tx)
            .await
            .map_err(db_error)?;
        for row in &rows {
            let (subnet_id, freed) = (text(row, "subnet_id")?, text(row, "ip")?);
            if !self.cursors.contains_key(&subnet_id)
                && let Some(next) = lock(self.tx, &subnet_id).await?
            {
                // Got an address there after we asked which subnets to lock.
                self.cursors.insert(subnet_id.clone(), (next, false));
            }
            self.freed(&subnet_id, freed);
        }
        Ok(())
    }

    fn freed(&mut self, subnet_id: &str, freed: String) {
        if let Some((next, changed)) = self.cursors.get_mut(subnet_id)
            && *next > freed
        {
            (*next, *changed) = (freed, true);
        }
    }

    /// Writes the cursors back. Must be the last call; without it (an error) the transaction is rolled back.
    pub async fn finish(self) -> Result<()> {
        for (id, (next, changed)) in &self.cursors {
            if *changed {
                sqlx::query("UPDATE allocation_cursor SET next = $2 WHERE subnet_id = $1")
                    .bind(id)
                    .bind(next)
                    .execute(&mut **self.tx)
                    .await
                    .map_err(db_error)?;
            }
        }
        Ok(())
    }
}

/// A wanted address of a port, as the client gave it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Wanted {
    /// From this subnet.
    #[serde(default)]
    pub subnet_id: Option<String>,
    /// This one.
    #[serde(default)]
    pub ip_address: Option<IpAddr>,
}

/// The subnet that a wanted address is of; 400 if there is none on the network.
pub fn subnet_for<'s>(wanted: &Wanted, subnets: &'s [Subnet], network_id: &str) -> Result<&'s Subnet> {
    let fits = |s: &Subnet, ip: IpAddr| s.cidr.contains(&ip) && crate::address::hosts(&s.cidr).contains(ip);
    match (&wanted.subnet_id, wanted.ip_address) {
        (Some(id), ip) => {
            let subnet = subnets.iter().find(|s| s.id == *id).ok_or_else(|| {
                crate::attribute::invalid_input(format!(
                    "Failed to create port on network {network_id}, because fixed_ips included invalid subnet {id}"
                ))
            })?;
            match ip {
                Some(ip) if !fits(subnet, ip) => Err(error::invalid_ip_for_subnet(ip)),
                _ => Ok(subnet),
            }
        }
        (None, Some(ip)) => {
            subnets.iter().find(|s| fits(s, ip)).ok_or_else(|| error::invalid_ip_for_network(ip))
        }
        (None, None) => Err(Error::internal("a wanted address without subnet and address passed its check")),
    }
}
