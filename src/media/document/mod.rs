//! The MIME type of documents, and what follows from one.
//!
//! Bytes that can only be one thing say what it is. Many do not: a ZIP, a text, two letters at the
//! beginning that a word may begin with, too. There the caller's word counts, and the extension.

mod ole;
#[cfg(test)]
mod tests;
mod zip;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::MediaRequest;
use super::content::{Content, Ogg};

/// For files that say nothing of themselves.
const UNKNOWN: &str = "application/octet-stream";

/// What is read of a file to say what it is.
const HEAD: u64 = 8 * 1024;

/// What callers and servers say when they do not know.
const NO_WORD: &[&str] = &[
    UNKNOWN,
    "application/binary",
    "application/download",
    "application/force-download",
    "application/unknown",
    "application/x-binary",
    "application/x-download",
    "application/x-octet-stream",
    "application/x-unknown",
    "binary/octet-stream",
    "unknown/unknown",
];

/// What they say of any ZIP.
const ANY_ZIP: &[&str] = &[
    "application/zip",
    "application/x-zip",
    "application/x-zip-compressed",
];

/// Extensions that mime_guess does not know: Apple's office, Visio's and some models, which all are ZIPs, and
/// comics, of which it knows those in RAR.
const MORE: &[(&str, &str)] = &[
    ("pages", "application/vnd.apple.pages"),
    ("numbers", "application/vnd.apple.numbers"),
    ("key", "application/vnd.apple.keynote"),
    ("vsdx", "application/vnd.ms-visio.drawing"),
    ("cbz", "application/vnd.comicbook+zip"),
    ("3mf", "model/3mf"),
    ("usdz", "model/vnd.usdz+zip"),
];

