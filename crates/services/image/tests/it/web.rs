//! A small web server whose answers are written byte by byte, and a trap that counts who knocks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A listener on loopback.
#[derive(Clone)]
pub struct Web {
    pub address: SocketAddr,
    seen: Arc<AtomicUsize>,
    requests: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Web {
    /// Answers each request with what `answer` writes to the connection.
    pub async fn start<F>(answer: impl Fn(String, TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_on("127.0.0.1:0", answer).await
    }

    pub async fn start_on<F>(
        address: &str,
        answer: impl Fn(String, TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let web =
            Self { address: listener.local_addr().unwrap(), seen: Arc::default(), requests: Arc::default() };
        let (mine, answer) = (web.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                mine.seen.fetch_add(1, Ordering::SeqCst);
                let (mine, answer) = (mine.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    mine.requests.lock().unwrap().push(head.clone());
                    answer(head, stream).await;
                });
            }
        });
        web
    }

    /// Answers everything with `text`, and closes.
    pub async fn fixed(text: impl Into<Vec<u8>>) -> Self {
        let text = Arc::new(text.into());
        Self::start(move |_, stream| write(stream, text.clone())).await
    }

    /// 200 with `data`.
    pub async fn data(data: &[u8]) -> Self {
        Self::fixed(with_length(data)).await
    }

    /// Answers with a redirect to `to`.
    pub async fn redirect(to: &str) -> Self {
        Self::fixed(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connections so far.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Request heads so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub fn with_length(data: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out
}

pub async fn write(mut stream: TcpStream, text: Arc<Vec<u8>>) {
    let _ = stream.write_all(&text).await;
    let _ = stream.shutdown().await;
    // The client's end, so that nothing is reset before it has been read.
    let _ = stream.read(&mut [0; 64]).await;
}
