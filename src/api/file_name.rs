//! The names of files, as callers, forms, servers and addresses say them. Pure.
//!
//! What comes out has no folders, no characters that only act, and is short enough for any file system.

use http_types::Url;
use percent_encoding::{percent_decode, percent_decode_str};

use super::base64;

/// The longest name that is kept, in bytes.
const MAX_NAME: usize = 255;
/// The longest extension that is kept when a name is cut, in bytes.
const MAX_EXTENSION: usize = 32;
/// The longest text in which encoded words are looked for, in bytes: each may be searched for its end.
const MAX_WORDS: usize = 4 * 1024;
/// The most parameters of a header that are looked at.
const MAX_PARAMETERS: usize = 64;

/// The name of a file without its folders, controls and excess; `None` if nothing is left.
pub fn clean(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| is_shown(*c)).collect();
    let clean = cut(clean.trim());
    (!clean.is_empty() && clean != "." && clean != "..").then_some(clean)
}

/// Whether a character is one to see: controls, line ends, marks that turn the direction of writing (with
/// which an `exe` looks like a `txt`) and other invisible ones are not. Joiners are: emoji are made of them.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{061C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// Cut in front of the extension, which says what the file is.
fn cut(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let (stem, extension) = match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= MAX_EXTENSION => name.split_at(at),
        _ => (name, ""),
    };
    let mut end = MAX_NAME - extension.len();
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let stem = stem[..end].trim_end_matches(|c: char| c == '\u{200D}' || c.is_whitespace());
    format!("{stem}{extension}")
}

/// What the head of a form's part says (`Content-Disposition`, RFC 7578).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The field.
    pub name: String,
    /// Whether a file's name is given, even an empty one: so a file it is.
    pub is_file: bool,
    pub file_name: Option<String>,
}

/// Reads the head of a form's part.
pub fn of_part(disposition: &[u8]) -> Part {
    let parameters = parameters(disposition);
    // Quotes and line ends are all that browsers encode.
    let plain = |value: &[u8]| {
        let text = text(value);
        ["%22", "%0D", "%0A", "%0d", "%0a"]
            .iter()
            .zip(["\"", "\r", "\n", "\r", "\n"])
            .fold(text, |text, (from, to)| text.replace(from, to))
    };
    let name = parameters.iter().find(|(name, _)| name == "name");
    Part {
        name: name.map_or_else(String::new, |(_, value)| plain(value)),
        is_file: parameters.iter().any(|(name, _)| is_file_name(name)),
        file_name: file_name(&parameters, |value| words(&plain(value))),
    }
}

/// The file name that a server's `Content-Disposition` gives (RFC 6266).
pub fn of_answer(disposition: &[u8]) -> Option<String> {
    file_name(&parameters(disposition), |value| {
        let text = words(&text(value));
        // Many servers encode it as in an address, and browsers decode it so.
        match percent_decode_str(&text).decode_utf8() {
            Ok(decoded) => decoded.into_owned(),
            Err(_) => text,
        }
    })
}

/// The last part of an address's path.
pub fn of_url(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    let bytes: Vec<u8> = percent_decode_str(last).collect();
    clean(&text(&bytes))
}

/// A percent-encoded name, of a `data:` URI.
pub fn of_encoded(name: &[u8]) -> Option<String> {
    let bytes: Vec<u8> = percent_decode(name).collect();
    clean(&text(&bytes))
}

fn is_file_name(parameter: &str) -> bool {
    parameter == "filename" || parameter.starts_with("filename*")
}

