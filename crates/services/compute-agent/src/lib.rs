//! Runs guests on its host.
