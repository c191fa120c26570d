//! The MIME type of documents, and what follows from one.

use super::Wish;
use super::content::Content;

/// For files that say nothing of themselves.
const UNKNOWN: &str = "application/octet-stream";

/// Kinds of text, which have no bytes of their own, and of old Office files and archives, whose
/// bytes tell only the container.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("svg", "image/svg+xml"),
    ("ics", "text/calendar"),
    ("vcf", "text/vcard"),
    ("eml", "message/rfc822"),
    ("gpx", "application/gpx+xml"),
    ("kml", "application/vnd.google-earth.kml+xml"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("msg", "application/vnd.ms-outlook"),
    ("apk", "application/vnd.android.package-archive"),
    ("jar", "application/java-archive"),
];

/// From the bytes; where they say nothing or only the container, from the caller, or from the name.
pub(super) fn mimetype(content: Content, wish: &Wish) -> String {
    let from_bytes = content.mimetype();
    if let Some(mimetype) = from_bytes.filter(|mimetype| !is_container(mimetype)) {
        return mimetype.to_owned();
    }
    let said = wish.mimetype.as_deref().map(str::trim);
    if let Some(said) = said.filter(|said| is_mimetype(said) && *said != UNKNOWN) {
        return said.to_owned();
    }
    let by_name = wish.file_name.as_deref().and_then(by_extension);
    by_name.or(from_bytes).unwrap_or(UNKNOWN).to_owned()
}

fn by_extension(file_name: &str) -> Option<&'static str> {
    let (_, extension) = file_name.rsplit_once('.')?;
    BY_EXTENSION
        .iter()
        .find(|(known, _)| extension.eq_ignore_ascii_case(known))
        .map(|(_, mimetype)| *mimetype)
}

fn is_container(mimetype: &str) -> bool {
    matches!(
        mimetype,
        "application/zip" | "application/x-ole-storage" | "text/xml"
    )
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

#[cfg(test)]
mod tests {
    use super::super::MediaKind;
    use super::*;

    #[test]
    fn bytes_before_words_before_names() {
        let pdf = Content::Other("application/pdf");
        let zip = Content::Other("application/zip");
        for (content, said, name, expected) in [
            (pdf, Some("text/plain"), Some("a.txt"), "application/pdf"),
            (
                zip,
                None,
                Some("a.APK"),
                "application/vnd.android.package-archive",
            ),
            (zip, None, Some("a.zip"), "application/zip"),
            (
                Content::Unknown,
                Some("text/x-thing; charset=utf-8"),
                None,
                "text/x-thing; charset=utf-8",
            ),
            (
                Content::Unknown,
                Some("application/octet-stream"),
                Some("a.csv"),
                "text/csv",
            ),
            (
                Content::Unknown,
                Some("no type"),
                Some("a.b.csv"),
                "text/csv",
            ),
            (Content::Unknown, Some("a/b\r\nX: y"), Some("csv"), UNKNOWN),
            (Content::Unknown, None, None, UNKNOWN),
            (Content::Jpeg, None, None, "image/jpeg"),
        ] {
            let wish = Wish {
                kind: MediaKind::Document,
                ptt: false,
                mimetype: said.map(str::to_owned),
                file_name: name.map(str::to_owned),
            };
            assert_eq!(
                mimetype(content, &wish),
                expected,
                "{content:?} {said:?} {name:?}"
            );
        }
    }
}