/// `filename*` first; then what is in pieces (RFC 2231, of mail programs); then `filename`.
fn file_name(parameters: &[(String, Vec<u8>)], plain: impl Fn(&[u8]) -> String) -> Option<String> {
    let value = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_slice())
    };
    let extended = || clean(&extended(value("filename*")?)?);
    let in_pieces = || {
        let mut whole: Vec<u8> = Vec::new();
        let mut is_encoded = false;
        for number in 0..MAX_PARAMETERS {
            if let Some(piece) = value(&format!("filename*{number}*")) {
                is_encoded |= number == 0;
                whole.extend_from_slice(piece);
            } else if let Some(piece) = value(&format!("filename*{number}")) {
                whole.extend_from_slice(piece);
            } else {
                break;
            }
        }
        let decoded = match is_encoded {
            true => self::extended(&whole),
            false => Some(text(&whole)),
        };
        clean(&decoded?)
    };
    let usual = || clean(&plain(value("filename")?));
    extended().or_else(in_pieces).or_else(usual)
}

/// The parameters of a header, in lower case, without their quotes. Lenient: what cannot be understood is
/// stepped over.
fn parameters(header: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    // The first word is the disposition itself.
    let mut rest = behind(header, b';');
    while !rest.is_empty() && found.len() < MAX_PARAMETERS {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';'));
        let Some(end) = end else {
            break;
        };
        let name = text(rest[..end].trim_ascii()).to_ascii_lowercase();
        if rest[end] == b';' {
            rest = &rest[end + 1..];
            continue;
        }
        let value = rest[end + 1..].trim_ascii_start();
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(inner) => quoted(inner),
            None => {
                let end = value.iter().position(|byte| *byte == b';');
                let (value, after) = value.split_at(end.unwrap_or(value.len()));
                (value.trim_ascii_end().to_vec(), after)
            }
        };
        found.push((name, value));
        rest = behind(after, b';');
    }
    found
}

fn behind(bytes: &[u8], mark: u8) -> &[u8] {
    let at = bytes.iter().position(|byte| *byte == mark);
    at.map_or(&[], |at| &bytes[at + 1..])
}

/// A quoted string from behind its first quote, and what follows its last one. A backslash means a quote or
/// itself in front of such, and otherwise a folder of Windows, which old browsers do not escape.
fn quoted(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let after = &bytes[at + 1..];
        match (byte, after) {
            (b'"', _) => return (value, after),
            (b'\\', [b'"', rest @ ..])
                if !matches!(rest.trim_ascii_start().first(), None | Some(b';')) =>
            {
                value.push(b'"');
                at += 2;
            }
            (b'\\', [b'\\', ..]) => {
                value.push(b'\\');
                at += 2;
            }
            _ => {
                value.push(byte);
                at += 1;
            }
        }
    }
    (value, &[])
}

/// `charset'language'percent-encoded` (RFC 8187).
fn extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(encoded).collect();
    decode(std::str::from_utf8(charset).ok()?, &bytes)
}

/// Bytes as text: UTF-8, or else what Western Windows makes of them.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => windows(bytes),
    }
}

/// Text in a charset that is named; `None` if it is not one of those known here, or not in it.
fn decode(charset: &str, bytes: &[u8]) -> Option<String> {
    // A language may follow (RFC 2231, 5).
    let charset = charset.split('*').next().unwrap_or_default();
    match charset.trim().to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" => std::str::from_utf8(bytes).ok().map(str::to_owned),
        "us-ascii" | "ascii" | "iso-8859-1" | "iso8859-1" | "latin1" | "latin-1"
        | "windows-1252" | "cp1252" => Some(windows(bytes)),
        "iso-8859-15" | "latin9" | "latin-9" => {
            Some(bytes.iter().map(|byte| latin_9(*byte)).collect())
        }
        // In any other one, ASCII is ASCII.
        _ if bytes.is_ascii() => Some(text(bytes)),
        _ => None,
    }
}

/// Windows-1252, of which Latin-1 is a part as far as it can be seen.
fn windows(bytes: &[u8]) -> String {
    const UPPER: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8D}Ž\u{8F}\u{90}‘’“”•–—˜™š›œ\u{9D}žŸ";
    let upper: Vec<char> = UPPER.chars().collect();
    let character = |byte: &u8| match byte {
        0x80..=0x9F => upper.get(usize::from(byte - 0x80)).copied().unwrap_or('?'),
        _ => char::from(*byte),
    };
    bytes.iter().map(character).collect()
}

