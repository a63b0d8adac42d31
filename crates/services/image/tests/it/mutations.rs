//! A bounded run of every parser that a fuzz target feeds: the same seeds, changed by a generator with a fixed seed, and
//! every input that ever crashed one.

use crate::support::Random;
use ferrostack_http::actix_web::http::header::{self, HeaderMap, HeaderValue};
use ferrostack_image::{
    fetch::Rules,
    inspect::{Declared, inspect_bytes},
    metadefs::check,
    patch, query, range,
};
use ferrostack_model::{Result, Timestamp};
use ferrostack_settings::ImageFetch;
use serde_json::Value;
use std::{fs, path::Path};

/// Changed inputs of each seed.
const ROUNDS: usize = 150;

/// What is put into the middle of inputs.
const WORDS: [&[u8]; 22] = [
    b"\"",
    b",",
    b":",
    b"/",
    b"~",
    b"-",
    b"=",
    b"%00",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x92\xa9",
    b"\r\n",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"null",
    b"[]",
    b"{}",
    b"in:",
    b"bytes=",
    b"@",
    b"\\",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|p| fs::read(p).unwrap()).collect()
}

fn mutated(target: &str, parse: impl Fn(&[u8])) {
    let seeds = seeds(target);
    assert!(seeds.len() >= 5, "{target}");
    let mut random = Random(20_261_120);
    for seed in &seeds {
        parse(seed);
        for _ in 0..ROUNDS {
            let mut input = seed.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(input.len() + 1);
                let to = (at + random.below(5)).min(input.len());
                match random.below(5) {
                    0 => drop(input.splice(at..to, std::iter::empty())),
                    1 => drop(input.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
                    2 => drop(input.splice(at..to, WORDS[random.below(WORDS.len())].iter().copied())),
                    3 => {
                        let other = &seeds[random.below(seeds.len())];
                        let from = random.below(other.len() + 1);
                        input.splice(at..to, other[from..].iter().copied());
                    }
                    _ if at < input.len() => input[at] ^= 1 << random.below(8),
                    _ => {}
                }
            }
            parse(&input);
        }
    }
}

fn client_error<T>(result: Result<T>) {
    if let Err(error) = result {
        assert!(error.kind.http() < 500, "{error:?}");
    }
}

#[test]
fn json_patch_mutations() {
    mutated("json_patch", |data| {
        let Ok(body) = serde_json::from_slice::<Value>(data) else { return };
        patch::MEDIA_TYPES.iter().for_each(|media_type| client_error(patch::parse(&body, media_type)));
    });
}

#[test]
fn range_header_mutations() {
    mutated("range_header", |data| {
        let Some((size, rest)) = data.split_first_chunk() else { return };
        let size = u64::from_le_bytes(*size);
        let names =
            [header::RANGE, header::CONTENT_RANGE, header::IF_MATCH, header::IF_NONE_MATCH, header::IF_RANGE];
        let mut headers = HeaderMap::new();
        for line in rest.split(|b| *b == b'\n') {
            let Some((kind, value)) = line.split_first() else { continue };
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(names[usize::from(*kind) % names.len()].clone(), value);
            }
        }
        for etag in [None, Some("\"tag\"")] {
            match range::asked(&headers, size, etag) {
                Ok(range::Asked::Part(part)) => assert!(part.start < part.end && part.end <= size),
                other => client_error(other),
            }
        }
    });
}

#[test]
fn list_query_mutations() {
    mutated("list_query", |data| {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(data).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        client_error(query::ListQuery::parse(&pairs));
    });
}

#[test]
fn fetch_url_mutations() {
    let rules = Rules::new(&ImageFetch::default());
    mutated("fetch_url", |data| {
        let Ok(url) = rules.read(&String::from_utf8_lossy(data)) else { return };
        assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty(), "{url}");
        assert!(matches!(url.port_or_known_default(), Some(80 | 443)), "{url}");
        assert_eq!(rules.read(url.as_str()), Ok(url));
    });
}

#[test]
fn v1_headers_mutations() {
    mutated("v1_headers", |data| {
        let lines = data.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
        });
        match ferrostack_image::v1::parse(lines) {
            Ok(meta) => assert!(!meta.attributes.contains_key("status"), "{meta:?}"),
            refused => client_error(refused),
        }
    });
}

#[test]
fn metadef_schema_mutations() {
    let now = Timestamp::now();
    mutated("metadef_schema", |data| {
        let Some((choice, json)) = data.split_first() else { return };
        let Ok(body) = serde_json::from_slice::<Value>(json) else { return };
        client_error(match choice % 6 {
            0 => check::namespace(&body, "owner", now).map(drop),
            1 => check::association(&body, now).map(drop),
            2 => check::property(&body).map(drop),
            3 => check::object(&body, now).map(drop),
            4 => check::tag(&body, now).map(drop),
            _ => check::tags(&body, now).map(drop),
        });
    });
}

#[test]
fn inspect_mutations() {
    mutated("inspect", |data| {
        let Some((choice, bytes)) = data.split_first() else { return };
        let formats = ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "aki", "ari", "ami", "ploop"];
        let containers = ["bare", "ova", "docker", "compressed"];
        let choice = usize::from(*choice);
        let declared = Declared {
            disk_format: formats[choice % formats.len()].into(),
            container_format: containers[choice / formats.len() % containers.len()].into(),
            rules: (16 << 40).into(),
        };
        let _ = inspect_bytes(bytes, &declared);
    });
}
