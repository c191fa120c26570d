//! Detects the type of OLE compound files ([MS-CFB]) by the names in the root: Office until 2003, Outlook
//! messages, encrypted Office files.

use std::io::{self, Read, Seek, SeekFrom};

use super::Bytes;

const MAGIC: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";
/// The most sectors of the directory that are read, each with four or thirty-two entries.
const SECTORS: usize = 64;
/// Numbers from here on are not sectors.
const NONE: u32 = 0xFFFF_FFFA;
/// Bytes of an entry of the directory.
const ENTRY: usize = 128;
/// The class of installers in the root entry: {000C1084-0000-0000-C000-000000000046}.
const INSTALLER: &[u8] = b"\x84\x10\x0C\0\0\0\0\0\xC0\0\0\0\0\0\0\x46";

pub(super) fn is_ole(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// The type of a compound file that begins with `head`.
pub(super) fn look<R: Read + Seek>(head: &[u8], file: &mut R) -> io::Result<Bytes> {
    let directory = directory(head, file)?.unwrap_or_default();
    let names = names_of_root(&directory);
    let has = |name: &str| names.iter().any(|found| found == name);
    Ok(if has("WordDocument") {
        Bytes::Surely("application/msword".into())
    } else if has("PowerPoint Document") {
        Bytes::Surely("application/vnd.ms-powerpoint".into())
    } else if has("Workbook") || has("Book") {
        Bytes::Surely("application/vnd.ms-excel".into())
    } else if has("__properties_version1.0") {
        Bytes::Surely("application/vnd.ms-outlook".into())
    } else if has("VisioDocument") {
        Bytes::Surely("application/vnd.visio".into())
    } else if has("Quill") {
        Bytes::Surely("application/x-mspublisher".into())
    } else if directory.get(80..96) == Some(INSTALLER) {
        Bytes::Surely("application/x-msi".into())
    } else {
        // Encrypted, or another program's file: the extension decides.
        Bytes::Container("application/x-ole-storage")
    })
}

/// The directory, truncated to [`SECTORS`]; `None` if the file is malformed.
fn directory<R: Read + Seek>(head: &[u8], file: &mut R) -> io::Result<Option<Vec<u8>>> {
    // 512 bytes, or 4 KiB.
    let size = match head.get(30) {
        Some(9) => 512_u64,
        Some(12) => 4096,
        _ => return Ok(None),
    };
    let Some(mut sector) = u32_at(head, 48) else {
        return Ok(None);
    };
    let mut directory = Vec::new();
    for _ in 0..SECTORS {
        if sector >= NONE {
            break;
        }
        // The header precedes sector 0.
        let bytes = part(file, (u64::from(sector) + 1) * size, size)?;
        if bytes.is_empty() {
            break;
        }
        directory.extend(bytes);
        // The sector of the allocation table with the next sector, and its index there.
        let in_one = size / 4;
        let table = usize::try_from(u64::from(sector) / in_one).unwrap_or(usize::MAX);
        // Larger files (over 7 MB) have more tables elsewhere; their directory is at the start, too.
        let Some(table) = (table < 109)
            .then(|| u32_at(head, 76 + 4 * table))
            .flatten()
        else {
            break;
        };
        let at = (u64::from(table) + 1) * size + u64::from(sector) % in_one * 4;
        match u32_at(&part(file, at, 4)?, 0) {
            Some(next) => sector = next,
            None => break,
        }
    }
    Ok((!directory.is_empty()).then_some(directory))
}

/// The names in the root. An entry has links to its siblings and its first child; children of the root's
/// children belong to embedded documents.
fn names_of_root(directory: &[u8]) -> Vec<String> {
    let entry = |number: u32| {
        let at = usize::try_from(number).ok()?.checked_mul(ENTRY)?;
        directory.get(at..)?.first_chunk::<ENTRY>()
    };
    let mut names = Vec::new();
    let mut waiting: Vec<u32> = entry(0)
        .and_then(|root| u32_at(root, 76))
        .into_iter()
        .collect();
    let mut left = directory.len() / ENTRY;
    while let Some(number) = waiting.pop() {
        let Some(entry) = entry(number).filter(|_| left > 0) else {
            continue;
        };
        // Bounded, because the links may form a cycle.
        left -= 1;
        names.push(name(entry));
        waiting.extend(u32_at(entry, 68));
        waiting.extend(u32_at(entry, 72));
    }
    names
}

fn name(entry: &[u8; ENTRY]) -> String {
    let units = entry[..64]
        .chunks_exact(2)
        .map(|two| u16::from_le_bytes([two[0], two[1]]))
        .take_while(|unit| *unit != 0);
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn part<R: Read + Seek>(file: &mut R, at: u64, most: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*four))
}
