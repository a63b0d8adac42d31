//! A server that changes hosts.

use super::Server;
use crate::store::claims::Want;
use ferrostack_db::{Tx, db_error, sqlx};
use ferrostack_model::{Result, Timestamp, auth::Secret, server::PowerState};

/// Where a server is from now on.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The service host.
    pub host: &'a str,
    /// The hypervisor's name of it.
    pub node: &'a str,
    /// Its zone.
    pub zone: &'a str,
}

/// Puts a server that is on `from` on another host, whatever is being done with it; whether it was there.
pub async fn moved(tx: &mut Tx, id: &str, from: &str, to: To<'_>, power: PowerState) -> Result<bool> {
    sqlx::query(
        "UPDATE servers SET host = $3, node = $4, availability_zone = $5, power_state = $6, power_at = $7,
             updated_at = $7, generation = generation + 1
         WHERE id = $1 AND host = $2 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(from)
    .bind(to.host)
    .bind(to.node)
    .bind(to.zone)
    .bind(power.code())
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected() > 0)
    .map_err(db_error)
}

impl Server {
    /// What it takes of a host.
    pub fn want(&self) -> Want {
        Want {
            vcpus: i64::from(self.flavor.vcpus),
            memory_mb: i64::try_from(self.flavor.ram_mb).unwrap_or(i64::MAX),
            local_gb: self.disk_gb(),
        }
    }
}

/// Keeps a new admin password until the guest is made anew; it goes with [`super::change::forget_secrets`].
pub async fn set_admin_pass(tx: &mut Tx, id: &str, password: &Secret) -> Result<()> {
    sqlx::query("UPDATE server_inputs SET admin_pass = $2 WHERE server_id = $1")
        .bind(id)
        .bind(&password.0)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}
