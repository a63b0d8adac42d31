//! Nova v2.1.
