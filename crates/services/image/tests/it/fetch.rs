//! What the fetcher refuses, with listeners that see every connection.

use crate::web::{Web, with_length};
use async_trait::async_trait;
use ferrostack_image::fetch::{Ask, Failure, Fetched, Fetcher, resolve::Lookup};
use ferrostack_settings::ImageFetch;
use futures_util::StreamExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncWriteExt, time::Instant};

const MIB: u64 = 1 << 20;

/// Answers names from a table; each list is one lookup, the last one stays.
#[derive(Default)]
struct Names {
    names: HashMap<&'static str, Vec<Vec<IpAddr>>>,
    lookups: AtomicUsize,
}

impl Names {
    fn of(names: &[(&'static str, &[&str])]) -> Arc<Self> {
        let names = names
            .iter()
            .map(|(name, lookups)| {
                let lists = lookups.iter().map(|list| list.split(',').map(|a| a.parse().unwrap()).collect());
                (*name, lists.collect())
            })
            .collect();
        Arc::new(Self { names, lookups: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let n = self.lookups.fetch_add(1, Ordering::SeqCst);
        if name == "silent.example" {
            return std::future::pending().await;
        }
        let lists = self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(lists[n.min(lists.len() - 1)].clone())
    }
}

fn settings(change: impl Fn(&mut ImageFetch)) -> ImageFetch {
    let mut settings = ImageFetch { connect_timeout_ms: 150, idle_timeout_ms: 2000, ..Default::default() };
    settings.allowed_ports.clear();
    change(&mut settings);
    settings
}

/// Loopback 127.0.0.1 is allowed, and nothing else inside.
fn inside(settings: &mut ImageFetch) {
    settings.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
}

fn ask(limit: u64) -> Ask {
    Ask { limit, ..Default::default() }
}

async fn get(fetcher: &Fetcher, uri: &str) -> Result<Fetched, Failure> {
    let url = fetcher.read(uri).map_err(|why| Failure::Unreachable(why.into()))?;
    fetcher.get(&url, &ask(MIB)).await
}

async fn all(fetched: Fetched) -> Result<Vec<u8>, Failure> {
    let mut body = fetched.body;
    let mut out = Vec::new();
    while let Some(chunk) = body.next().await {
        out.extend_from_slice(&chunk?);
    }
    assert!(body.next().await.is_none(), "a stream that ended stays ended");
    Ok(out)
}

fn unreachable(result: Result<Fetched, Failure>, what: &str) -> Failure {
    match result {
        Err(failure @ Failure::Unreachable(_)) => failure,
        Err(other) => panic!("{what}: {other:?}"),
        Ok(_) => panic!("{what}: fetched"),
    }
}

#[tokio::test]
async fn fetches_what_is_allowed_and_says_nothing_of_us() {
    let web = Web::data(b"hello").await;
    let fetcher = Fetcher::new(&settings(inside)).unwrap();
    let fetched = get(&fetcher, &web.url("/a?b=c")).await.unwrap();
    assert_eq!((fetched.status, fetched.size), (200, Some(5)));
    assert_eq!(all(fetched).await.unwrap(), b"hello");
    let head = web.requests()[0].to_lowercase();
    assert!(head.starts_with("get /a?b=c http/1.1\r\n"), "{head}");
    assert!(head.contains("accept-encoding: identity"), "{head}");
    for header in ["cookie", "authorization", "referer", "x-auth-token", "proxy"] {
        assert!(!head.contains(header), "{head}");
    }
    let ranged = fetcher.read(&web.url("/")).unwrap();
    let part = Ask { range: Some(2..5), ..ask(MIB) };
    fetcher.get(&ranged, &part).await.unwrap();
    assert!(web.requests()[1].to_lowercase().contains("range: bytes=2-4\r\n"));
}

#[tokio::test]
async fn ossa_2026_004_no_form_of_an_inner_address_is_connected_to() {
    let trap = Web::data(b"secret").await;
    let port = trap.address.port();
    let fetcher = Fetcher::new(&settings(|_| {})).unwrap();
    let hosts = "127.0.0.1 2130706433 0x7f000001 0177.1 [::ffff:127.0.0.1] 0.0.0.0 127.0.0.1. localhost localhost. \
        LOCALHOST [::1] user@127.0.0.1 images.example@localhost 127.1 0";
    let mut tried = 0;
    for host in hosts.split_whitespace() {
        unreachable(get(&fetcher, &format!("http://{host}:{port}/")).await, host);
        tried += 1;
    }
    assert_eq!((tried, trap.seen()), (15, 0));
    let open = Fetcher::new(&settings(inside)).unwrap();
    assert_eq!(all(get(&open, &trap.url("/")).await.unwrap()).await.unwrap(), b"secret", "the trap works");
}

#[tokio::test]
async fn ossa_2026_004_redirects_are_checked_like_the_first_address() {
    // On the same machine, but at an address of loopback that is not allowed.
    let trap =
        Web::start_on("127.0.0.2:0", |_, stream| crate::web::write(stream, Arc::new(with_length(b"secret"))))
            .await;
    let port = trap.address.port();
    let fetcher = Fetcher::new(&settings(inside)).unwrap();
    let places = [
        format!("http://127.0.0.2:{port}/"),
        format!("//127.0.0.2:{port}/"),
        format!("http://2130706434:{port}/"),
        format!("http://0x7f000002:{port}/"),
        format!("http://0177.2:{port}/"),
        format!("http://[::ffff:127.0.0.2]:{port}/"),
        format!("http://u:p@127.0.0.2:{port}/"),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://10.0.0.1/".into(),
        "http://[fe80::1]/".into(),
        "http://[fd00::1]/".into(),
        "file:///etc/passwd".into(),
        "gopher://127.0.0.2/".into(),
        "ftp://127.0.0.2/".into(),
        "http:///".into(),
        String::new(),
    ];
    let mut answers = std::collections::HashSet::new();
    for place in &places {
        let web = Web::redirect(place).await;
        if place.is_empty() {
            // To itself, again and again.
            answers.insert(unreachable(get(&fetcher, &web.url("/")).await, "loop").public());
            assert_eq!(web.seen(), 11, "the first request and ten redirects");
            continue;
        }
        answers.insert(unreachable(get(&fetcher, &web.url("/")).await, place).public());
        assert_eq!(web.seen(), 1);
    }
    assert_eq!((trap.seen(), answers.len()), (0, 1));
    // Through several hops.
    let mut url = format!("http://127.0.0.2:{port}/");
    for _ in 0..5 {
        url = Web::redirect(&url).await.url("/");
    }
    unreachable(get(&fetcher, &url).await, "five hops");
    assert_eq!(trap.seen(), 0);
    // And where all is well they are followed.
    let data = Web::data(b"there").await;
    let first = Web::redirect(&data.url("/x")).await;
    assert_eq!(all(get(&fetcher, &first.url("/")).await.unwrap()).await.unwrap(), b"there");
}

#[tokio::test]
async fn ossa_2026_038_a_name_is_looked_up_once_and_what_was_checked_is_connected_to() {
    let trap = Web::data(b"secret").await;
    let port = trap.address.port();
    // Public at the first lookup, inside at every later one: the fetch goes to what the first said, which here
    // nobody answers, and never asks again.
    let names = Names::of(&[("flip.example", &["192.88.98.1", "127.0.0.1"])]);
    let flip = Fetcher::with_lookup(&settings(|_| {}), names.clone()).unwrap();
    unreachable(get(&flip, &format!("http://flip.example:{port}/")).await, "flip");
    assert_eq!((trap.seen(), names.lookups.load(Ordering::SeqCst)), (0, 1));
    // Inside at the first: refused, and the second is never made.
    let names = Names::of(&[("flop.example", &["127.0.0.1", "192.88.98.1"])]);
    let flop = Fetcher::with_lookup(&settings(|_| {}), names.clone()).unwrap();
    unreachable(get(&flop, &format!("http://flop.example:{port}/")).await, "flop");
    assert_eq!((trap.seen(), names.lookups.load(Ordering::SeqCst)), (0, 1));
    // One inner address among public ones is enough.
    for list in ["192.88.98.1,127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fd00::1", "0.0.0.0"]
    {
        let list: &'static str = list;
        let names: HashMap<_, _> =
            HashMap::from([("mixed.example", vec![list.split(',').map(|a| a.parse().unwrap()).collect()])]);
        let names = Arc::new(Names { names, lookups: AtomicUsize::new(0) });
        let mixed = Fetcher::with_lookup(&settings(|_| {}), names).unwrap();
        unreachable(get(&mixed, &format!("http://mixed.example:{port}/")).await, list);
    }
    assert_eq!(trap.seen(), 0);
    // The same gate lets an allowed address through, so the tests above test it.
    let names = Names::of(&[("good.example", &["127.0.0.1"])]);
    let good = Fetcher::with_lookup(&settings(inside), names.clone()).unwrap();
    let got = get(&good, &format!("http://good.example:{port}/")).await.unwrap();
    assert_eq!(all(got).await.unwrap(), b"secret");
    assert_eq!((trap.seen(), names.lookups.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn x12_closed_filtered_and_refused_targets_look_and_last_the_same() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let names = Names::of(&[("inner.example", &["10.0.0.1"])]);
    let fetcher = Fetcher::with_lookup(&settings(inside), names).unwrap();
    let targets = [
        format!("http://{closed}/"),
        "http://silent.example/".into(),
        "http://inner.example/".into(),
        "http://unknown.example/".into(),
    ];
    let (mut texts, mut times) = (std::collections::HashSet::new(), Vec::new());
    for target in &targets {
        let begun = Instant::now();
        texts.insert(unreachable(get(&fetcher, target).await, target).public());
        times.push(begun.elapsed());
    }
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(*least >= Duration::from_millis(150) && *most < *least * 2, "{times:?}");
}

#[tokio::test]
async fn x36_an_endless_or_lying_body_is_cut() {
    let endless = Web::start(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
        while stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    let fetcher = Fetcher::new(&settings(inside)).unwrap();
    let failure = all(get(&fetcher, &endless.url("/")).await.unwrap()).await.unwrap_err();
    assert!(matches!(failure, Failure::TooLarge(MIB)), "{failure:?}");
    let announced = Web::fixed("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n").await;
    let failure = get(&fetcher, &announced.url("/")).await.err().unwrap();
    assert!(matches!(failure, Failure::TooLarge(MIB)), "{failure:?}");
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        let web = Web::fixed(cut).await;
        let failure = all(get(&fetcher, &web.url("/")).await.unwrap()).await.unwrap_err();
        assert!(matches!(failure, Failure::Broken(_)), "{cut:?}: {failure:?}");
    }
    let packed =
        Web::fixed("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello").await;
    assert!(matches!(get(&fetcher, &packed.url("/")).await, Err(Failure::Broken(_))));
    for (code, text) in [(404, "Not Found"), (500, "Oops"), (204, "No Content"), (304, "Not Modified")] {
        let web = Web::fixed(format!("HTTP/1.1 {code} {text}\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(matches!(get(&fetcher, &web.url("/")).await, Err(Failure::Status(c)) if c == code));
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let web = Web::start(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        std::future::pending::<()>().await;
    })
    .await;
    let fast = Fetcher::new(&settings(|s| {
        inside(s);
        s.idle_timeout_ms = 100;
    }))
    .unwrap();
    let failure = all(get(&fast, &web.url("/")).await.unwrap()).await.unwrap_err();
    assert!(matches!(failure, Failure::Broken(_)), "{failure:?}");
    let mute = Web::start(|_, stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    unreachable(get(&fast, &mute.url("/")).await, "no answer at all");
}

#[tokio::test]
async fn the_environment_names_no_proxy() {
    let proxy = Web::data(b"proxied").await;
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["fetch::fetches_what_is_allowed_and_says_nothing_of_us", "--exact"])
        .envs(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|v| (v, proxy.url(""))))
        .output()
        .await
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(proxy.seen(), 0);
}

#[tokio::test]
async fn the_catalogs_endpoint_gets_the_token_and_nobody_else() {
    let trap = Web::data(b"secret").await;
    let web = Web::redirect(&trap.url("/")).await;
    let fetcher = Fetcher::new(&settings(|_| {})).unwrap();
    let url = web.url("/v2/images/x/file").parse().unwrap();
    let headers =
        HeaderMap::from_iter([(HeaderName::from_static("x-auth-token"), HeaderValue::from_static("tok"))]);
    let failure = fetcher.get_from_catalog(&url, &headers, &ask(MIB)).await.err().unwrap();
    assert!(matches!(failure, Failure::Status(302)), "{failure:?}");
    assert!(web.requests()[0].to_lowercase().contains("x-auth-token: tok\r\n"));
    assert_eq!(trap.seen(), 0);
}
