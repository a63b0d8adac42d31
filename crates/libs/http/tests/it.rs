//! The edge in front of a small service, over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod it {
    mod service_token;
}
