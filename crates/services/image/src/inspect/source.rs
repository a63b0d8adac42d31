//! Reading at places, with every length checked before anything is allocated.

use super::{Checked, Refusal};
use std::{fs::File, io, os::unix::fs::FileExt};

/// Most bytes read at once: the largest table that is looked at whole.
const MOST: u64 = 32 << 20;

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

/// A file under inspection.
pub struct Source<'a> {
    bytes: &'a dyn ReadAt,
    size: u64,
}

impl<'a> Source<'a> {
    /// `bytes` of which there are `size`.
    pub fn new(bytes: &'a dyn ReadAt, size: u64) -> Self {
        Self { bytes, size }
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes `offset..offset + length`; a refusal if the file does not have them.
    pub fn get(&self, offset: u64, length: u64) -> Checked<Block> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= self.size) && length <= MOST;
        if !fits {
            return Err(Refusal::because("it is cut short, or points beyond its end"));
        }
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
        self.bytes.read_exact_at(&mut buffer, offset).map_err(Refusal::Unreadable)?;
        Ok(Block(buffer))
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
