//! A light HTTP/1.1 load generator: one thread and one kept connection for each request in flight, no library.

use anyhow::{Context, Result, bail, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// A kept connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `X-Subject-Token`.
    pub token: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// One request, one answer with a `Content-Length`.
    pub fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut piece = [0u8; 32 * 1024];
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            let read = self.stream.read(&mut piece)?;
            ensure!(read > 0, "the connection was closed");
            self.buffer.extend_from_slice(&piece[..read]);
        };
        let head = std::str::from_utf8(&self.buffer[..end])?;
        let status = head.get(9..12).context("no status")?.parse()?;
        let (mut length, mut token) = (0usize, None);
        for line in head.lines().skip(1) {
            let Some((name, value)) = line.split_once(':') else { bail!("no header: {line}") };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            } else if name.eq_ignore_ascii_case("x-subject-token") {
                token = Some(value.trim().to_owned());
            }
        }
        let whole = end + 4 + length;
        while self.buffer.len() < whole {
            let read = self.stream.read(&mut piece)?;
            ensure!(read > 0, "the connection was closed within a body");
            self.buffer.extend_from_slice(&piece[..read]);
        }
        Ok(Answer { status, token, body: self.buffer[end + 4..whole].to_vec() })
    }
}

/// A request as bytes.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    (text + "\r\n" + body).into_bytes()
}

/// What a run came to.
#[derive(Debug, serde::Serialize)]
pub struct Figure {
    /// Answers a second.
    pub per_second: f64,
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Answers counted.
    pub answers: usize,
    /// Processor time of the service for one answer, microseconds: what counts on a machine that does other work too.
    pub cpu_us: f64,
}

/// Processor time that a process has taken, microseconds (in steps of the kernel's hundredth of a second).
pub fn processor_time(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no /proc/PID/stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap_or(0)).sum::<u64>();
    Ok(ticks * 10_000)
}

/// A service under load.
#[derive(Clone, Copy)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
}

/// `requests` in turn from `at_once` connections for `time`; every answer must have `status`.
pub fn run(
    service: Service,
    at_once: usize,
    time: Duration,
    status: u16,
    requests: &[Vec<u8>],
) -> Result<Figure> {
    let stop = AtomicBool::new(false);
    let (begun, cpu) = (Instant::now(), processor_time(service.pid)?);
    let mut all = std::thread::scope(|scope| -> Result<Vec<Duration>> {
        let threads: Vec<_> = (0..at_once)
            .map(|first| {
                let stop = &stop;
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut connection = Connection::to(service.address)?;
                    let mut times = Vec::new();
                    let mut next = first;
                    while !stop.load(Ordering::Relaxed) {
                        let sent = Instant::now();
                        let answer = connection.send(&requests[next % requests.len()])?;
                        ensure!(
                            answer.status == status,
                            "answered {}: {}",
                            answer.status,
                            String::from_utf8_lossy(&answer.body)
                        );
                        times.push(sent.elapsed());
                        next += at_once;
                    }
                    Ok(times)
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread of the load broke"))??);
        }
        Ok(all)
    })?;
    let (took, cpu) = (begun.elapsed(), processor_time(service.pid)? - cpu);
    ensure!(!all.is_empty(), "no answer at all");
    all.sort_unstable();
    let at = |part: f64| {
        let index = ((all.len() as f64 * part) as usize).min(all.len() - 1);
        all[index].as_secs_f64() * 1000.0
    };
    Ok(Figure {
        per_second: all.len() as f64 / took.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        answers: all.len(),
        cpu_us: cpu as f64 / all.len() as f64,
    })
}
