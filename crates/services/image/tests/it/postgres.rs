//! A proxy before PostgreSQL that understands its messages: statements fail, are slow, or no connection is to be had.

use crate::support::{Cloud, each_with};
use ferrostack_settings::Settings;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A statement that was made to fail.
#[derive(Clone, Debug)]
pub struct Fired {
    pub statement: String,
    /// In a transaction, or its end.
    pub in_transaction: bool,
}

/// What happens to statements.
#[derive(Default)]
struct Faults {
    /// Statements until the one that fails, and its SQLSTATE.
    next: Option<(usize, &'static str)>,
    fired: Option<Fired>,
}

#[derive(Default)]
pub struct Proxy {
    port: u16,
    faults: Mutex<Faults>,
    /// Milliseconds before anything is passed on to the server.
    delay: AtomicU64,
    /// Connections that may be open; the next is refused as PostgreSQL does it.
    most: AtomicUsize,
    open: AtomicUsize,
    /// Statements so far.
    statements: AtomicUsize,
}

/// The runner looks for work whenever it likes.
fn is_poll(statement: &str) -> bool {
    statement.starts_with("SELECT id FROM jobs")
}

impl Proxy {
    async fn before(host: String) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Self { port, most: AtomicUsize::new(usize::MAX), ..Self::default() });
        let mine = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mine, host) = (mine.clone(), host.clone());
                tokio::spawn(async move {
                    mine.open.fetch_add(1, Ordering::SeqCst);
                    // Whatever ends it, both ends are closed then.
                    let _ = mine.serve(client, &host).await;
                    mine.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        proxy
    }

    /// The statement after `skip` others fails with `code`, and does nothing.
    pub fn fail(&self, skip: usize, code: &'static str) {
        *self.faults.lock() = Faults { next: Some((skip, code)), fired: None };
    }

    /// What has failed; from now on nothing does.
    pub fn heal(&self) -> Option<Fired> {
        std::mem::take(&mut *self.faults.lock()).fired
    }

    pub fn delay(&self, by: Duration) {
        self.delay.store(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn allow(&self, connections: usize) {
        self.most.store(connections, Ordering::SeqCst);
    }

    pub fn statements(&self) -> usize {
        self.statements.load(Ordering::SeqCst)
    }

    fn hit(&self, statement: &str, in_transaction: bool) -> Option<&'static str> {
        if is_poll(statement) || ["ROLLBACK", "SET "].iter().any(|word| statement.starts_with(word)) {
            return None;
        }
        self.statements.fetch_add(1, Ordering::SeqCst);
        let mut faults = self.faults.lock();
        match &mut faults.next {
            Some((0, code)) => {
                let code = *code;
                *faults =
                    Faults { next: None, fired: Some(Fired { statement: statement.into(), in_transaction }) };
                Some(code)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    async fn serve(&self, client: TcpStream, host: &str) -> io::Result<()> {
        client.set_nodelay(true)?;
        let (from_client, mut to_client) = client.into_split();
        let mut from_client = BufReader::new(from_client);
        // The first message has no letter.
        let length = from_client.read_u32().await?;
        let mut first = vec![0; length as usize - 4];
        from_client.read_exact(&mut first).await?;
        if self.open.load(Ordering::SeqCst) > self.most.load(Ordering::SeqCst) {
            let text = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0";
            return send(&mut to_client, b'E', text).await;
        }
        let server = TcpStream::connect(host).await?;
        server.set_nodelay(true)?;
        let (from_server, mut to_server) = server.into_split();
        to_server.write_u32(length).await?;
        to_server.write_all(&first).await?;
        let told = Mutex::new(None);
        tokio::select! {
            ended = self.up(from_client, to_server, &told) => ended,
            ended = down(BufReader::new(from_server), to_client, &told) => ended,
        }
    }

    async fn up(
        &self,
        mut from: BufReader<OwnedReadHalf>,
        mut to: OwnedWriteHalf,
        told: &Mutex<Option<&'static str>>,
    ) -> io::Result<()> {
        let (mut prepared, mut bound) = (HashMap::new(), String::new());
        let mut in_transaction = false;
        loop {
            let (kind, mut body) = receive(&mut from).await?;
            let texts: Vec<_> =
                body.split(|b| *b == 0).map(|t| String::from_utf8_lossy(t).into_owned()).take(2).collect();
            match (kind, &texts[..]) {
                (b'P', [name, statement]) => {
                    prepared.insert(name.clone(), statement.clone());
                }
                (b'B', [_, name]) => bound = prepared.get(name).cloned().unwrap_or_default(),
                // There is no such portal: the server fails as it does, and `down` says another reason.
                (b'E', _) => {
                    if let Some(code) = self.hit(&bound, in_transaction) {
                        *told.lock() = Some(code);
                        body = b"none\0\0\0\0\0".to_vec();
                    }
                }
                (b'Q', [statement, ..]) => {
                    let ends = ["COMMIT", "ROLLBACK"].iter().any(|word| statement.starts_with(word));
                    let begins = statement.starts_with("BEGIN");
                    if let Some(code) = self.hit(statement, in_transaction || begins) {
                        in_transaction = false;
                        body = format!(
                            "ROLLBACK; DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END $$\0"
                        )
                        .into_bytes();
                    } else {
                        in_transaction = (in_transaction || begins) && !ends;
                    }
                }
                _ => {}
            }
            // Where a round trip begins.
            if matches!(kind, b'Q' | b'S') {
                tokio::time::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst))).await;
            }
            send(&mut to, kind, &body).await?;
        }
    }
}

async fn down(
    mut from: BufReader<OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    told: &Mutex<Option<&'static str>>,
) -> io::Result<()> {
    loop {
        let (kind, mut body) = receive(&mut from).await?;
        let code = if kind == b'E' { told.lock().take() } else { None };
        if let Some(code) = code {
            let at = body.windows(7).position(|w| w == b"C34000\0").expect("no such portal");
            body[at + 1..at + 6].copy_from_slice(code.as_bytes());
        }
        send(&mut to, kind, &body).await?;
    }
}

async fn receive(from: &mut BufReader<OwnedReadHalf>) -> io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let mut body = vec![0; from.read_u32().await? as usize - 4];
    from.read_exact(&mut body).await?;
    Ok((kind, body))
}

async fn send(to: &mut OwnedWriteHalf, kind: u8, body: &[u8]) -> io::Result<()> {
    let mut message = vec![kind];
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend_from_slice(body);
    to.write_all(&message).await
}

/// Runs `test` on PostgreSQL behind a proxy.
pub async fn behind(change: impl Fn(&mut Settings), test: impl AsyncFn(&mut Cloud, &Proxy)) {
    let Ok(admin) = std::env::var("FERROSTACK_TEST_POSTGRES") else {
        eprintln!("skipped: FERROSTACK_TEST_POSTGRES is not set (./test sets it)");
        return;
    };
    let admin = url::Url::parse(&admin).unwrap();
    let proxy =
        Proxy::before(format!("{}:{}", admin.host_str().unwrap(), admin.port().unwrap_or(5432))).await;
    let through = |settings: &mut Settings| {
        change(settings);
        if let Ok(mut url) = url::Url::parse(&settings.database.url)
            && url.scheme() == "postgres"
        {
            url.set_host(Some("127.0.0.1")).unwrap();
            url.set_port(Some(proxy.port)).unwrap();
            url.query_pairs_mut().append_pair("sslmode", "disable");
            settings.database.url = url.to_string();
        }
    };
    each_with(through, async |cloud| {
        if cloud.settings.database.url.starts_with("postgres") {
            test(cloud, &proxy).await;
        }
    })
    .await;
}
