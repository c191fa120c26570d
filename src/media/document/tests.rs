use std::io::Write as _;

use super::super::MediaKind;
use super::*;

fn request(requested: Option<&str>, declared: Option<&str>, name: Option<&str>) -> MediaRequest {
    MediaRequest {
        kind: MediaKind::Document,
        ptt: false,
        gif_playback: false,
        note: false,
        pack: None,
        mimetype: requested.map(str::to_owned),
        declared: declared.map(str::to_owned),
        file_name: name.map(str::to_owned),
    }
}

/// The detected type of these bytes.
fn of(bytes: &[u8], request: &MediaRequest) -> String {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let (content, _) = Content::of(&mut file).unwrap();
    mimetype(&mut file, content, request).unwrap()
}

fn named(bytes: &[u8], name: &str) -> String {
    of(bytes, &request(None, None, Some(name)))
}

fn nameless(bytes: &[u8]) -> String {
    of(bytes, &request(None, None, None))
}

/// A ZIP of uncompressed entries, without checksums.
fn zip(entries: &[(&str, &str)]) -> Vec<u8> {
    let (mut whole, mut list) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let at = u32::try_from(whole.len()).unwrap();
        let size = u32::try_from(content.len()).unwrap();
        let length = u16::try_from(name.len()).unwrap();
        whole.extend_from_slice(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        whole.extend_from_slice(&size.to_le_bytes());
        whole.extend_from_slice(&size.to_le_bytes());
        whole.extend_from_slice(&length.to_le_bytes());
        whole.extend_from_slice(&[0, 0]);
        whole.extend_from_slice(name.as_bytes());
        whole.extend_from_slice(content.as_bytes());
        list.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        list.extend_from_slice(&size.to_le_bytes());
        list.extend_from_slice(&size.to_le_bytes());
        list.extend_from_slice(&length.to_le_bytes());
        list.extend_from_slice(&[0; 12]);
        list.extend_from_slice(&at.to_le_bytes());
        list.extend_from_slice(name.as_bytes());
    }
    let at = u32::try_from(whole.len()).unwrap();
    let count = u16::try_from(entries.len()).unwrap();
    let length = u32::try_from(list.len()).unwrap();
    whole.append(&mut list);
    whole.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    whole.extend_from_slice(&count.to_le_bytes());
    whole.extend_from_slice(&count.to_le_bytes());
    whole.extend_from_slice(&length.to_le_bytes());
    whole.extend_from_slice(&at.to_le_bytes());
    whole.extend_from_slice(&[0, 0]);
    whole
}

const OPEN: &str = "application/vnd.openxmlformats-officedocument";

#[test]
fn office_files_are_detected_with_entries_in_any_order() {
    let files: &[(&[&str], &str, String)] = &[
        (
            &["word/document.xml"],
            "a.docx",
            format!("{OPEN}.wordprocessingml.document"),
        ),
        (
            &["word/document.xml"],
            "a.dotx",
            format!("{OPEN}.wordprocessingml.template"),
        ),
        (
            &["xl/workbook.xml"],
            "a.xlsx",
            format!("{OPEN}.spreadsheetml.sheet"),
        ),
        (
            &["ppt/presentation.xml"],
            "a.pptx",
            format!("{OPEN}.presentationml.presentation"),
        ),
        (
            &["ppt/presentation.xml"],
            "a.ppsx",
            format!("{OPEN}.presentationml.slideshow"),
        ),
        (
            &["word/document.xml", "word/vbaProject.bin"],
            "a.docm",
            "application/vnd.ms-word.document.macroEnabled.12".to_owned(),
        ),
        (
            &["xl/workbook.xml", "xl/vbaProject.bin"],
            "a.xlsm",
            "application/vnd.ms-excel.sheet.macroEnabled.12".to_owned(),
        ),
        (
            &["xl/workbook.bin"],
            "a.xlsb",
            "application/vnd.ms-excel.sheet.binary.macroEnabled.12".to_owned(),
        ),
    ];
    for (own, name, expected) in files {
        let mut entries = vec![("[Content_Types].xml", "<x/>"), ("_rels/.rels", "<x/>")];
        entries.extend([("docProps/", ""), ("docProps/core.xml", "<x/>")]);
        entries.extend(own.iter().map(|name| (*name, "<x/>")));
        let large = "x".repeat(20_000);
        for turn in 0..entries.len() {
            entries.rotate_left(1);
            let bytes = zip(&entries);
            assert_eq!(&named(&bytes, name), expected, "{turn}");
            // Declared types that are less specific than the bytes.
            for said in ["application/octet-stream", "application/zip", "text/plain"] {
                let by_caller = request(Some(said), Some(said), Some(name));
                assert_eq!(&of(&bytes, &by_caller), expected, "{said}");
            }
            // After many other entries, and after bytes that are not a ZIP.
            let mut behind = vec![("docProps/thumbnail.jpeg", large.as_str())];
            behind.extend(&entries);
            assert_eq!(&named(&zip(&behind), name), expected);
        }
        // Without a name by its parts: a template is a document then.
        let nameless = nameless(&zip(&entries));
        if !name.ends_with("dotx") && !name.ends_with("ppsx") {
            assert_eq!(&nameless, expected);
        }
        // The extension decides only within its family.
        assert_eq!(named(&zip(&entries), "a.zip"), nameless);
    }
    // A folder of that name is not enough.
    let words = zip(&[("word/list.txt", "a"), ("xl/b.txt", "b")]);
    assert_eq!(named(&words, "words.zip"), "application/zip");
    // Truncated before the central directory: the local headers decide.
    let whole = zip(&[("[Content_Types].xml", ""), ("word/document.xml", "x")]);
    assert_eq!(
        nameless(&whole[..whole.len() - 30]),
        format!("{OPEN}.wordprocessingml.document")
    );
}

