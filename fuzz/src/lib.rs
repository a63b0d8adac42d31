//! The parsers of the image service, by their sources: the crate around them takes half an hour to build.
#![allow(dead_code, missing_docs, unused_imports)]

#[path = "../../crates/services/image/src/attributes.rs"]
pub mod attributes;
#[path = "../../crates/services/image/src/image.rs"]
pub mod image;
#[path = "../../crates/services/image/src/inspect/mod.rs"]
pub mod inspect;
#[path = "../../crates/services/image/src/metadefs/mod.rs"]
pub mod metadefs;
#[path = "../../crates/services/image/src/patch.rs"]
pub mod patch;
#[path = "../../crates/services/image/src/query.rs"]
pub mod query;
#[path = "../../crates/services/image/src/range.rs"]
pub mod range;
#[path = "../../crates/services/image/src/text.rs"]
pub mod text;
#[path = "../../crates/services/image/src/v1.rs"]
pub mod v1;

/// Addresses that clients give.
#[path = "../../crates/services/image/src/fetch"]
pub mod fetch {
    pub mod address;
    pub mod rules;
}

/// The schema that images are validated against.
pub mod routes {
    pub const IMAGE_SCHEMA: &str = include_str!("../../crates/services/image/schemas/image.json");
}

extern crate self as ferrostack_db;

/// In place of the database.
pub struct Db;

/// What the parsers' modules know of the tables.
pub mod store {
    pub mod metadefs {
        pub mod standard {
            use crate::metadefs::{Contents, Namespace};
            pub type Definition = (Namespace, Contents);
            pub async fn load(_: &crate::Db, _: &[Definition]) -> ferrostack_model::Result<()> {
                Ok(())
            }
        }
    }
    pub mod location {
        /// Where data lies; no parser looks into it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Location;
    }
}

/// Lines of `name: value`, like a server hands them to a handler.
pub fn headers(data: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    data.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
    })
}

/// `a=b&c=d` as pairs, like a server hands them to a handler.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}