/// What the bytes of a file say.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bytes {
    /// This, whatever is said of it.
    Surely(Cow<'static, str>),
    /// One of a family, whose types have one of these in them; usually this one.
    Family {
        family: &'static [&'static str],
        usual: &'static str,
    },
    /// Something that holds something else; by itself it is this.
    Container(&'static str),
    /// Text, perhaps of this kind.
    Text(&'static str),
    /// Perhaps this: so few bytes may be chance.
    Perhaps(&'static str),
    Nothing,
}

/// The type of a document: from its bytes; where they leave that open, from the caller's own word, what came
/// with the file, and its name.
///
/// # Errors
/// What the disk says.
pub(super) fn mimetype(
    file: &mut File,
    content: Content,
    request: &MediaRequest,
) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    let bytes = look(&head, file, content)?;
    Ok(decide(&bytes, request).into_owned())
}

fn look(head: &[u8], file: &mut File, content: Content) -> io::Result<Bytes> {
    if zip::is_zip(head) {
        return zip::look(head, file);
    }
    if ole::is_ole(head) {
        return ole::look(head, file);
    }
    let start = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    for (magic, mimetype) in [
        (&b"%PDF-"[..], "application/pdf"),
        (b"{\\rtf", "application/rtf"),
        (b"%!PS", "application/postscript"),
    ] {
        if start.trim_ascii_start().starts_with(magic) {
            return Ok(Bytes::Surely(mimetype.into()));
        }
    }
    let from_bytes = content.mimetype();
    Ok(match text(head) {
        Some(Text::Unicode) => Bytes::Text(kind_of_text(start, content)),
        // Texts in older encodings; or a few bytes that merely look so.
        Some(Text::Bytes) => match from_bytes {
            Some(mimetype) => Bytes::Perhaps(mimetype),
            None if is_mostly_ascii(head) => Bytes::Text("text/plain"),
            None => Bytes::Nothing,
        },
        None => of_binary(head, content),
    })
}

/// What is no text, no ZIP and no compound file.
fn of_binary(head: &[u8], content: Content) -> Bytes {
    let Some(mimetype) = content.mimetype() else {
        return Bytes::Nothing;
    };
    match content {
        // Two bytes make a frame's head; a tag before it is more.
        Content::Mp3 if head.starts_with(b"ID3") => Bytes::Surely(mimetype.into()),
        Content::Mp3 | Content::Adts | Content::Ogg(Ogg::Other) => Bytes::Perhaps(mimetype),
        Content::Other(mimetype) => match mimetype {
            "image/bmp" if is_bmp(head) => Bytes::Surely(mimetype.into()),
            "application/gzip"
            | "application/x-bzip2"
            | "application/x-xz"
            | "application/zstd"
            | "application/x-lz4"
            | "application/x-lzip"
            // Cameras' own formats are TIFF, as far as their beginning tells.
            | "image/tiff"
            // Windows' sounds begin as its films do.
            | "video/x-ms-wmv"
            | "application/vnd.sqlite3" => Bytes::Container(mimetype),
            // Each is told by two or three bytes, or by letters.
            "image/bmp"
            | "image/gif"
            | "image/jxl"
            | "image/vnd.ms-photo"
            | "image/webp"
            | "image/vnd.dwg"
            | "audio/mpeg"
            | "audio/m4a"
            | "audio/x-ape"
            | "audio/x-dsf"
            | "application/pdf"
            | "application/postscript"
            | "application/vnd.microsoft.portable-executable"
            | "application/x-compress"
            | "application/x-cpio"
            | "application/x-executable"
            | "application/x-google-chrome-extension"
            | "application/x-llvm"
            | "application/x-shockwave-flash"
            | "application/x-x509-ca-cert"
            | "text/html"
            | "text/xml"
            | "text/x-shellscript" => Bytes::Perhaps(mimetype),
            UNKNOWN => Bytes::Nothing,
            _ => Bytes::Surely(mimetype.into()),
        },
        _ => Bytes::Surely(mimetype.into()),
    }
}

/// Whether a bitmap's second head follows its first one: one of those that there are, by its size.
fn is_bmp(head: &[u8]) -> bool {
    matches!(
        head.get(14..18),
        Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
    )
}

enum Text {
    Unicode,
    /// One or two bytes a character, in an encoding that is not said.
    Bytes,
}

/// Whether that is the beginning of a text: it has no control characters but those of lines.
fn text(head: &[u8]) -> Option<Text> {
    let is_line = |c: u32| matches!(c, 0x09 | 0x0A | 0x0C | 0x0D | 0x1A | 0x1B);
    let is_control = |c: u32| (c < 0x20 || c == 0x7F) && !is_line(c);
    let in_units = |from: fn([u8; 2]) -> u16| {
        let units = head[2..].chunks_exact(2).map(|two| from([two[0], two[1]]));
        let mut wrong = 0;
        let controls = char::decode_utf16(units).any(|c| match c {
            Ok(c) => is_control(c.into()),
            Err(_) => {
                wrong += 1;
                false
            }
        });
        // The last character may be cut in two.
        (!controls && wrong <= 1).then_some(Text::Unicode)
    };
    match head {
        [0xFF, 0xFE, ..] => return in_units(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => return in_units(u16::from_be_bytes),
        _ => {}
    }
    if head.iter().any(|&byte| is_control(byte.into())) {
        return None;
    }
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        // Cut within a character.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    Some(if is_utf8 { Text::Unicode } else { Text::Bytes })
}

fn is_mostly_ascii(head: &[u8]) -> bool {
    head.iter().filter(|byte| byte.is_ascii()).count() > head.len() / 2
}

/// Kinds of text that say it at their beginning, if only to a reader who knows nothing better.
fn kind_of_text(start: &[u8], content: Content) -> &'static str {
    let start = start.trim_ascii_start();
    let begins = |with: &str| {
        start
            .get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    if begins("BEGIN:VCARD") {
        return "text/vcard";
    }
    if begins("BEGIN:VCALENDAR") {
        return "text/calendar";
    }
    match content {
        Content::Other("text/xml" | "text/html") if has(start, b"<svg") => "image/svg+xml",
        Content::Other(
            mimetype @ ("text/xml"
            | "text/html"
            | "text/x-shellscript"
            | "application/x-x509-ca-cert"),
        ) => mimetype,
        _ if begins("<svg") => "image/svg+xml",
        _ => "text/plain",
    }
}

fn has(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// Pure.
fn decide<'w>(bytes: &Bytes, request: &'w MediaRequest) -> Cow<'w, str> {
    let said = |words: &'w Option<String>| {
        words
            .as_deref()
            .map(str::trim)
            .filter(|said| is_mimetype(said) && !NO_WORD.contains(&essence(said).as_str()))
    };
    let fits = |mimetype: &str| match bytes {
        Bytes::Surely(_) => false,
        Bytes::Family { family, .. } => family.iter().any(|part| mimetype.contains(part)),
        Bytes::Container(_) => may_be_held(mimetype),
        Bytes::Text(_) | Bytes::Perhaps(_) | Bytes::Nothing => true,
    };
    let own_word = said(&request.mimetype).filter(|said| fits(said));
    let by_name = request
        .file_name
        .as_deref()
        .and_then(by_name)
        .filter(|known| {
            // TypeScript is no video.
            fits(known) && (!matches!(bytes, Bytes::Text(_)) || may_be_text(known))
        });
    let came_with = said(&request.came_with).filter(|said| {
        let binary = !matches!(bytes, Bytes::Text(_) | Bytes::Perhaps(_));
        fits(said) && !(binary && essence(said) == "text/plain")
    });
    // What is said of every text and every ZIP, an extension says better; and browsers under Windows call
    // a CSV what opens it there.
    let by_name_first = by_name.is_some_and(|name| {
        came_with.is_some_and(|said| {
            let said = essence(said);
            (said == "text/plain" && name != said)
                || ANY_ZIP.contains(&said.as_str())
                || (said == "application/vnd.ms-excel" && name.starts_with("text/"))
        })
    });
    let found = match by_name_first {
        true => own_word.or(by_name).or(came_with),
        false => own_word.or(came_with).or(by_name),
    };
    match (bytes, found) {
        (Bytes::Surely(mimetype), _) => Cow::Owned(mimetype.clone().into_owned()),
        (_, Some(found)) => Cow::Borrowed(found),
        (Bytes::Family { usual, .. }, None) => Cow::Borrowed(*usual),
        (Bytes::Container(mimetype) | Bytes::Text(mimetype) | Bytes::Perhaps(mimetype), None) => {
            Cow::Borrowed(*mimetype)
        }
        (Bytes::Nothing, None) => Cow::Borrowed(UNKNOWN),
    }
}

