//! Lists of servers.