#[test]
fn other_zips_are_detected_by_their_first_entry_or_name() {
    for said in [
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet-template",
        "application/epub+zip",
        "image/openraster",
    ] {
        let bytes = zip(&[("mimetype", said), ("content.xml", "<x/>")]);
        assert_eq!(nameless(&bytes), said);
    }
    for (entries, name, expected) in [
        (
            &["doc.kml"][..],
            "place.kmz",
            "application/vnd.google-earth.kmz",
        ),
        (
            &["files/a.png", "doc.kml"],
            "",
            "application/vnd.google-earth.kmz",
        ),
        (
            &["META-INF/MANIFEST.MF", "AndroidManifest.xml", "classes.dex"],
            "",
            "application/vnd.android.package-archive",
        ),
        (
            &["META-INF/", "META-INF/MANIFEST.MF"],
            "",
            "application/java-archive",
        ),
        (
            &["Index/Document.iwa"],
            "a.pages",
            "application/vnd.apple.pages",
        ),
        (
            &["Index/Document.iwa"],
            "A.NUMBERS",
            "application/vnd.apple.numbers",
        ),
        (&["Index/Slide-1.iwa"], "", "application/vnd.apple.keynote"),
        (
            &["a.txt"],
            "a.odt",
            "application/vnd.oasis.opendocument.text",
        ),
        (&["a.txt"], "a.zip", "application/zip"),
        (&["a.txt"], "a.unknown", "application/zip"),
        // Extensions of texts and pictures do not apply to a ZIP.
        (&["a.txt"], "a.txt", "application/zip"),
        (&["a.txt"], "a.jpg", "application/zip"),
    ] {
        let entries: Vec<_> = entries.iter().map(|name| (*name, "x")).collect();
        assert_eq!(named(&zip(&entries), name), expected, "{name}");
    }
    let custom = request(Some("application/x-thing"), None, Some("a.zip"));
    assert_eq!(of(&zip(&[("a", "b")]), &custom), "application/x-thing");
}