/// Whether something can be of this type and look like a ZIP, a compound file or what is packed: no text can,
/// and nothing that has a beginning of its own.
fn may_be_held(mimetype: &str) -> bool {
    let essence = essence(mimetype);
    !essence.starts_with("text/")
        && !matches!(
            essence.as_str(),
            "application/pdf"
                | "application/json"
                | "image/jpeg"
                | "image/png"
                | "image/gif"
                | "image/webp"
                | "audio/mpeg"
                | "audio/ogg"
                | "video/mp4"
        )
}

/// Whether a text can be of this type, by what its extension says.
fn may_be_text(mimetype: &str) -> bool {
    match mimetype.split('/').next() {
        Some("video" | "font") => false,
        Some("image") => mimetype.contains("svg") || mimetype.starts_with("image/x-"),
        // Lists of stations and songs.
        Some("audio") => mimetype.contains("mpegurl") || mimetype.contains("scpls"),
        _ => true,
    }
}

fn by_name(file_name: &str) -> Option<&'static str> {
    let (_, extension) = file_name.rsplit_once('.')?;
    by_extension(extension)
}

fn by_extension(extension: &str) -> Option<&'static str> {
    let more = MORE
        .iter()
        .find(|(known, _)| extension.eq_ignore_ascii_case(known))
        .map(|(_, mimetype)| *mimetype);
    more.or_else(|| mime_guess::from_ext(extension).first_raw())
        .filter(|known| !NO_WORD.contains(known))
}

