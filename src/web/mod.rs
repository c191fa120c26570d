//! The web page: plain files of this folder, which the build joins, compresses and puts into the program.
//!
//! `index.html` is the one document, `style.css` its look, `words.js` every word that it shows, `dom.js` the only
//! place that makes elements, and each other module one view or one concern. The modules import one another as any
//! browser's do; the build joins them to `/web/page.js`, so that a board is asked four times and not twenty.
//!
//! The page uses the public API alone. It is public itself: what it shows, it asks for with the visitor's key.

/// A file of the page.
pub struct File {
    /// Its path on the server.
    pub path: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// With its quotes; changes with the content.
    pub etag: &'static str,
    /// Bytes of the content.
    pub size: usize,
    /// The content, compressed.
    pub gzip: &'static [u8],
}

/// Every file.
pub const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What the page may load and do: its own files, no script but its own, no request to another host, nothing made
/// from markup. The sandbox's phone is a frame of the same origin.
pub const POLICY: &str = if cfg!(feature = "sandbox") {
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; frame-src 'self'; \
     require-trusted-types-for 'script'; trusted-types 'none'"
} else {
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; \
     require-trusted-types-for 'script'; trusted-types 'none'"
};

/// The file at a path.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn unpacked(file: &File) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(file.gzip)
            .read_to_string(&mut text)
            .unwrap_or_else(|e| panic!("{}: {e}", file.path));
        text
    }

    /// Hosts that the files name: in a namespace, in the link of a place, in an example.
    const HOSTS: &[&str] = &["www.w3.org", "www.openstreetmap.org", "192.168.1.31"];

    #[test]
    fn the_files_are_whole_and_small_and_name_no_other_host() {
        let (mut whole, mut packed) = (0, 0);
        for file in FILES {
            let text = unpacked(file);
            assert_eq!(text.len(), file.size, "{}", file.path);
            assert!(file.etag.starts_with('"') && file.etag.ends_with('"'));
            if !file.path.contains("phone") && !file.path.contains("sandbox") {
                whole += file.size;
                packed += file.gzip.len();
            }
            for (at, slashes) in text.match_indices("://") {
                let is_part = |c: &char| c.is_ascii_alphanumeric() || ".-".contains(*c);
                let rest = text[at + slashes.len()..].chars();
                let host: String = rest.take_while(is_part).collect();
                assert!(
                    host.is_empty() || HOSTS.contains(&&*host),
                    "{}: {host}",
                    file.path
                );
            }
        }
        println!("the page: {whole} bytes, {packed} compressed");
        // It is to be small: what goes over the line, and what a browser on a board has to read.
        assert!(packed < 56_000 && whole < 190_000, "{whole}, {packed}");
    }

    #[test]
    fn nothing_is_made_from_markup() {
        for file in FILES {
            let text = unpacked(file);
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "srcdoc",
            ] {
                assert!(!text.contains(word), "{}: {word}", file.path);
            }
        }
    }
}
