//! Reading at places of something far away: blocks are fetched whole and some are kept.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{io, ops::Range};

/// Bytes fetched at once.
const BLOCK: u64 = 128 << 10;
/// Blocks kept.
const KEPT: usize = 16;

/// The blocks used last, the newest at the end.
#[derive(Default)]
pub struct Cache(Mutex<Vec<(u64, Bytes)>>);

impl Cache {
    /// Fills `buffer` from `offset` of `size` bytes, `fetch`ing what is not there.
    pub fn read(
        &self,
        buffer: &mut [u8],
        offset: u64,
        size: u64,
        fetch: impl Fn(Range<u64>) -> io::Result<Bytes>,
    ) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        // What is larger than all that is kept is not kept.
        if buffer.len() as u64 > BLOCK * KEPT as u64 / 2 {
            return copy(buffer, &fetch(offset..end)?);
        }
        let mut at = offset;
        while at < end {
            let first = at / BLOCK * BLOCK;
            let block = self.block(first, size, &fetch)?;
            let until = end.min(first + BLOCK);
            let place = |position: u64| usize::try_from(position).map_err(io::Error::other);
            let part = block.get(place(at - first)?..place(until - first)?);
            copy(&mut buffer[place(at - offset)?..place(until - offset)?], part.unwrap_or_default())?;
            at = until;
        }
        Ok(())
    }

    fn block(
        &self,
        first: u64,
        size: u64,
        fetch: &impl Fn(Range<u64>) -> io::Result<Bytes>,
    ) -> io::Result<Bytes> {
        let mut kept = self.0.lock();
        if let Some(i) = kept.iter().position(|(at, _)| *at == first) {
            let found = kept.remove(i);
            let block = found.1.clone();
            kept.push(found);
            return Ok(block);
        }
        drop(kept);
        let block = fetch(first..size.min(first + BLOCK))?;
        let mut kept = self.0.lock();
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((first, block.clone()));
        Ok(block)
    }
}

fn copy(to: &mut [u8], from: &[u8]) -> io::Result<()> {
    if to.len() != from.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.copy_from_slice(from);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn reads_what_is_there(reads in prop::collection::vec((0_u64..3_000_000, 0_usize..1_500_000), 1..12)) {
            let data: Vec<u8> = (0..2_500_001_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let all = Bytes::from(data.clone());
            let cache = Cache::default();
            for (offset, length) in reads {
                let mut buffer = vec![0; length];
                let done = cache.read(&mut buffer, offset, data.len() as u64, |part| {
                    Ok(all.slice(part.start as usize..part.end as usize))
                });
                match data.get(offset as usize..offset as usize + length) {
                    Some(expected) => { done.unwrap(); prop_assert!(buffer == expected); }
                    None => prop_assert!(done.is_err()),
                }
            }
        }
    }

    #[test]
    fn a_header_is_fetched_once() {
        let cache = Cache::default();
        let fetched = Cell::new(0);
        let fetch = |part: Range<u64>| {
            fetched.set(fetched.get() + 1);
            Ok(Bytes::from(vec![7; (part.end - part.start) as usize]))
        };
        for offset in [0, 100, 65_536, 9] {
            cache.read(&mut [0; 512], offset, 1 << 20, fetch).unwrap();
        }
        assert_eq!(fetched.get(), 1);
        assert!(cache.read(&mut [0; 2], (1 << 20) - 1, 1 << 20, fetch).is_err());
        assert!(cache.read(&mut [0; 2], u64::MAX, 1 << 20, fetch).is_err());
    }
}
