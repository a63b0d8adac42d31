//! Reading at places, with every length checked before anything is allocated.
//!
//! An image may lie in a store where each read is a request: the two ends are read once, and an inspection makes
//! at most [`MAX_READS`] reads of [`MAX_BYTES`] together, whatever the image says. Whole qcow2, VHD, VHDX, VDI,
//! VMDK and raw images take 2 to 9 reads.

use super::{Checked, Refusal};
use std::{cell::RefCell, fs::File, io, os::unix::fs::FileExt};

/// Most bytes read at once: the largest table that is looked at whole.
const MOST: u64 = 32 << 20;
/// Bytes at the start that are read together.
const HEAD: u64 = 64 << 10;
/// Bytes at the end that are read together.
const TAIL: u64 = 1536;
/// Most reads of an inspection. An OVA with many members needs the most: two for each.
pub const MAX_READS: u32 = 600;
/// Most bytes of an inspection: the largest L1 table of a qcow2 and what stands around it.
pub const MAX_BYTES: u64 = 40 << 20;

/// Something with bytes at offsets.
pub trait ReadAt {
    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let part = from.checked_add(buffer.len()).and_then(|to| self.get(from..to));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// What has been read so far.
#[derive(Default)]
struct Seen {
    head: Option<Vec<u8>>,
    tail: Option<Vec<u8>>,
    reads: u32,
    bytes: u64,
}

/// A file under inspection.
pub struct Source<'a> {
    bytes: &'a dyn ReadAt,
    size: u64,
    seen: RefCell<Seen>,
}

impl<'a> Source<'a> {
    /// `bytes` of which there are `size`.
    pub fn new(bytes: &'a dyn ReadAt, size: u64) -> Self {
        Self { bytes, size, seen: RefCell::default() }
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads and bytes so far.
    pub fn cost(&self) -> (u32, u64) {
        let seen = self.seen.borrow();
        (seen.reads, seen.bytes)
    }

    /// The bytes `offset..offset + length`; a refusal if the file does not have them.
    pub fn get(&self, offset: u64, length: u64) -> Checked<Block> {
        let end = offset.checked_add(length).filter(|end| *end <= self.size && length <= MOST);
        let Some(end) = end else {
            return Err(Refusal::because("it is cut short, or points beyond its end"));
        };
        let mut seen = self.seen.borrow_mut();
        let head = HEAD.min(self.size);
        if end <= head {
            if seen.head.is_none() {
                seen.head = Some(self.read(&mut seen, 0, head)?);
            }
            return cut(seen.head.as_deref(), offset, length);
        }
        let tail = self.size.saturating_sub(TAIL);
        if offset >= tail {
            if seen.tail.is_none() {
                seen.tail = Some(self.read(&mut seen, tail, self.size - tail)?);
            }
            return cut(seen.tail.as_deref(), offset - tail, length);
        }
        self.read(&mut seen, offset, length).map(Block)
    }

    fn read(&self, seen: &mut Seen, offset: u64, length: u64) -> Checked<Vec<u8>> {
        seen.reads += 1;
        seen.bytes += length;
        if seen.reads > MAX_READS || seen.bytes > MAX_BYTES {
            return Err(Refusal::because("its tables are too many or too large to be looked at"));
        }
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
        self.bytes.read_exact_at(&mut buffer, offset).map_err(Refusal::Unreadable)?;
        Ok(buffer)
    }

    /// Whether the file has exactly `magic` at `offset`.
    pub fn has(&self, offset: u64, magic: &[u8]) -> Checked<bool> {
        match self.get(offset, magic.len() as u64) {
            Ok(block) => Ok(block.0 == magic),
            Err(Refusal::Content(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn cut(bytes: Option<&[u8]>, offset: u64, length: u64) -> Checked<Block> {
    let range = usize::try_from(offset).ok().zip(usize::try_from(offset + length).ok());
    let part = bytes.zip(range).and_then(|(bytes, (from, to))| bytes.get(from..to));
    part.map(|p| Block(p.to_vec())).ok_or_else(|| Refusal::because("it is cut short"))
}

/// Bytes that were read. Numbers beyond their end are a refusal, never a panic.
pub struct Block(pub Vec<u8>);

macro_rules! numbers {
    ($($name:ident $type:ty, $from:ident;)*) => {$(
        #[doc = concat!("The number at `at`: ", stringify!($type), ", ", stringify!($from), ".")]
        pub fn $name(&self, at: usize) -> Checked<$type> {
            self.array(at).map(<$type>::$from)
        }
    )*};
}

impl Block {
    numbers! {
        be32 u32, from_be_bytes;
        be64 u64, from_be_bytes;
        le16 u16, from_le_bytes;
        le32 u32, from_le_bytes;
        le64 u64, from_le_bytes;
    }

    /// `N` bytes at `at`.
    pub fn array<const N: usize>(&self, at: usize) -> Checked<[u8; N]> {
        at.checked_add(N)
            .and_then(|end| self.0.get(at..end))
            .and_then(|part| part.try_into().ok())
            .ok_or_else(|| Refusal::because("it is cut short"))
    }

    /// The bytes `at..at + length`.
    pub fn part(&self, at: usize, length: usize) -> Checked<&[u8]> {
        at.checked_add(length)
            .and_then(|end| self.0.get(at..end))
            .ok_or_else(|| Refusal::because("it is cut short"))
    }
}
