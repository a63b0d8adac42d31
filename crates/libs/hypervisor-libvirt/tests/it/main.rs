//! The driver against a real libvirtd.
//!
//! | variable | |
//! |---|---|
//! | `FERROSTACK_TEST_LIBVIRT` | URI of a libvirtd, e.g. of `deploy/dev/libvirtd up DIR`; without it only definitions are tested |
//! | `FERROSTACK_TEST_LIBVIRT_STATE` | where guests' files go (default: a temporary directory); QEMU's user must be able to pass through it |
//! | `FERROSTACK_TEST_LIBVIRT_NETNS` | that libvirtd's network namespace (`deploy/dev/libvirtd netns DIR`), if it has its own |
//! | `FERROSTACK_TEST_LIBVIRT_DIR` | its DIR: restarts and hangs are tested too; needs `--test-threads=1` |
//! | `FERROSTACK_TEST_LIBVIRT_PEERS`, `FERROSTACK_TEST_LIBVIRT_PEER_URIS` | two libvirtds: guests move between them, see migrate.rs |
//! | `FERROSTACK_TEST_IMAGE` | a qcow2 with a Linux that asks for its metadata: a real guest is booted |

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod definitions;
mod life;
mod linux;
mod migrate;
mod networks;
mod properties;
mod rebuild;
mod rescue;
mod restart;
mod snapshots;
mod support;
