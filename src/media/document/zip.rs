//! Detects the type of ZIP files (APPNOTE.TXT 6.3.9) by the names of entries in any order: documents of office
//! suites, books, maps, programs. Nothing is decompressed.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Bytes, is_mimetype};

/// Bytes at the end that are searched for the end record: a comment has at most 65,535.
const TAIL: u64 = 22 + 65_535;
/// Bytes of the central directory that are read: some thousand entries.
const LIST: u64 = 256 * 1024;

const LOCAL: &[u8] = b"PK\x03\x04";
const LISTED: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

/// The first, uncompressed entry of OpenDocument and EPUB.
const MIMETYPE: &[u8] = b"mimetype";

pub(super) fn is_zip(head: &[u8]) -> bool {
    [LOCAL, END, b"PK\x07\x08"]
        .iter()
        .any(|magic| head.starts_with(magic))
}

/// The names that were seen.
#[derive(Debug, Default)]
struct Inside {
    content_types: bool,
    word: bool,
    sheets: bool,
    slides: bool,
    drawing: bool,
    macros: bool,
    binary_sheets: bool,
    fixed_pages: bool,
    android: bool,
    java: bool,
    ios: bool,
    map: bool,
    book: bool,
    keynote: bool,
}

impl Inside {
    fn see(&mut self, name: &[u8]) {
        // Some Windows programs write folders with backslashes.
        let name = String::from_utf8_lossy(name).replace('\\', "/");
        let name = name.trim_start_matches('/');
        self.content_types |= name.eq_ignore_ascii_case("[Content_Types].xml");
        self.word |= name.starts_with("word/");
        self.sheets |= name.starts_with("xl/");
        self.slides |= name.starts_with("ppt/");
        self.drawing |= name.starts_with("visio/");
        self.macros |= name.ends_with("/vbaProject.bin");
        self.binary_sheets |= name == "xl/workbook.bin";
        self.fixed_pages |= name.ends_with(".fdseq");
        self.android |= name == "AndroidManifest.xml";
        self.java |= name == "META-INF/MANIFEST.MF";
        self.ios |= name.starts_with("Payload/") && name.contains(".app/");
        self.map |= !name.contains('/') && name.to_ascii_lowercase().ends_with(".kml");
        self.book |= name == "META-INF/container.xml";
        self.keynote |= name.starts_with("Index/Slide") && name.ends_with(".iwa");
    }

    fn says(&self) -> Bytes {
        let family = |family, usual| Bytes::Family { family, usual };
        if self.content_types {
            let usual = match (self.word, self.sheets, self.slides) {
                (true, _, _) if self.macros => "application/vnd.ms-word.document.macroEnabled.12",
                (true, _, _) => {
                    "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
                }
                (_, true, _) if self.binary_sheets => {
                    "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
                }
                (_, true, _) if self.macros => "application/vnd.ms-excel.sheet.macroEnabled.12",
                (_, true, _) => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                (_, _, true) if self.macros => {
                    "application/vnd.ms-powerpoint.presentation.macroEnabled.12"
                }
                (_, _, true) => {
                    "application/vnd.openxmlformats-officedocument.presentationml.presentation"
                }
                _ if self.drawing => return Bytes::Container("application/vnd.ms-visio.drawing"),
                _ if self.fixed_pages => return Bytes::Container("application/vnd.ms-xpsdocument"),
                // Packages of other programs: the extension decides.
                _ => return Bytes::Container("application/zip"),
            };
            // Templates and slide shows have the same parts as documents: the extension decides.
            return if self.word {
                family(&["wordprocessingml.", "ms-word."], usual)
            } else if self.sheets {
                family(&["spreadsheetml.", "ms-excel."], usual)
            } else {
                family(&["presentationml.", "ms-powerpoint."], usual)
            };
        }
        Bytes::Container(if self.android {
            "application/vnd.android.package-archive"
        } else if self.ios {
            "application/x-itunes-ipa"
        } else if self.book {
            "application/epub+zip"
        } else if self.java {
            "application/java-archive"
        } else if self.map {
            "application/vnd.google-earth.kmz"
        } else if self.keynote {
            "application/vnd.apple.keynote"
        } else {
            "application/zip"
        })
    }
}

