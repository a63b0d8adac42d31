//! The libvirt driver: the only crate that links C.
