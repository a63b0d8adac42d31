//! Disk bytes between agents: frames with a checksum each, so that a copy is continued where it broke off.
//!
//! A frame is its length (4 bytes, big endian), the sha256 of its data, and the data. The last one has length 0 and no
//! data; a stream without it was cut.

use aws_lc_rs::digest;
use bytes::{Buf, Bytes, BytesMut};
use ferrostack_client::{ServiceClient, answer_error, transport_error};
use ferrostack_hypervisor::{DiskFile, DiskReader, DiskSource};
use ferrostack_model::{Error, ErrorKind, Result, guest_move::Origin};
use futures_util::{Stream, StreamExt, stream::BoxStream};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use std::{fmt::Write, time::Duration};
use tokio::io::AsyncReadExt;

/// Data of one frame, at most.
const FRAME: usize = 1 << 20;
/// Length and checksum.
const HEAD: usize = 4 + digest::SHA256_OUTPUT_LEN;
/// How often a copy that made no progress is taken up again before the order as a whole is.
const RESUMES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// The body of the list of a guest's disks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disks {
    /// The files.
    pub disks: Vec<DiskFile>,
}

fn frame(data: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + data.len());
    // A frame is never longer than FRAME.
    frame.extend_from_slice(&(data.len() as u32).to_be_bytes());
    frame.extend_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    frame.extend_from_slice(data);
    frame.freeze()
}

/// Frames of what `reader` still has.
pub fn frames(reader: Box<dyn DiskReader>) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::try_unfold(Some(reader), |reader| async move {
        let Some(mut reader) = reader else { return Ok(None) };
        let mut data = Vec::with_capacity(FRAME);
        (&mut reader).take(FRAME as u64).read_to_end(&mut data).await?;
        let next = (!data.is_empty()).then_some(reader);
        Ok(Some((frame(&data), next)))
    })
}

/// Takes whole frames out of what has come. `Some(None)` is the last one.
fn take(buffer: &mut BytesMut) -> Result<Option<Option<Bytes>>> {
    let broken = || Error::unavailable("a disk's copy came damaged");
    if buffer.len() < HEAD {
        return Ok(None);
    }
    let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    if length > FRAME {
        return Err(broken());
    }
    if buffer.len() < HEAD + length {
        return Ok(None);
    }
    let mut whole = buffer.split_to(HEAD + length).freeze();
    let data = whole.split_off(HEAD);
    whole.advance(4);
    if digest::digest(&digest::SHA256, &data).as_ref() != whole.as_ref() {
        return Err(broken());
    }
    Ok(Some((length > 0).then_some(data)))
}

/// The disks of a guest as another agent gives them out.
#[derive(Clone)]
pub struct RemoteDisks {
    client: ServiceClient,
    url: String,
    request_id: Option<String>,
}

