//! TestCloud: every service in one process for tests.
