//! Uploads and downloads by hand: HTTP/1.1 over TCP with next to no processor time of their own.

use super::load::request;
use anyhow::{Context, Result, ensure};
use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

/// Where, as whom, and of which image.
#[derive(Clone)]
pub struct Target {
    /// The image service.
    pub address: SocketAddr,
    /// An admin's token.
    pub token: String,
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    Ok(stream)
}

/// Reads a head; its text, and what of the body came with it.
fn head(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let (mut seen, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the connection was closed");
        seen.extend_from_slice(&piece[..read]);
        if let Some(at) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = seen.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&seen).into_owned(), rest));
        }
    }
}

impl Target {
    /// PUTs the file (the kernel moves its bytes: sendfile); from the first byte sent to the answer.
    pub fn upload(&self, image: &str, source: &Path) -> Result<Duration> {
        let mut file = File::open(source)?;
        let length = file.metadata()?.len();
        let mut stream = connect(self.address)?;
        let text = format!(
            "PUT /v2/images/{image}/file HTTP/1.1\r\nHost: bench\r\nX-Auth-Token: {}\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n",
            self.token
        );
        let begun = Instant::now();
        stream.write_all(text.as_bytes())?;
        std::io::copy(&mut file, &mut stream)?;
        let (answer, _) = head(&mut stream)?;
        ensure!(answer.starts_with("HTTP/1.1 204"), "the upload was answered {answer}");
        Ok(begun.elapsed())
    }

    /// GETs the image or a range of it and forgets the bytes; from the request to the last byte.
    pub fn download(&self, image: &str, part: Option<Range<u64>>, size: u64) -> Result<Duration> {
        let mut stream = connect(self.address)?;
        let begun = Instant::now();
        self.get(&mut stream, image, part, size, &mut vec![0; 1 << 20])?;
        Ok(begun.elapsed())
    }

    /// Many ranges, one after another on one connection.
    pub fn ranges(&self, image: &str, parts: &[Range<u64>], size: u64) -> Result<Duration> {
        let mut stream = connect(self.address)?;
        let mut buffer = vec![0; 1 << 20];
        let begun = Instant::now();
        for part in parts {
            self.get(&mut stream, image, Some(part.clone()), size, &mut buffer)?;
        }
        Ok(begun.elapsed())
    }

    fn get(
        &self,
        stream: &mut TcpStream,
        image: &str,
        part: Option<Range<u64>>,
        size: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let (status, expected) = match &part {
            Some(part) => ("HTTP/1.1 206", part.end - part.start),
            None => ("HTTP/1.1 200", size),
        };
        let range = part.map_or_else(String::new, |p| format!("bytes={}-{}", p.start, p.end - 1));
        let mut headers = vec![("X-Auth-Token", self.token.as_str())];
        if !range.is_empty() {
            headers.push(("Range", &range));
        }
        stream.write_all(&request("GET", &format!("/v2/images/{image}/file"), &headers, ""))?;
        let (answer, rest) = head(stream)?;
        ensure!(answer.starts_with(status), "the download was answered {answer}");
        let mut got = rest.len() as u64;
        while got < expected {
            let read = stream.read(buffer).context("in the middle of a download")?;
            ensure!(read > 0, "the download ended after {got} of {expected} bytes");
            got += read as u64;
        }
        ensure!(got == expected, "{got} bytes instead of {expected}");
        Ok(())
    }
}

/// One thread each; how long until the last has ended.
pub fn at_once(count: usize, work: impl Fn(usize) -> Result<Duration> + Sync) -> Result<Duration> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || work(n))).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a transfer broke"))??;
        }
        Ok(begun.elapsed())
    })
}
