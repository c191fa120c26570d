//! What a web page says of itself for a preview: its title, description and picture, out of the tags of its head. Pure.
//!
//! Open Graph's names come first, then Twitter's, then `<title>` and the description. The page is hostile: what is read of it is
//! bounded by the caller, and each pass over it is linear.

/// The most characters of a title and of a description.
const TITLE: usize = 256;
const DESCRIPTION: usize = 512;
/// Attributes of one tag that are read.
const ATTRIBUTES: usize = 16;
/// Bytes at the start in which `<meta charset>` counts, as browsers have it.
const PRESCAN: usize = 1_024;

/// What is known of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub title: Option<String>,
    pub description: Option<String>,
    /// As it stands in the page: it may be relative.
    pub image: Option<String>,
}

/// Where a value comes from; the first counts.
const TITLES: [&str; 2] = ["og:title", "twitter:title"];
const DESCRIPTIONS: [&str; 3] = ["og:description", "twitter:description", "description"];
const IMAGES: [&str; 4] = [
    "og:image:secure_url",
    "og:image",
    "og:image:url",
    "twitter:image",
];

/// Whether the head of a page is there as a whole: what follows it is not needed.
pub fn has_head(bytes: &[u8], before: usize) -> bool {
    // The end of the tag may have begun in what was there before.
    let from = before.saturating_sub(b"</head".len());
    let new = bytes.get(from..).unwrap_or_default();
    let starts = |tag: &'static [u8]| {
        move |at: &[u8]| {
            at.get(..tag.len())
                .is_some_and(|at| at.eq_ignore_ascii_case(tag))
        }
    };
    let (end, body) = (starts(b"</head"), starts(b"<body"));
    (0..new.len()).any(|at| end(&new[at..]) || body(&new[at..]))
}

/// Reads the start of a page; `declared` is the charset in its `Content-Type`.
pub fn read(bytes: &[u8], declared: Option<&str>) -> Page {
    let text = decoded(bytes, declared);
    let mut found: [Vec<Option<String>>; 3] = [
        vec![None; TITLES.len()],
        vec![None; DESCRIPTIONS.len()],
        vec![None; IMAGES.len()],
    ];
    let mut title = None;
    let mut rest = text.as_str();
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let name: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '/')
            .take(16)
            .collect::<String>()
            .to_ascii_lowercase();
        rest = &rest[name.len()..];
        match name.as_str() {
            "/head" | "body" => break,
            "script" | "style" | "noscript" => rest = behind(rest, &name).1,
            "title" => {
                let inner = rest.split_once('>').map_or("", |(_, inner)| inner);
                let (text, behind) = behind(inner, "title");
                title = title.or_else(|| words(text, TITLE));
                rest = behind;
            }
            "meta" => {
                let (attributes, behind) = attributes(rest);
                rest = behind;
                let of = |wanted: &str| {
                    let mut named = attributes.iter().filter(|(name, _)| name == wanted);
                    named.next().map(|(_, value)| value.as_str())
                };
                let (Some(key), Some(content)) =
                    (of("property").or_else(|| of("name")), of("content"))
                else {
                    continue;
                };
                let key = key.trim().to_ascii_lowercase();
                for (names, values) in [&TITLES[..], &DESCRIPTIONS, &IMAGES].iter().zip(&mut found)
                {
                    if let Some(at) = names.iter().position(|name| *name == key) {
                        let value = &mut values[at];
                        *value = value.take().or_else(|| words(content, DESCRIPTION * 4));
                    }
                }
            }
            _ => {}
        }
    }
    let [titles, descriptions, images] = found.map(|values| values.into_iter().flatten().next());
    let cut = |text: String, most| text.chars().take(most).collect::<String>();
    Page {
        title: titles.or(title).map(|text| cut(text, TITLE)),
        description: descriptions.map(|text| cut(text, DESCRIPTION)),
        image: images,
    }
}

/// What stands before the end tag of that name, and behind it.
fn behind<'a>(text: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let start = from + at;
        let rest = &text[start + 2..];
        if rest
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
        {
            return (&text[..start], &rest[name.len()..]);
        }
        from = start + 2;
    }
    (text, "")
}

/// The attributes of a tag, names in lower case, and what follows the tag.
fn attributes(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() || rest.starts_with('<') {
            return (found, rest);
        }
        if let Some(rest) = rest.strip_prefix('>') {
            return (found, rest);
        }
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/' | '<'))
            .map_or(rest.len(), |(at, _)| at);
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(behind) = rest.strip_prefix('=') {
            rest = behind.trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            (value, rest) = match quote {
                Some(quote) => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
                None => {
                    let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>');
                    rest.split_at(end.unwrap_or(rest.len()))
                }
            };
        }
        if found.len() < ATTRIBUTES {
            found.push((name, value.to_owned()));
        }
    }
}

/// A text with its entities decoded, on one line, without control characters; `None` if nothing is left.
fn words(text: &str, most: usize) -> Option<String> {
    let text: String = text.chars().take(most * 4).collect();
    let text = entities(&text);
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| line.chars().take(most).collect())
}

