//! The driver against a real libvirtd.
//!
//! Runs where `FERROSTACK_TEST_LIBVIRT` holds a URI, e.g. of `deploy/dev/libvirtd up DIR`; else it passes without
//! having tested. `FERROSTACK_TEST_LIBVIRT_STATE` may name the directory for guests' files (default: a temporary one).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod definitions;
mod life;
mod linux;
mod networks;
mod restart;
mod support;