/// Where Latin-9 differs from Latin-1.
fn latin_9(byte: u8) -> char {
    match byte {
        0xA4 => '€',
        0xA6 => 'Š',
        0xA8 => 'š',
        0xB4 => 'Ž',
        0xB8 => 'ž',
        0xBC => 'Œ',
        0xBD => 'œ',
        0xBE => 'Ÿ',
        _ => char::from(byte),
    }
}

/// Decodes the encoded words of a header (RFC 2047): `=?utf-8?Q?R=C3=A9sum=C3=A9?=`. The space between two
/// of them is none, and a character may be cut between them.
fn words(text: &str) -> String {
    if text.len() > MAX_WORDS {
        return text.to_owned();
    }
    let mut out = String::new();
    // Words of one charset in a row.
    let mut run: Option<Run> = None;
    let mut rest = text;
    while let Some(at) = rest.find("=?") {
        let (before, from) = rest.split_at(at);
        let Some((word, after)) = Word::at_start(from) else {
            end(&mut run, &mut out);
            out.push_str(before);
            out.push_str("=?");
            rest = &from[2..];
            continue;
        };
        let goes_on = before.trim().is_empty();
        match &mut run {
            Some(run) if goes_on && run.charset.eq_ignore_ascii_case(word.charset) => {
                run.bytes.extend(word.bytes);
                run.source.push_str(before);
                run.source.push_str(&from[..from.len() - after.len()]);
            }
            _ => {
                let had_run = run.is_some();
                end(&mut run, &mut out);
                if !(had_run && goes_on) {
                    out.push_str(before);
                }
                run = Some(Run {
                    charset: word.charset.to_owned(),
                    bytes: word.bytes,
                    source: from[..from.len() - after.len()].to_owned(),
                });
            }
        }
        rest = after;
    }
    end(&mut run, &mut out);
    out.push_str(rest);
    out
}

struct Run {
    charset: String,
    bytes: Vec<u8>,
    /// As it came: it stays, in a charset that is not known here.
    source: String,
}

fn end(run: &mut Option<Run>, out: &mut String) {
    if let Some(run) = run.take() {
        match decode(&run.charset, &run.bytes) {
            Some(text) => out.push_str(&text),
            None => out.push_str(&run.source),
        }
    }
}

struct Word<'a> {
    charset: &'a str,
    bytes: Vec<u8>,
}

