//! How our services call each other: own credentials, the catalog, and local verification of tokens.

mod feed;
mod process;
mod service;
mod session;
mod signature;
mod upload;
mod verified;
mod verifier;

pub use feed::verifier;
pub use process::{Process, startup};
pub use service::{ServiceClient, answer_error, transport_error};
pub use session::Session;
pub use signature::{is_lower, lower};
pub use upload::{ImageRecord, image_has, image_record, upload_image};
pub use verified::{Verified, VerifiedToken};
pub use verifier::{LocalVerifier, PublicKey, PublicKeys, RevocationPage};