/// A compound file with these names in its root, and `inner` in an embedded storage.
fn ole(names: &[&str], inner: &str) -> Vec<u8> {
    let mut file = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec();
    file.resize(512, 0);
    file[30] = 9;
    // The table is sector 0; the directory is in 2 and, before it, 1.
    file[48] = 2;
    let mut table = vec![0xFF; 512];
    table[0..4].copy_from_slice(&0xFFFF_FFFD_u32.to_le_bytes());
    table[4..8].copy_from_slice(&0xFFFF_FFFE_u32.to_le_bytes());
    table[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let entry = |name: &str, left: u32, right: u32, child: u32| {
        let mut entry = vec![0; 128];
        for (at, unit) in name.encode_utf16().enumerate() {
            entry[2 * at..2 * at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry[68..72].copy_from_slice(&left.to_le_bytes());
        entry[72..76].copy_from_slice(&right.to_le_bytes());
        entry[76..80].copy_from_slice(&child.to_le_bytes());
        entry
    };
    let none = u32::MAX;
    let mut entries = vec![
        entry("Root Entry", none, none, 2),
        entry(inner, none, none, none),
        entry("ObjectPool", none, 3, 1),
    ];
    for (at, name) in names.iter().enumerate() {
        let next = match at + 1 < names.len() {
            true => u32::try_from(at).unwrap() + 4,
            // A cycle.
            false => 2,
        };
        entries.push(entry(name, next, none, none));
    }
    entries.resize(8, vec![0; 128]);
    file.extend(table);
    file.extend(entries[4..].concat());
    file.extend(entries[..4].concat());
    file
}

#[test]
fn old_office_files_are_detected_by_the_names_in_their_root() {
    for (names, inner, name, expected) in [
        (&["WordDocument"][..], "Workbook", "", "application/msword"),
        (
            &["\u{5}SummaryInformation", "Workbook"],
            "WordDocument",
            "",
            "application/vnd.ms-excel",
        ),
        (
            &["x", "PowerPoint Document"],
            "Workbook",
            "",
            "application/vnd.ms-powerpoint",
        ),
        (
            &["__properties_version1.0"],
            "WordDocument",
            "",
            "application/vnd.ms-outlook",
        ),
        // The file's name does not matter.
        (&["Workbook"], "", "a.doc", "application/vnd.ms-excel"),
        // Encrypted: only the extension decides.
        (
            &["EncryptedPackage", "EncryptionInfo"],
            "",
            "a.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (&["x"], "", "a.mpp", "application/vnd.ms-project"),
        (&["x"], "", "a.txt", "application/x-ole-storage"),
    ] {
        let bytes = ole(names, inner);
        assert_eq!(named(&bytes, name), expected, "{names:?}");
        // Truncated files have the same container type.
        for end in (8..bytes.len()).step_by(61) {
            named(&bytes[..end], name);
        }
    }
}

#[test]
fn the_type_of_text_is_that_of_its_extension() {
    let utf16 = |text: &str, big: bool| {
        let mut bytes = if big {
            vec![0xFE, 0xFF]
        } else {
            vec![0xFF, 0xFE]
        };
        for unit in text.encode_utf16() {
            bytes.extend(if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            });
        }
        bytes
    };
    for start in [
        "BMI,weight",
        "MZ,area",
        "MAC address;a",
        "DSD a",
        "GIF a",
        "ID3;Title",
        "M4A a",
        "AC1015;a",
        "BZh;a",
        "CWS;a",
        "FWS;a",
        "SQLi;a",
        "LZIP;a",
        "8BPS;a",
        "MThd;a",
        "070701;1",
        "BC;a",
        "%!;a",
        "Cr24;a",
        "MSCF;a",
        "ISc(;a",
        "The moov atom",
        "The ftyp box",
        "The mdat box",
        "RIFF1234WEBP",
        "RIFF1234WAVE",
        "fLaC;a",
        "OggS;a",
        "<h1>a</h1>",
        "<?xml a",
        "#!/bin/a",
        "-----BEGIN a",
        "see %PDF-1.7",
        "0\u{82};a",
        "PK,a",
        "\u{feff}BM",
        "d\u{86}",
        "\u{ef}\u{bf}",
    ] {
        let text = format!("{start},b\r\n1;2\r\n");
        let latin: Vec<u8> = text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect();
        for bytes in [
            text.clone().into_bytes(),
            utf16(&text, false),
            utf16(&text, true),
            latin,
        ] {
            assert_eq!(named(&bytes, "a.csv"), "text/csv", "{text:?}");
            let by_caller = request(Some("text/csv"), None, Some("a.zzz"));
            assert_eq!(of(&bytes, &by_caller), "text/csv", "{text:?}");
            let by_part = request(None, Some("text/csv"), None);
            assert_eq!(of(&bytes, &by_part), "text/csv", "{text:?}");
        }
        let kind = nameless(text.as_bytes());
        let is_text = kind.starts_with("text/") || kind == "application/x-x509-ca-cert";
        assert!(is_text, "{text:?}: {kind}");
    }
    for (bytes, name, expected) in [
        (&b"hello"[..], "a.md", "text/markdown"),
        (b"hello", "a.ts", "text/plain"),
        (b"#EXTM3U", "a.m3u", "audio/x-mpegurl"),
        (b"<table>", "a.xls", "application/vnd.ms-excel"),
        (b"<?xml?><svg>", "a.svg", "image/svg+xml"),
        (b"<?xml?><svg>", "", "image/svg+xml"),
        (b"<?xml?><gpx>", "a.gpx", "application/gpx+xml"),
        (b"BEGIN:VCARD\r\n", "", "text/vcard"),
        (b"%PDF-1.4 text", "a.txt", "application/pdf"),
        (b"{\\rtf1", "a.doc", "application/rtf"),
    ] {
        assert_eq!(named(bytes, name), expected, "{name}");
    }
}

#[test]
fn short_signatures_need_the_extension_and_long_ones_do_not() {
    for (bytes, name, expected) in [
        (
            &b"MZ\0\0"[..],
            "a.exe",
            "application/vnd.microsoft.portable-executable",
        ),
        (b"MZ\0\0", "a.csv", "text/csv"),
        (b"BM\0\0", "a.dat", "image/bmp"),
        (b"\xFF\xFB\x90\x64\0\0", "a.mp3", "audio/mpeg"),
        (b"\xFF\xFB\x90\x64\0\0", "a.csv", "text/csv"),
        (b"\x30\x82\0\0", "a.p12", "application/x-pkcs12"),
        (b"\x1F\x8B\x08\0", "a.gz", "application/gzip"),
        (b"\x1F\x8B\x08\0", "a.svgz", "image/svg+xml"),
        (b"\x1F\x8B\x08\0", "a.csv", "application/gzip"),
        (b"II*\0\x08\0\0\0\0\0\0", "a.nef", "image/x-nikon-nef"),
        (b"\xFF\xD8\xFF\xE0\0", "a.csv", "image/jpeg"),
        (b"\x89PNG\r\n\x1A\n\0", "a.zip", "image/png"),
        (b"\0\x01\x02", "a.zzz", UNKNOWN),
    ] {
        assert_eq!(named(bytes, name), expected, "{name}");
    }
}

#[test]
fn the_requested_type_precedes_the_declared_one_and_the_name() {
    let binary = b"\0\x01\x02";
    for (own, with, name, expected) in [
        (Some("a/b"), Some("c/d"), Some("a.csv"), "a/b"),
        (None, Some("c/d"), Some("a.csv"), "c/d"),
        (
            Some("text/x-thing; charset=utf-8"),
            None,
            None,
            "text/x-thing; charset=utf-8",
        ),
        (
            Some("application/octet-stream"),
            Some("binary/octet-stream"),
            Some("a.csv"),
            "text/csv",
        ),
        (Some("no type"), None, Some("a.b.csv"), "text/csv"),
        (None, Some("text/plain"), Some("a.CSV"), "text/csv"),
        (Some("a/b\r\nX: y"), None, Some("csv"), UNKNOWN),
        (None, None, None, UNKNOWN),
    ] {
        assert_eq!(
            of(binary, &request(own, with, name)),
            expected,
            "{own:?} {with:?} {name:?}"
        );
    }
    // The type that browsers on Windows declare for a CSV.
    let windows = request(None, Some("application/vnd.ms-excel"), Some("a.csv"));
    assert_eq!(of(b"a;b", &windows), "text/csv");
    assert_eq!(
        of(b"a,b", &request(Some("text/plain"), None, Some("a.csv"))),
        "text/plain"
    );
}

#[test]
fn usual_extensions_and_their_types_map_to_each_other() {
    for extension in USUAL {
        let known = by_extension(extension);
        let mimetype = known.unwrap_or_else(|| panic!("{extension} has no type"));
        assert!(extension_of(mimetype).is_some());
    }
    for (mimetype, name) in [
        ("application/pdf", "document.pdf"),
        ("image/jpeg", "document.jpg"),
        ("text/plain; charset=utf-8", "document.txt"),
        ("TEXT/CSV", "document.csv"),
        ("audio/ogg; codecs=opus", "document.ogg"),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "document.docx",
        ),
        ("application/vnd.google-earth.kmz", "document.kmz"),
        ("application/msword", "document.doc"),
        ("text/x-anything", "document.txt"),
        ("application/x-thing+json", "document.json"),
        (UNKNOWN, "document.bin"),
        ("application/x-ole-storage", "document.bin"),
    ] {
        assert_eq!(usual_name(mimetype), name);
    }
}
