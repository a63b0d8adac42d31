//! Keystone v3.
