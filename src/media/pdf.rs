//! The number of pages of a PDF (ISO 32000-1, 7.7.3): the largest `/Count` of a node of its page tree.
//!
//! The nodes are looked for by their words, without the table of objects: as they stand, and in packed object streams
//! (7.5.7).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use flate2::read::ZlibDecoder;

/// Bytes of a file that is looked at: it is read as a whole.
const MAX_FILE: u64 = 8_000_000;
/// Bytes of an object stream, unpacked, and of all of them.
const MAX_STREAM: u64 = 1_000_000;
const MAX_STREAMS: usize = 16_000_000;
/// Bytes of a node: a flat tree names each page in one.
const MAX_NODE: usize = 256 * 1024;
/// More pages than that are a lie.
const MAX_PAGES: u32 = 100_000;

/// How many pages a file has, if that is found.
pub(super) fn pages(source: &mut File) -> Option<u32> {
    source.seek(SeekFrom::Start(0)).ok()?;
    let mut file = Vec::new();
    source.take(MAX_FILE + 1).read_to_end(&mut file).ok()?;
    if file.len() as u64 > MAX_FILE {
        return None;
    }
    of_bytes(&file)
}

fn of_bytes(file: &[u8]) -> Option<u32> {
    let mut most = counts(file).max();
    let mut left = MAX_STREAMS;
    for at in places(file, b"/ObjStm") {
        let Some(start) = places(&file[at..], b"stream").next() else {
            break;
        };
        let packed = &file[at + start + b"stream".len()..];
        let packed = packed.strip_prefix(b"\r").unwrap_or(packed);
        let packed = packed.strip_prefix(b"\n").unwrap_or(packed);
        let mut objects = Vec::new();
        // What was unpacked up to an error counts.
        let _ = ZlibDecoder::new(packed)
            .take(MAX_STREAM)
            .read_to_end(&mut objects);
        most = most.max(counts(&objects).max());
        left = left.saturating_sub(objects.len().max(1_000));
        if left == 0 {
            break;
        }
    }
    most
}

/// The counts of the nodes of page trees.
fn counts(objects: &[u8]) -> impl Iterator<Item = u32> {
    places(objects, b"/Pages").filter_map(|at| {
        let before = objects[..at].trim_ascii_end();
        let is_type = before.ends_with(b"/Type")
            && !objects.get(at + 6).is_some_and(u8::is_ascii_alphanumeric);
        let node = is_type.then(|| node(objects, at))?;
        let count = places(node, b"/Count").next()?;
        let digits = node[count + 6..].trim_ascii_start();
        let length = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let count = std::str::from_utf8(&digits[..length]).ok()?.parse().ok()?;
        (1..=MAX_PAGES).contains(&count).then_some(count)
    })
}

/// The dictionary around a place: from its `<<` to its `>>`.
fn node(objects: &[u8], at: usize) -> &[u8] {
    let from = at.saturating_sub(MAX_NODE);
    let (mut depth, mut place, mut start) = (0_u32, at, at);
    while place >= from + 2 {
        match &objects[place - 2..place] {
            b">>" => depth += 1,
            b"<<" if depth == 0 => {
                start = place - 2;
                break;
            }
            b"<<" => depth -= 1,
            _ => {
                place -= 1;
                continue;
            }
        }
        place -= 2;
    }
    let to = objects.len().min(at + MAX_NODE);
    let (mut depth, mut place) = (0_u32, at);
    while place + 2 <= to {
        match &objects[place..place + 2] {
            b"<<" => depth += 1,
            b">>" if depth == 0 => break,
            b">>" => depth -= 1,
            _ => {
                place += 1;
                continue;
            }
        }
        place += 2;
    }
    &objects[start..place]
}

fn places<'a>(bytes: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = word[0];
    let found = move |(at, byte): (usize, &u8)| {
        (*byte == first && bytes[at..].starts_with(word)).then_some(at)
    };
    bytes.iter().enumerate().filter_map(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pages_are_counted_by_the_root_of_their_tree() {
        for (file, pages) in [
            (
                &b"1 0 obj <</Type /Pages /Kids [2 0 R] /Count 3>> endobj"[..],
                Some(3),
            ),
            (
                b"<</Count 12 /Resources <</Font <<>> >> /Type/Pages>> <</Type/Pages/Count 5>>",
                Some(12),
            ),
            // An outline counts, too, and is no page tree.
            (
                b"<</Type /Outlines /Count 40>> <</Type /Pages /Count 2>>",
                Some(2),
            ),
            (b"<</Type /Pages /Count -1>>", None),
            (b"<</Type /Pages /Count 99999999999>>", None),
            (b"<</Type /PagesX /Count 4>>", None),
            (b"<</Type /Catalog /Pages 3 0 R>> <</Count 9>>", None),
            (b"/Type /Pages", None),
            (b">>>>/Type/Pages<<<<", None),
            (b"", None),
        ] {
            assert_eq!(of_bytes(file), pages, "{:?}", String::from_utf8_lossy(file));
        }
    }

    #[test]
    fn packed_objects_are_looked_at() {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packer
            .write_all(b"5 0 <</Type/Pages/Kids[7 0 R]/Count 17>>")
            .unwrap();
        let packed = packer.finish().unwrap();
        let file = [
            b"3 0 obj <</Type /ObjStm /N 1>> stream\r\n",
            packed.as_slice(),
        ]
        .concat();
        assert_eq!(of_bytes(&file), Some(17));
        for cut in 0..file.len() {
            of_bytes(&file[..cut]);
        }
    }
}
