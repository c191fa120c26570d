//! The MIME type of documents, and the file extension of MIME types.
//!
//! A signature determines the type. Where the bytes are ambiguous (a ZIP, a text, a signature of two letters),
//! the declared type and the extension of the name decide.

mod ole;
#[cfg(test)]
mod tests;
mod zip;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::MediaRequest;
use super::content::{Content, Ogg};

/// The type of unknown files.
const UNKNOWN: &str = "application/octet-stream";

/// Bytes that are read to detect the type.
const HEAD: u64 = 8 * 1024;

/// Declared types without information.
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

/// Declared types of any ZIP.
const ANY_ZIP: &[&str] = &[
    "application/zip",
    "application/x-zip",
    "application/x-zip-compressed",
];

/// Extensions that mime_guess lacks: Apple's office, Visio, some 3D models (all of them ZIPs), and comics.
const MORE: &[(&str, &str)] = &[
    ("pages", "application/vnd.apple.pages"),
    ("numbers", "application/vnd.apple.numbers"),
    ("key", "application/vnd.apple.keynote"),
    ("vsdx", "application/vnd.ms-visio.drawing"),
    ("cbz", "application/vnd.comicbook+zip"),
    ("3mf", "model/3mf"),
    ("usdz", "model/vnd.usdz+zip"),
];

/// The type of a file by its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bytes {
    /// Certainly this type.
    Surely(Cow<'static, str>),
    /// A family of types, whose names contain one of these words, and its usual type.
    Family {
        family: &'static [&'static str],
        usual: &'static str,
    },
    /// A container format, which other formats use; its own type.
    Container(&'static str),
    /// Text, possibly of this type.
    Text(&'static str),
    /// Possibly this type, by a few bytes only.
    Perhaps(&'static str),
    Nothing,
}

/// The type of a document by its bytes; if they are ambiguous, by the type in the request, the type declared with
/// the file, and its name.
///
/// # Errors
/// I/O errors.
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
        // Text in an older encoding, or binary with few control characters.
        Some(Text::Bytes) => match from_bytes {
            Some(mimetype) => Bytes::Perhaps(mimetype),
            None if is_mostly_ascii(head) => Bytes::Text("text/plain"),
            None => Bytes::Nothing,
        },
        None => of_binary(head, content),
    })
}

/// Files other than text, ZIP and compound files.
fn of_binary(head: &[u8], content: Content) -> Bytes {
    let Some(mimetype) = content.mimetype() else {
        return Bytes::Nothing;
    };
    match content {
        // A frame's header has only two fixed bytes; a tag is better evidence.
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
            // Raw formats of cameras begin like TIFF.
            | "image/tiff"
            // WMA begins like WMV.
            | "video/x-ms-wmv"
            | "application/vnd.sqlite3" => Bytes::Container(mimetype),
            // Signatures of two or three bytes, or of letters.
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

/// Whether a known DIB header, by its size, follows the file header of a bitmap.
fn is_bmp(head: &[u8]) -> bool {
    matches!(
        head.get(14..18),
        Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
    )
}

enum Text {
    Unicode,
    /// One or two bytes per character, in an unknown encoding.
    Bytes,
}

/// Detects text: no control characters but line ends and tabs.
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
        // The last character may be incomplete.
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
        // An incomplete last character.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    Some(if is_utf8 { Text::Unicode } else { Text::Bytes })
}

fn is_mostly_ascii(head: &[u8]) -> bool {
    head.iter().filter(|byte| byte.is_ascii()).count() > head.len() / 2
}

/// The type of a text by its first characters, for lack of a better one.
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

/// Chooses the type. Pure.
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
    let requested = said(&request.mimetype).filter(|said| fits(said));
    let by_name = request
        .file_name
        .as_deref()
        .and_then(by_name)
        .filter(|known| {
            // `.ts` is TypeScript if it is text, otherwise a video.
            fits(known) && (!matches!(bytes, Bytes::Text(_)) || may_be_text(known))
        });
    let declared = said(&request.declared).filter(|said| {
        let binary = !matches!(bytes, Bytes::Text(_) | Bytes::Perhaps(_));
        fits(said) && !(binary && essence(said) == "text/plain")
    });
    // An extension is more specific than a declared type of any text or ZIP; and browsers on Windows declare a CSV
    // by the program that opens it.
    let by_name_first = by_name.is_some_and(|name| {
        declared.is_some_and(|said| {
            let said = essence(said);
            (said == "text/plain" && name != said)
                || ANY_ZIP.contains(&said.as_str())
                || (said == "application/vnd.ms-excel" && name.starts_with("text/"))
        })
    });
    let found = match by_name_first {
        true => requested.or(by_name).or(declared),
        false => requested.or(declared).or(by_name),
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

/// Whether a file of this type may be a ZIP, a compound or compressed file: not text, and not formats with another
/// signature.
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

/// Whether a file of this type may be text.
fn may_be_text(mimetype: &str) -> bool {
    match mimetype.split('/').next() {
        Some("video" | "font") => false,
        Some("image") => mimetype.contains("svg") || mimetype.starts_with("image/x-"),
        // Playlists.
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

/// The usual extensions; for each type the first one that matches.
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

/// Other names of types than those of [`by_extension`].
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

/// The usual extension of files of a type, if known.
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

/// The name of a document without one.
pub fn usual_name(mimetype: &str) -> String {
    format!("document.{}", extension_of(mimetype).unwrap_or("bin"))
}
