//! What a file is called in an answer's head, and whether a browser may show it: its sender says what it is, and
//! a page that a browser shows from here could act as this server's own. Pure.

/// What is said of a file of which nothing is known.
pub const BYTES: &str = "application/octet-stream";
/// Bytes of a media type that is passed on.
const LONGEST: usize = 200;
/// Pictures of dots: those of lines (SVG) are programs.
const IMAGES: [&str; 10] = [
    "jpeg", "png", "gif", "webp", "bmp", "avif", "heic", "heif", "tiff", "jxl",
];

/// The sender's word for what a file is, if it is a media type (RFC 9110, 8.3.1); else [`BYTES`].
pub fn content_type(mimetype: &str) -> &str {
    let mimetype = mimetype.trim_matches([' ', '\t', ';']);
    let mut parts = mimetype.split(';');
    let is_type = parts
        .next()
        .and_then(|essence| essence.trim_end_matches([' ', '\t']).split_once('/'))
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    match is_type && mimetype.len() <= LONGEST && parts.all(is_parameter) {
        true => mimetype,
        false => BYTES,
    }
}

/// Whether a browser may show a file of that media type: raster images, sound, films, PDF and plain text. All else
/// (pages, SVG, XML, scripts, `multipart/*`, what is unknown) is to be saved.
pub fn is_shown(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    match kind {
        "image" => IMAGES.contains(&subtype),
        // A suffix (RFC 6838, 4.2.8) would be another form that is read first: XML, for example.
        "audio" | "video" => !subtype.contains(['+', '*']) && !subtype.ends_with("xml"),
        _ => matches!(essence.as_str(), "application/pdf" | "text/plain"),
    }
}

/// One `name=value`, the value a token or between quotation marks.
fn is_parameter(text: &str) -> bool {
    let Some((name, value)) = text.trim_matches([' ', '\t']).split_once('=') else {
        return false;
    };
    let between = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let is_quoted = between.is_some_and(|between| {
        between
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\')
    });
    is_token(name) && (is_quoted || is_token(value))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_media_type_is_bytes() {
        for good in [
            "image/png",
            "image/png; a=b",
            "audio/ogg; codecs=opus",
            "video/mp4;codecs=\"avc1.42E01E, mp4a.40.2\"",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "text/html",
        ] {
            assert_eq!(content_type(good), good);
        }
        assert_eq!(content_type(" image/png; "), "image/png");
        for bad in [
            "",
            "image",
            "/",
            "image/",
            "/png",
            "image/png/x",
            "image /png",
            "image/png, text/html",
            "image/png text/html",
            "image/png\r\nX: y",
            "image/png;\r\nX: y",
            "image/png; a",
            "image/png; a=\"b",
            "image/png; a=<script>",
            "ü/x",
            "image/ü",
            "<b>/x",
        ] {
            assert_eq!(content_type(bad), BYTES, "{bad:?}");
        }
        assert_eq!(content_type(&format!("a/{}", "x".repeat(LONGEST))), BYTES);
    }

    #[test]
    fn what_a_browser_runs_is_not_shown() {
        for shown in [
            "image/jpeg",
            "IMAGE/PNG",
            "image/webp; x=y",
            "audio/ogg; codecs=opus",
            "video/mp4",
            "video/x-matroska",
            "application/pdf",
            "text/plain; charset=utf-8",
        ] {
            assert!(is_shown(shown), "{shown}");
        }
        for saved in [
            "text/html",
            "Text/HTML; charset=utf-8",
            "text/html\t",
            "application/xhtml+xml",
            "image/svg+xml",
            "IMAGE/SVG+XML",
            "image/svg",
            "image/xml",
            "audio/x+xml",
            "video/xml",
            "text/xml",
            "application/xml",
            "application/rss+xml",
            "application/mathml+xml",
            "text/xsl",
            "text/css",
            "text/javascript",
            "application/javascript",
            "application/ecmascript",
            "text/vbscript",
            "text/cache-manifest",
            "multipart/x-mixed-replace; boundary=x",
            "multipart/related",
            "message/rfc822",
            "application/x-shockwave-flash",
            "application/octet-stream",
            "application/zip",
            "image/*",
            "image",
            "",
        ] {
            assert!(!is_shown(saved), "{saved}");
        }
    }
}
