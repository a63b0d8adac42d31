//! Archives: they are stored as they are and never unpacked here, but what others unpack must not be a trap.
//! Sources: POSIX pax, PKWARE's APPNOTE, RFC 1952.

use super::{
    Checked, Refusal,
    detect::Kind,
    source::{Block, Source},
};

const BLOCK: u64 = 512;
/// Most members of an OVA that are believed, and of a container's file system that are looked at.
const MEMBERS: usize = 256;
/// Longest name or set of pax records, bytes.
const LONGEST: u64 = 64 << 10;
/// Bytes at the end of a zip in which its end record must be.
const ZIP_END: u64 = 22 + 65_535;

fn refuse<T>(why: impl Into<String>) -> Checked<T> {
    Err(Refusal::because(why))
}

/// Checks an archive of the container format.
pub fn check(source: &Source<'_>, kinds: &[Kind], container: &str) -> Checked<()> {
    let fits = |kind: &Kind| match container {
        "ova" => *kind == Kind::Tar,
        "docker" => matches!(kind, Kind::Tar | Kind::Gzip),
        _ => kind.is_archive() && *kind != Kind::Tar,
    };
    let [kind] = kinds else {
        return mismatch(container, kinds.iter().find(|k| !fits(k)).copied());
    };
    if !fits(kind) {
        return mismatch(container, Some(*kind));
    }
    match kind {
        Kind::Tar => tar(source, container == "ova"),
        Kind::Zip => zip(source),
        Kind::Gzip if source.get(3, 1)?.0[0] & 0xe0 != 0 => refuse("its gzip header is damaged"),
        _ => Ok(()),
    }
}

fn mismatch<T>(container: &str, kind: Option<Kind>) -> Checked<T> {
    let is = kind.map_or("something else", Kind::name);
    refuse(format!("Image content does not match container_format: declared {container}, found {is}"))
}

/// Members one after the other. An OVA holds plain files only; a container's file system also has links and
/// devices, which is why only its names are looked at, and only those of the first members.
fn tar(source: &Source<'_>, ova: bool) -> Checked<()> {
    let (mut at, mut members) = (0, 0);
    while at < source.size() {
        let header = source.get(at, BLOCK)?;
        if header.0.iter().all(|b| *b == 0) {
            break;
        }
        members += 1;
        if members > MEMBERS {
            return if ova { refuse("it has too many members") } else { Ok(()) };
        }
        let size = member(source, at, &header, ova)?;
        let next = size.checked_next_multiple_of(BLOCK).and_then(|s| (at + BLOCK).checked_add(s));
        let Some(next) = next.filter(|next| *next <= source.size()) else {
            return refuse("it is cut short");
        };
        at = next;
    }
    if members == 0 { refuse("it has no members") } else { Ok(()) }
}

/// The bytes that follow a member's header.
fn member(source: &Source<'_>, at: u64, header: &Block, ova: bool) -> Checked<u64> {
    let sum: u32 = header.0.iter().map(|b| u32::from(*b)).sum();
    let own: u32 = header.part(148, 8)?.iter().map(|b| u32::from(*b)).sum();
    if octal(header.part(148, 8)?)? != u64::from(sum - own + 8 * u32::from(b' ')) {
        return refuse("a member's checksum is wrong");
    }
    let size = octal(header.part(124, 12)?)?;
    let data =
        || if size > LONGEST { refuse("a member's name is too long") } else { source.get(at + BLOCK, size) };
    match header.part(156, 1)?[0] {
        b'x' | b'g' => records(&data()?.0)?,
        b'L' => plain(text(&data()?.0))?,
        0 | b'0' | b'7' => names(header)?,
        _ if !ova => names(header)?,
        b'5' => names(header)?,
        _ => return refuse("a member is a link, a device or something else that is no plain file"),
    }
    Ok(size)
}

fn names(header: &Block) -> Checked<()> {
    plain(text(header.part(0, 100)?))?;
    // Only POSIX archives have a prefix; GNU ones have other things there.
    if header.part(257, 8)? == b"ustar\x0000" { plain(text(header.part(345, 155)?)) } else { Ok(()) }
}

