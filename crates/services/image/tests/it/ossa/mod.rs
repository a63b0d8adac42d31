//! What has gone wrong elsewhere, tried on this service; `docs/security-image.md` is the list.

mod access;
mod answers;
mod inputs;
mod races;
mod secrets;
