//! The durable step machine.