impl Word<'_> {
    /// The word that `text` begins with, and what follows it.
    fn at_start(text: &str) -> Option<(Word<'_>, &str)> {
        let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
        let (encoding, rest) = rest.split_once('?')?;
        let (encoded, after) = rest.split_once("?=")?;
        if charset.is_empty() || charset.contains(char::is_whitespace) {
            return None;
        }
        let bytes = match encoding {
            "B" | "b" => {
                let mut bytes = Vec::new();
                let characters = encoded.trim_end_matches('=').as_bytes();
                base64::decode(characters, &mut bytes).ok()?;
                bytes
            }
            // As in an address, but for the mark and the space.
            "Q" | "q" => {
                let marked = encoded
                    .replace('%', "%25")
                    .replace('=', "%")
                    .replace('_', " ");
                percent_decode_str(&marked).collect()
            }
            _ => return None,
        };
        Some((Word { charset, bytes }, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_folders() {
        for (name, expected) in [
            ("a.pdf", Some("a.pdf")),
            ("/etc/../a b.pdf", Some("a b.pdf")),
            ("C:\\fakepath\\ü.png", Some("ü.png")),
            ("\\\\server\\share\\a.pdf", Some("a.pdf")),
            ("a\r\nX: y", Some("aX: y")),
            ("a\u{202E}gpj.exe", Some("agpj.exe")),
            ("\u{FEFF}a\u{2028}\u{200F}\u{2066}b\u{1B}[2J", Some("ab[2J")),
            (
                "👨\u{200D}👩\u{200D}👧.jpg",
                Some("👨\u{200D}👩\u{200D}👧.jpg"),
            ),
            ("..", None),
            ("a/", None),
            (" \u{200B} ", None),
            ("", None),
        ] {
            assert_eq!(clean(name).as_deref(), expected, "{name:?}");
        }
    }

    #[test]
    fn names_are_cut_in_front_of_their_extension() {
        for character in ["a", "ü", "€", "👍"] {
            let long = character.repeat(300);
            let name = clean(&format!("{long}.tar.pdf")).unwrap();
            assert!(
                name.len() <= MAX_NAME && name.len() > MAX_NAME - 4,
                "{name}"
            );
            assert!(
                name.ends_with(".pdf") && name.starts_with(character),
                "{name}"
            );
        }
        let endless = clean(&format!("a.{}", "b".repeat(300))).unwrap();
        assert_eq!(endless.len(), MAX_NAME);
        assert_eq!(
            clean(&format!(".{}", "b".repeat(300))).unwrap().len(),
            MAX_NAME
        );
        let joined = clean(&format!("{}{}.pdf", "a".repeat(248), "\u{200D}".repeat(9))).unwrap();
        assert_eq!(joined, format!("{}.pdf", "a".repeat(248)));
    }

    fn in_form(disposition: &[u8]) -> Option<String> {
        let part = of_part(disposition);
        assert_eq!(part.name, "document", "{}", text(disposition));
        assert!(part.is_file);
        part.file_name
    }

    #[test]
    fn the_names_of_forms() {
        for (parameters, expected) in [
            (&b"filename=\"a.pdf\""[..], "a.pdf"),
            (b"FileName = a.pdf", "a.pdf"),
            (b"filename=two words.pdf ; x=y", "two words.pdf"),
            (b"filename=\"a;b.pdf\"; x=\"y\"", "a;b.pdf"),
            (b"filename=\"a\\\"b.pdf\"", "a\"b.pdf"),
            (b"filename=\"a%22b%0D%0a.pdf\"", "a\"b.pdf"),
            // Only what browsers encode is decoded.
            (b"filename=\"100%25 %41.pdf\"", "100%25 %41.pdf"),
            (b"filename=\"C:\\docs\\a.pdf\"", "a.pdf"),
            (b"filename=\"C:\\\\docs\\\\a.pdf\"", "a.pdf"),
            ("filename=\"R\u{e9}sum\u{e9}.pdf\"".as_bytes(), "Résumé.pdf"),
            (b"filename=\"R\xE9sum\xE9 \x80.pdf\"", "Résumé €.pdf"),
            (b"filename*=utf-8''R%C3%A9sum%C3%A9.pdf", "Résumé.pdf"),
            (
                b"filename*=UTF-8'de'%e2%82%ac.pdf; filename=\"EUR.pdf\"",
                "€.pdf",
            ),
            (
                b"filename=\"EUR.pdf\"; filename*=iso-8859-1''R%E9sum%E9.pdf",
                "Résumé.pdf",
            ),
            (b"filename*=iso-8859-15''%A4.pdf", "€.pdf"),
            // What cannot be read leaves the other.
            (b"filename=\"a.pdf\"; filename*=utf-8''%FF.pdf", "a.pdf"),
            (b"filename=\"a.pdf\"; filename*=koi8-r''%C1.pdf", "a.pdf"),
            (b"filename=\"a.pdf\"; filename*=b.pdf", "a.pdf"),
            (
                b"filename*0*=utf-8''R%C3%A9; filename*1=\"sum%C3%A9\"; filename*2=.pdf",
                "Résumé.pdf",
            ),
            (
                b"filename*0=\"one\"; filename*1=\" two.pdf\"",
                "one two.pdf",
            ),
            (b"filename=\"=?utf-8?B?UsOpc3Vtw6kucGRm?=\"", "Résumé.pdf"),
            (b"filename==?UTF-8?q?R=C3=A9_sum=C3=A9?=.pdf", "Ré sumé.pdf"),
            (
                b"filename=\"=?iso-8859-1?Q?R=E9?= =?ISO-8859-1?Q?sum=E9.pdf?=\"",
                "Résumé.pdf",
            ),
            (
                b"filename=\"=?windows-1252?Q?=80?= =?utf-8?Q?=C3=A9?= x.pdf\"",
                "€é x.pdf",
            ),
            // A character that is cut between two words.
            (
                b"filename=\"=?utf-8?B?UsM=?=\r\n =?utf-8?B?qS5wZGY=?=\"",
                "Ré.pdf",
            ),
            (b"filename=\"=?utf-8*fr?Q?=C3=A9?=.pdf\"", "é.pdf"),
            (
                b"filename=\"=?koi8-r?Q?=C1?= a.pdf\"",
                "=?koi8-r?Q?=C1?= a.pdf",
            ),
            (b"filename=\"a=?b?c.pdf\"", "a=?b?c.pdf"),
            (b"filename=\"=?utf-8?X?a?=.pdf\"", "=?utf-8?X?a?=.pdf"),
            (b"filename=\"=?utf-8?Q?=2e=2e=2Fpasswd?=\"", "passwd"),
        ] {
            for both in [
                [&b"form-data; name=\"document\"; "[..], parameters].concat(),
                [&b"form-data; "[..], parameters, b"; name=document"].concat(),
            ] {
                assert_eq!(in_form(&both).as_deref(), Some(expected), "{}", text(&both));
            }
        }
        let empty = of_part(b"form-data; name=document; filename=\"\"");
        assert!(empty.is_file && empty.file_name.is_none());
        let plain = of_part(b"form-data; name=\"my \\\"filename=x\\\" %22\"");
        assert_eq!(
            (plain.name.as_str(), plain.is_file),
            ("my \"filename=x\" \"", false)
        );
        assert_eq!(of_part(b"form-data"), Part::default());
        assert_eq!(of_part(b""), Part::default());
        let endless = format!("; filename={}", "=?a?q?x".repeat(100_000));
        assert!(of_part(endless.as_bytes()).is_file);
        let many = "; a=b".repeat(100_000);
        assert_eq!(of_part(many.as_bytes()), Part::default());
    }

    #[test]
    fn the_names_of_servers() {
        for (header, expected) in [
            (&b"attachment; filename=a.pdf"[..], Some("a.pdf")),
            (
                b"inline;filename=\"two%20words.pdf\"",
                Some("two words.pdf"),
            ),
            (b"attachment; filename=\"100%.pdf\"", Some("100%.pdf")),
            (b"attachment; filename=\"%FF.pdf\"", Some("%FF.pdf")),
            (
                b"attachment; filename=\"..%2F..%2Fetc%2Fpasswd\"",
                Some("passwd"),
            ),
            (
                b"attachment; filename=\"R\xC3\xA9sum\xC3\xA9.pdf\"",
                Some("Résumé.pdf"),
            ),
            (
                b"attachment; filename=\"a.pdf\"; filename*=UTF-8''b.pdf",
                Some("b.pdf"),
            ),
            (b"attachment", None),
            (b"attachment; filename=", None),
        ] {
            assert_eq!(of_answer(header).as_deref(), expected, "{}", text(header));
        }
    }

    #[test]
    fn the_names_of_addresses() {
        for (url, expected) in [
            ("http://a/b/two%20words.pdf?x=y.jpg", Some("two words.pdf")),
            ("http://a/R%E9sum%E9.pdf", Some("Résumé.pdf")),
            ("http://a/..%2F..%2Fpasswd", Some("passwd")),
            ("http://a/b/", None),
            ("http://a", None),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(of_url(&url).as_deref(), expected, "{url}");
        }
    }
}
