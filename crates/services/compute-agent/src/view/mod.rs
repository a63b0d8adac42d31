//! What a guest reads about itself: one view for the metadata service and the config drive.

pub mod ec2;
pub mod network_data;
pub mod openstack;

use base64::{Engine, engine::general_purpose::STANDARD};
use ferrostack_model::guest::GuestSpec;

/// Appended to host names without a domain, as Nova's `dhcp_domain`.
const DOMAIN: &str = "novalocal";

/// The guest's host name with a domain.
pub fn hostname(spec: &GuestSpec) -> String {
    match spec.hostname.contains('.') {
        true => spec.hostname.clone(),
        false => format!("{}.{DOMAIN}", spec.hostname),
    }
}

/// The user data as the guest sees them; none if there are none.
pub fn user_data(spec: &GuestSpec) -> Option<Vec<u8>> {
    let text = spec.user_data.as_deref()?;
    // Encoders wrap lines.
    let bare: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    match STANDARD.decode(bare) {
        Ok(bytes) => Some(bytes),
        // compute-api takes nothing else; should it, the guest gets what the client sent.
        Err(_) => Some(text.as_bytes().to_vec()),
    }
}
