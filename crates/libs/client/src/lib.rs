//! How our services call each other: own credentials, the catalog, and local verification of tokens.

mod service;
mod session;
mod verifier;

pub use service::{ServiceClient, answer_error, transport_error};
pub use session::Session;
pub use verifier::{LocalVerifier, PublicKey, PublicKeys, RevocationPage};