/// A text as one segment of a path.
fn segment(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

impl RemoteDisks {
    /// The disks of `server_id` on the host `from`.
    pub fn new(client: ServiceClient, from: &Origin, server_id: &str, request_id: Option<&str>) -> Self {
        let base = from.agent_url.trim_end_matches('/');
        let url = format!("{base}/hosts/{}/servers/{}/disks", segment(&from.host), segment(server_id));
        Self { client, url, request_id: request_id.map(Into::into) }
    }

    async fn get(&self, url: &str) -> Result<Response> {
        let response = self.client.send(Method::GET, url, self.request_id.as_deref(), |r| r).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let error = answer_error(response).await;
        // What the other host refuses is no fault of our order's form.
        let kind = match error.kind {
            ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Unavailable => error.kind,
            _ => ErrorKind::Internal,
        };
        let log = error.for_log();
        Err(Error::new(kind, "The disk of the instance cannot be read on its other host.").with_internal(log))
    }
}

/// A copy under way.
struct Copy {
    from: RemoteDisks,
    disk: DiskFile,
    /// Verified and handed on.
    at: u64,
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    buffer: BytesMut,
    /// Times it was taken up again without a byte of progress.
    resumes: u32,
    over: bool,
}

impl Copy {
    /// The next verified bytes; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(whole) = take(&mut self.buffer)? {
                let Some(data) = whole else {
                    if self.at != self.disk.bytes {
                        return Err(Error::unavailable("a disk's copy ended too early"));
                    }
                    return Ok(None);
                };
                self.at = self.at.saturating_add(data.len() as u64);
                if self.at > self.disk.bytes {
                    return Err(Error::internal("more came of a disk than it has"));
                }
                return Ok(Some(data));
            }
            if self.body.is_none() {
                let (disk, stamp) = (segment(&self.disk.name), segment(&self.disk.stamp));
                let url = format!("{}/{disk}?offset={}&stamp={stamp}", self.from.url, self.at);
                self.body = Some(self.from.get(&url).await?.bytes_stream().boxed());
            }
            let Some(body) = &mut self.body else { continue };
            match body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(transport_error(error)),
                None => return Err(Error::unavailable("a disk's copy was cut")),
            }
        }
    }

    /// The same, taken up again where it broke off.
    async fn resumed(&mut self) -> Result<Option<Bytes>> {
        loop {
            let error = match self.next().await {
                Ok(part) => {
                    self.resumes = 0;
                    return Ok(part);
                }
                Err(error) => error,
            };
            self.resumes += 1;
            if error.kind != ErrorKind::Unavailable || self.resumes > RESUMES {
                return Err(error);
            }
            tracing::info!(
                disk = self.disk.name,
                at = self.at,
                error = error.for_log(),
                "a disk's copy is taken up again"
            );
            self.body = None;
            self.buffer.clear();
            tokio::time::sleep(PAUSE * self.resumes).await;
        }
    }
}

#[async_trait::async_trait]
impl DiskSource for RemoteDisks {
    async fn disks(&self) -> Result<Vec<DiskFile>> {
        let response = self.get(&self.url).await?;
        let body: Disks = response.json().await.map_err(transport_error)?;
        Ok(body.disks)
    }

    fn read(&self, disk: &DiskFile) -> BoxStream<'static, Result<Bytes>> {
        let copy = Copy {
            from: self.clone(),
            disk: disk.clone(),
            at: 0,
            body: None,
            buffer: BytesMut::new(),
            resumes: 0,
            over: false,
        };
        futures_util::stream::unfold(copy, |mut copy| async move {
            if copy.over {
                return None;
            }
            match copy.resumed().await {
                Ok(Some(data)) => {
                    crate::metrics::DOWNLOADED.inc_by(data.len() as u64);
                    Some((Ok(data), copy))
                }
                Ok(None) => None,
                Err(error) => {
                    copy.over = true;
                    Some((Err(error), copy))
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn frames_carry_what_was_read_and_show_damage() {
        let data: Vec<u8> = (0..FRAME * 2 + 7).map(|n| (n % 251) as u8).collect();
        let parts: Vec<Bytes> =
            frames(Box::new(std::io::Cursor::new(data.clone()))).map(|part| part.unwrap()).collect().await;
        assert_eq!(parts.len(), 4);
        let mut whole = BytesMut::new();
        let mut read = Vec::new();
        let mut ended = false;
        for byte in parts.concat().chunks(999) {
            whole.extend_from_slice(byte);
            while let Some(part) = take(&mut whole).unwrap() {
                match part {
                    Some(part) => read.extend_from_slice(&part),
                    None => ended = true,
                }
            }
        }
        assert!(ended && read == data);
        let mut damaged = BytesMut::from(&frame(b"abc")[..]);
        damaged[HEAD] ^= 1;
        assert_eq!(take(&mut damaged).unwrap_err().kind, ErrorKind::Unavailable);
        let mut huge = BytesMut::from(&[0xff_u8; HEAD + 1][..]);
        assert!(take(&mut huge).is_err());
    }

    #[test]
    fn a_segment_is_never_more_than_one() {
        assert_eq!(segment("fake-0001"), "fake-0001");
        assert_eq!(segment("../x?y#z"), "%2E%2E%2Fx%3Fy%23z");
    }
}