/// The names of entities that titles have.
const NAMED: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("ndash", "–"),
    ("mdash", "—"),
    ("hellip", "…"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("sbquo", "‚"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bdquo", "„"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("bull", "•"),
    ("middot", "·"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("euro", "€"),
    ("pound", "£"),
    ("deg", "°"),
    ("auml", "ä"),
    ("ouml", "ö"),
    ("uuml", "ü"),
    ("Auml", "Ä"),
    ("Ouml", "Ö"),
    ("Uuml", "Ü"),
    ("szlig", "ß"),
    ("eacute", "é"),
    ("egrave", "è"),
    ("agrave", "à"),
    ("ccedil", "ç"),
    ("ntilde", "ñ"),
];

fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        // No name is longer.
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let name = end.and_then(|end| rest.get(..end)).unwrap_or_default();
        match entity(name) {
            Some(decoded) => {
                out.push_str(&decoded);
                rest = &rest[name.len() + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<String> {
    let Some(number) = name.strip_prefix('#') else {
        let named = NAMED.iter().find(|(known, _)| *known == name);
        return named.map(|(_, text)| (*text).to_owned());
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code).map(String::from)
}

/// The text of a page: UTF-8, or Latin-1 where it says so or is no UTF-8.
fn decoded(bytes: &[u8], declared: Option<&str>) -> String {
    let start = bytes.get(..PRESCAN).unwrap_or(bytes);
    let start = String::from_utf8_lossy(start).to_ascii_lowercase();
    let said = start.split("charset=").nth(1).unwrap_or_default();
    let said = declared.unwrap_or(said).trim_start_matches(['"', '\'']);
    let said = said.to_ascii_lowercase();
    let is_latin = said.starts_with("iso-8859-1") || said.starts_with("windows-1252");
    // The end may be cut within a character.
    let is_utf8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    match is_latin || !is_utf8 && !said.starts_with("utf-8") {
        true => bytes.iter().map(|byte| char::from(*byte)).collect(),
        false => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(title: &str, description: &str, image: &str) -> Page {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Page {
            title: some(title),
            description: some(description),
            image: some(image),
        }
    }

    #[test]
    fn open_graph_comes_first() {
        let html = r#"<!DOCTYPE html><html><head><!-- <title>no</title> --><title>The  page
            </title><script>document.write("<meta property=og:title content=no>")</script>
            <META NAME="Description" CONTENT="plain">
            <meta content='Fish &amp; chips &#8211; &#x1F41F; &unknown; 5 &lt; 6' property="og:title" />
            <meta property=og:image content=/a.jpg><meta name=twitter:description content="from Twitter">
            <meta property="og:image" content="second.jpg"></head><meta property="og:description" content="late">"#;
        let expected = page(
            "Fish & chips – 🐟 &unknown; 5 < 6",
            "from Twitter",
            "/a.jpg",
        );
        assert_eq!(read(html.as_bytes(), None), expected);
        let plain = b"<title>Only &quot;this&quot;</title><body><meta name=description content=no>";
        assert_eq!(read(plain, None), page("Only \"this\"", "", ""));
    }

    #[test]
    fn charsets_are_utf_8_and_latin_1() {
        let latin = b"<title>Caf\xe9</title>";
        assert_eq!(read(latin, None), page("Café", "", ""));
        assert_eq!(
            read("<title>Café</title>".as_bytes(), None),
            page("Café", "", "")
        );
        let utf8 = "<title>Ã©</title>".as_bytes();
        assert_eq!(read(utf8, Some("utf-8")), page("Ã©", "", ""));
        let said = b"<meta charset=\"ISO-8859-1\"><title>\xc3\xa9</title>";
        assert_eq!(read(said, None), page("Ã©", "", ""));
        // Cut within a character.
        let cut = &"<title>Café</title>é".as_bytes()[..20];
        assert_eq!(read(cut, None), page("Café", "", ""));
    }

    #[test]
    fn whatever_stands_there_is_read_without_harm() {
        for html in [
            "",
            "<",
            "<title",
            "<title>",
            "<title>no end",
            "<meta",
            "<meta property=",
            "<meta property=\"og:title",
            "<meta content property>",
            "<script>",
            "<!--",
            "<meta / / /",
            "<title>&#xFFFFFFFF;&#0;&;&&&</title>",
            "<ü><meta ü=ü ü>",
            "<meta a<meta property=og:title content=x>",
        ] {
            let _ = read(html.as_bytes(), Some("x"));
            let _ = read(html.as_bytes(), None);
        }
        let long = format!("<title>{}</title>", "é ".repeat(100_000));
        let title = read(long.as_bytes(), None).title.expect("a title");
        assert!(title.chars().count() <= TITLE);
        for deep in ["<", "</", "<meta ", "<!--", "&", "<script", "<a b='"] {
            let _ = read(deep.repeat(40_000).as_bytes(), None);
        }
    }

    #[test]
    fn the_end_of_a_head_is_seen_also_across_pieces() {
        let html = b"<head><title>x</title></HEAD><body>";
        assert!(has_head(html, 0));
        assert!(has_head(&html[..28], 25));
        assert!(!has_head(&html[..26], 0));
        assert!(has_head(b"<title>x</title><Body class=a>", 0));
    }
}