/// `17 path=some/name\n`
fn records(mut bytes: &[u8]) -> Checked<()> {
    while !bytes.is_empty() {
        let space = bytes.iter().take(8).position(|b| *b == b' ');
        let length =
            space.and_then(|s| std::str::from_utf8(&bytes[..s]).ok()).and_then(|n| n.parse::<usize>().ok());
        // A record that ends before its own text would be read again and again.
        let ends = space.zip(length).filter(|(space, length)| length > space);
        let Some((record, rest)) =
            ends.and_then(|(space, length)| Some((bytes.get(space + 1..length)?, &bytes[length..])))
        else {
            return refuse("a member's records are damaged");
        };
        let equals = record.iter().position(|b| *b == b'=').unwrap_or(record.len());
        match &record[..equals] {
            b"path" => plain(record.get(equals + 1..).unwrap_or_default().trim_ascii_end())?,
            b"size" | b"linkpath" => return refuse("a member's records contradict its header"),
            _ => {}
        }
        bytes = rest;
    }
    Ok(())
}

fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// A name that stays where it is unpacked.
fn plain(name: &[u8]) -> Checked<()> {
    let climbs = name.split(|b| matches!(b, b'/' | b'\\')).any(|part| part == b"..");
    let absolute = name.starts_with(b"/") || name.starts_with(b"\\") || name.get(1) == Some(&b':');
    if climbs || absolute || name.contains(&0) {
        refuse("a member's name leads out of the archive")
    } else {
        Ok(())
    }
}

/// A number in octal digits, or in base 256 as GNU writes large ones.
fn octal(field: &[u8]) -> Checked<u64> {
    if field.first().is_some_and(|b| b & 0x80 != 0) {
        let (high, low) = field.split_at(field.len().saturating_sub(8));
        if high.iter().skip(1).any(|b| *b != 0) || high.first() != Some(&0x80) {
            return refuse("a member's size is out of range");
        }
        return Ok(u64::from_be_bytes(low.try_into().unwrap_or([0xff; 8])));
    }
    let digits: Vec<u8> =
        field.iter().copied().skip_while(|b| *b == b' ').take_while(|b| !matches!(b, 0 | b' ')).collect();
    let number = std::str::from_utf8(&digits).ok().filter(|d| !d.starts_with('+'));
    match number {
        Some("") => Ok(0),
        Some(digits) => u64::from_str_radix(digits, 8).or_else(|_| refuse("a member's header is damaged")),
        None => refuse("a member's header is damaged"),
    }
}

/// A zip is a compressed image if it holds one plain file.
fn zip(source: &Source<'_>) -> Checked<()> {
    let length = ZIP_END.min(source.size());
    let tail = source.get(source.size() - length, length)?;
    let Some(at) = tail.0.windows(4).rposition(|w| w == b"PK\x05\x06") else {
        return refuse("its directory is missing");
    };
    let end = Block(tail.0[at..].to_vec());
    let comment = u64::from(end.le16(20)?);
    if (at as u64) + 22 + comment != length || end.le32(4)? != 0 {
        return refuse("its directory is damaged");
    }
    if (end.le16(8)?, end.le16(10)?) != (1, 1) {
        return refuse(format!("it holds {} files instead of one", end.le16(10)?));
    }
    let (bytes, offset) = (u64::from(end.le32(12)?), u64::from(end.le32(16)?));
    if !(46..=LONGEST).contains(&bytes) {
        return refuse("its directory is damaged");
    }
    let entry = source.get(offset, bytes)?;
    let (name, local) = (usize::from(entry.le16(28)?), u64::from(entry.le32(42)?));
    // What Unix calls the kind of a file, in the upper half of the attributes.
    let mode = entry.le32(38)? >> 28;
    if entry.part(0, 4)? != b"PK\x01\x02" || !matches!(mode, 0 | 8) || entry.le16(8)? & 1 != 0 {
        return refuse("its file is a link, a device, encrypted or damaged");
    }
    if local != 0 || entry.part(46, name)?.ends_with(b"/") {
        return refuse("its file is out of place");
    }
    let head = source.get(0, 30)?;
    let inner = source.get(30, u64::from(head.le16(26)?))?;
    if inner.0 != entry.part(46, name)? {
        return refuse("its directory contradicts its file");
    }
    plain(&inner.0)
}
