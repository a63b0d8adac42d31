//! Certificates: what is not for this host, not from a trusted authority or not of today is not talked to.

use ferrostack_image::fetch::{Ask, Failure, Fetcher};
use ferrostack_settings::ImageFetch;
use futures_util::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, pki_types::PrivateKeyDer},
};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server for `name` (an IP address counts as one); how many got through the handshake.
async fn serve(name: &str, issuer: Option<&Issuer>, until: i32) -> (SocketAddr, Arc<AtomicUsize>) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let (acceptor, seen) = (TlsAcceptor::from(Arc::new(config)), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), seen.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), count.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if stream.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn ossa_2013_018_certificates_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(), authority());
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, ours.pem()).unwrap();
    let mut settings = ImageFetch { connect_timeout_ms: 1000, ca_file: Some(ca_file), ..Default::default() };
    settings.allowed_ports.clear();
    settings.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
    let fetcher = Fetcher::new(&settings).unwrap();
    let ask = Ask { limit: 100, ..Default::default() };
    let mut texts = std::collections::HashSet::new();
    for (what, name, issuer, until) in [
        ("self-signed", "127.0.0.1", None, 2100),
        ("of an authority that is not ours", "127.0.0.1", Some(&theirs), 2100),
        ("for another host", "images.example", Some(&ours), 2100),
        ("of yesterday", "127.0.0.1", Some(&ours), 2020),
    ] {
        let (address, seen) = serve(name, issuer, until).await;
        let url = fetcher.read(&format!("https://{address}/")).unwrap();
        match fetcher.get(&url, &ask).await {
            Err(failure @ Failure::Unreachable(_)) => texts.insert(failure.public()),
            Err(other) => panic!("{what}: {other:?}"),
            Ok(_) => panic!("{what}: taken"),
        };
        assert_eq!(seen.load(Ordering::SeqCst), 0, "{what}: something was sent");
    }
    assert_eq!(texts.len(), 1);
    let (address, seen) = serve("127.0.0.1", Some(&ours), 2100).await;
    let url = fetcher.read(&format!("https://{address}/")).unwrap();
    let mut good = fetcher.get(&url, &ask).await.unwrap();
    assert_eq!(good.body.next().await.unwrap().unwrap(), "hello");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    settings.ca_file = Some(directory.path().join("missing.pem"));
    assert!(Fetcher::new(&settings).is_err_and(|e| e.for_log().contains("image.fetch.ca_file")));
}
