//! ISO 9660: a primary volume descriptor in sector 16; or UDF alone, which names itself there and in the next one.
//! The sectors before are the boot loader's (hybrid images).

use super::{Checked, Refusal, source::Source};

/// The virtual size, or why not.
pub fn check(source: &Source<'_>) -> Checked<u64> {
    let volume = source.get(0x8000, 2048)?;
    if volume.part(1, 5)? == b"BEA01" {
        return match source.get(0x8801, 5)?.0.as_slice() {
            b"NSR02" | b"NSR03" => Ok(source.size()),
            _ => Err(Refusal::because("its volume recognition sequence is damaged")),
        };
    }
    let [kind] = volume.array::<1>(0)?;
    let [version] = volume.array::<1>(6)?;
    let block = volume.le16(128)?;
    if kind != 1 || version != 1 || !matches!(block, 512 | 1024 | 2048) {
        return Err(Refusal::because("its volume descriptor is damaged"));
    }
    Ok(source.size())
}