/// The type of a ZIP that begins with `head`.
pub(super) fn look<R: Read + Seek>(head: &[u8], file: &mut R) -> io::Result<Bytes> {
    if let Some(said) = own_type(head) {
        return Ok(Bytes::Surely(said.to_owned().into()));
    }
    let mut inside = Inside::default();
    match list(file)? {
        Some(list) => each_listed(&list, |name| inside.see(name)),
        // Truncated, or larger than 4 GiB: the entries within `head`.
        None => each_local(head, |name| inside.see(name)),
    }
    Ok(inside.says())
}

/// The MIME type in the first entry, as OpenDocument, EPUB and others have it.
fn own_type(head: &[u8]) -> Option<&str> {
    if !head.starts_with(LOCAL) || u16_at(head, 8)? != 0 {
        return None;
    }
    let name_length = usize::from(u16_at(head, 26)?);
    let extra_length = usize::from(u16_at(head, 28)?);
    let name = head.get(30..)?.get(..name_length)?;
    let content = head.get(30 + name_length + extra_length..)?;
    if name != MIMETYPE {
        return None;
    }
    let size = u32_at(head, 22)? as usize;
    let content = match size {
        // The size follows the content: search for the next header.
        0 => &content[..content.windows(2).position(|two| two == b"PK")?],
        _ => content.get(..size)?,
    };
    let said = std::str::from_utf8(content).ok()?.trim();
    (is_mimetype(said) && !said.contains(';')).then_some(said)
}

/// The central directory.
fn list<R: Read + Seek>(file: &mut R) -> io::Result<Option<Vec<u8>>> {
    let size = file.seek(SeekFrom::End(0))?;
    let tail_at = size.saturating_sub(TAIL);
    let tail = part(file, tail_at, TAIL)?;
    let Some(end) = tail.windows(22).rposition(|end| end.starts_with(END)) else {
        return Ok(None);
    };
    let (Some(length), Some(offset)) = (u32_at(&tail, end + 12), u32_at(&tail, end + 16)) else {
        return Ok(None);
    };
    let (length, offset) = (u64::from(length), u64::from(offset));
    // Bytes before the ZIP make its offsets wrong.
    let just_before = (tail_at + end as u64).checked_sub(length);
    for at in [Some(offset), just_before].into_iter().flatten() {
        if at < size {
            let list = part(file, at, length.min(LIST))?;
            if list.starts_with(LISTED) {
                return Ok(Some(list));
            }
        }
    }
    Ok(None)
}

fn part<R: Read + Seek>(file: &mut R, at: u64, most: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn each_listed(mut list: &[u8], mut see: impl FnMut(&[u8])) {
    while list.starts_with(LISTED) {
        let length = |at| u16_at(list, at).map(usize::from);
        let (Some(name), Some(extra), Some(comment)) = (length(28), length(30), length(32)) else {
            return;
        };
        let Some(text) = list.get(46..46 + name) else {
            return;
        };
        see(text);
        list = list.get(46 + name + extra + comment..).unwrap_or_default();
    }
}

fn each_local(head: &[u8], mut see: impl FnMut(&[u8])) {
    for at in 0..head.len() {
        let here = &head[at..];
        if here.starts_with(LOCAL)
            && let Some(length) = u16_at(here, 26)
            && let Some(name) = here.get(30..30 + usize::from(length))
        {
            see(name);
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*four))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn malformed_zips_are_plain_zips() {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(300, 0xFF);
        bytes.extend_from_slice(b"PK\x05\x06");
        bytes.resize(400, 0xFF);
        for end in 4..bytes.len() {
            let head = &bytes[..end];
            let said = look(head, &mut Cursor::new(head)).unwrap();
            assert!(matches!(said, Bytes::Container("application/zip")), "{end}");
        }
    }
}
