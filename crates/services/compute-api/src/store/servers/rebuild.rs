//! What a rebuild changes of a server's row.

use super::{Inputs, Server, encode};
use ferrostack_db::{Tx, db_error, sqlx};
use ferrostack_model::{
    Result, Timestamp,
    image::ImageSource,
    server::{PowerState, VmState},
};
use serde::{Deserialize, Serialize};

/// What a server boots from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// The root disk's image.
    pub image: ImageSource,
    /// Of a direct boot.
    pub kernel: Option<ImageSource>,
    /// Of a direct boot.
    pub ramdisk: Option<ImageSource>,
}

impl Boot {
    /// That of a server.
    pub fn of(server: &Server) -> Self {
        Self { image: server.image.clone(), kernel: server.kernel.clone(), ramdisk: server.ramdisk.clone() }
    }
}

/// Writes what a rebuild may change: everything a user says of a server, and what it boots from. The row is locked.
pub async fn write(tx: &mut Tx, s: &Server) -> Result<()> {
    sqlx::query(
        "UPDATE servers SET display_name = $2, hostname = $3, description = $4, key_name = $5, public_key = $6,
             access_ip_v4 = $7, access_ip_v6 = $8, metadata = $9, trusted_certs = $10, disk_config = $11, progress = 0,
             updated_at = $12, generation = generation + 1
         WHERE id = $1",
    )
    .bind(&s.id)
    .bind(&s.display_name)
    .bind(&s.hostname)
    .bind(&s.description)
    .bind(&s.key_name)
    .bind(&s.public_key)
    .bind(&s.access_ip_v4)
    .bind(&s.access_ip_v6)
    .bind(encode(&s.metadata)?)
    .bind(s.trusted_certs.as_ref().map(encode).transpose()?)
    .bind(&s.disk_config)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    boot_from(tx, &s.id, &Boot::of(s)).await
}

/// Says what a server boots from.
pub async fn boot_from(tx: &mut Tx, id: &str, boot: &Boot) -> Result<()> {
    sqlx::query(
        "UPDATE servers SET image_id = $2, image = $3, kernel = $4, ramdisk = $5, generation = generation + 1
         WHERE id = $1",
    )
    .bind(id)
    .bind(&boot.image.id)
    .bind(encode(&boot.image)?)
    .bind(boot.kernel.as_ref().map(encode).transpose()?)
    .bind(boot.ramdisk.as_ref().map(encode).transpose()?)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Writes what the guest is made from anew.
pub async fn write_inputs(tx: &mut Tx, id: &str, inputs: &Inputs) -> Result<()> {
    let personality = (!inputs.personality.is_empty()).then(|| encode(&inputs.personality)).transpose()?;
    sqlx::query(
        "UPDATE server_inputs SET user_data = $2, personality = $3, admin_pass = $4 WHERE server_id = $1",
    )
    .bind(id)
    .bind(&inputs.user_data)
    .bind(personality)
    .bind(inputs.admin_pass.as_ref().map(|p| &p.0))
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// The guest was made anew: it is in `vm_state`, and launched now.
pub async fn done(tx: &mut Tx, id: &str, vm_state: VmState, power: PowerState) -> Result<()> {
    sqlx::query(
        "UPDATE servers SET vm_state = $2, task_state = NULL, power_state = $3, power_at = $4, launched_at = $4,
             updated_at = $4, generation = generation + 1, fault_code = NULL, fault_message = NULL,
             fault_details = NULL, fault_private = NULL, fault_at = NULL
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(vm_state.as_str())
    .bind(power.code())
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    super::change::forget_secrets(tx, id).await
}
