//! How our services call each other.