/// A type without its parameters, in lower case.
fn essence(mimetype: &str) -> String {
    let essence = mimetype.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// `type/subtype` of RFC 9110's tokens, with parameters of visible ASCII; not too long.
fn is_mimetype(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    text.len() <= 127
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && essence
            .split_once('/')
            .is_some_and(|(kind, sub)| token(kind) && token(sub))
}

/// The extension that is usual among those of one type. For each type the first counts.
const USUAL: &[&str] = &[
    "jpg", "png", "webp", "gif", "heic", "avif", "bmp", "tif", "svg", "ico", "mp4", "mov", "3gp",
    "webm", "mkv", "avi", "wmv", "mpg", "ogg", "mp3", "m4a", "aac", "flac", "wav", "aiff", "mid",
    "wma", "pdf", "txt", "csv", "tsv", "md", "html", "css", "js", "json", "xml", "yaml", "toml",
    "ics", "vcf", "eml", "srt", "vtt", "gpx", "kml", "kmz", "geojson", "rtf", "ps", "tex", "doc",
    "xls", "ppt", "msg", "pub", "vsd", "docx", "docm", "dotx", "dotm", "xlsx", "xlsm", "xltx",
    "xltm", "xlsb", "pptx", "pptm", "ppsx", "ppsm", "potx", "odt", "ods", "odp", "odg", "odf",
    "ott", "epub", "mobi", "pages", "numbers", "key", "vsdx", "xps", "zip", "rar", "7z", "tar",
    "gz", "bz2", "xz", "apk", "jar", "ipa", "sh", "torrent", "ttf", "otf", "woff", "woff2", "p12",
    "crt", "cbz", "3mf", "usdz", "stl", "dxf", "parquet", "sql", "swf",
];

/// Types under other names than those of [`by_extension`].
const OTHER_NAMES: &[(&str, &str)] = &[
    ("application/vnd.debian.binary-package", "deb"),
    ("application/vnd.microsoft.portable-executable", "exe"),
    ("application/vnd.rar", "rar"),
    ("application/vnd.sqlite3", "sqlite"),
    ("application/x-msi", "msi"),
    ("application/x-rpm", "rpm"),
    ("application/x-zip-compressed", "zip"),
    ("application/x-xz", "xz"),
    ("application/x-yaml", "yaml"),
    ("application/yaml", "yaml"),
    ("application/zstd", "zst"),
    ("application/dicom", "dcm"),
    ("application/vnd.ms-xpsdocument", "xps"),
    ("application/xml", "xml"),
    ("audio/amr", "amr"),
    ("audio/mp4", "m4a"),
    ("audio/x-wav", "wav"),
    ("audio/x-aiff", "aiff"),
    ("image/heif", "heif"),
    ("image/vnd.adobe.photoshop", "psd"),
    ("image/vnd.dwg", "dwg"),
    ("image/vnd.microsoft.icon", "ico"),
    ("text/vcard", "vcf"),
    ("text/x-shellscript", "sh"),
];

/// The usual extension of files of that type; `None` for a type of which none is known.
pub fn extension_of(mimetype: &str) -> Option<&'static str> {
    let essence = essence(mimetype);
    let usual = USUAL.iter().find(|extension| {
        by_extension(extension).is_some_and(|known| known.eq_ignore_ascii_case(&essence))
    });
    let other = OTHER_NAMES
        .iter()
        .find(|(known, _)| *known == essence)
        .map(|(_, extension)| *extension);
    let by_family = || {
        let ends = |with: &str| essence.ends_with(with);
        match essence.split('/').next() {
            _ if ends("+xml") => Some("xml"),
            _ if ends("+json") => Some("json"),
            _ if ends("+zip") => Some("zip"),
            Some("text") => Some("txt"),
            _ => None,
        }
    };
    usual.copied().or(other).or_else(by_family)
}

/// The name of a document that came without one.
pub fn usual_name(mimetype: &str) -> String {
    format!("document.{}", extension_of(mimetype).unwrap_or("bin"))
}
