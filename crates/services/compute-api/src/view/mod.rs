//! Domain types as JSON at a microversion, one module a noun.
