//! Which addresses the client may ask for. What a sender writes is a path at most: hosts and ports are WhatsApp's own,
//! and those that it names in `media_conn`. Pure.

use http_types::Url;

/// Bytes of a path; WhatsApp's own have some 200.
const LONGEST_PATH: usize = 2_048;
/// Hosts that are remembered: WhatsApp names some four at a time, and changes them now and then.
const MOST_HOSTS: usize = 32;
/// Bytes of a block, and of the MAC behind the last one, in an encrypted file.
const BLOCK: u64 = 16;
const MAC: u64 = 10;

/// Whether a path can be joined to the name of a media server, without changing which server that is: one `/`
/// and what can stand in the path and the query of a URL behind it.
pub fn is_path(path: &str) -> bool {
    let mut bytes = path.bytes();
    let starts = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
    let is_plain = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"' | b'<' | b'>'));
    starts && is_plain && path.len() <= LONGEST_PATH && stays(path)
}

/// Whether a URL that is built of a host and this path has that host, and neither port nor user.
fn stays(path: &str) -> bool {
    const HOST: &str = "media.invalid";
    Url::parse(&format!("https://{HOST}{path}?auth=x")).is_ok_and(|url| {
        place(&url) == Some((HOST.to_owned(), 443)) && !url.path().starts_with("//")
    })
}

/// The host and the port that a URL leads to; `None` unless it is https, without user and password.
pub fn place(url: &Url) -> Option<(String, u16)> {
    let is_plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    match (is_plain, url.host_str()) {
        (true, Some(host)) => Some((host.to_owned(), url.port_or_known_default()?)),
        _ => None,
    }
}

/// The media servers that WhatsApp has named to a session; the newest, if there are many.
#[derive(Debug, Default)]
pub struct Hosts(Vec<(String, u16)>);

impl Hosts {
    /// Adds one, as `media_conn` names it: a host, with or without a port.
    pub fn learn(&mut self, hostname: &str) {
        let Some(found) = Url::parse(&format!("https://{hostname}/"))
            .ok()
            .filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none())
            .and_then(|url| place(&url))
        else {
            return;
        };
        if self.0.contains(&found) {
            return;
        }
        if self.0.len() >= MOST_HOSTS {
            self.0.remove(0);
        }
        self.0.push(found);
    }

    /// Whether a URL leads to one of them.
    pub fn have(&self, url: &Url) -> bool {
        place(url).is_some_and(|place| self.0.contains(&place))
    }
}

/// Bytes of a file of `size` bytes when it is encrypted: 1 to 16 bytes of padding, and the MAC.
pub fn encrypted_size(size: u64) -> u64 {
    (size / BLOCK + 1).saturating_mul(BLOCK).saturating_add(MAC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_no_other_host() {
        for good in [
            "/v/t62.7118-24/1_2_n.enc?ccb=11-4&oh=01_Q5-x&oe=6543ABCD&_nc_sid=5e03e0",
            "/o1/v/t24/f2/m231/AQ~x?ccb=9-4&oh=01_x&_nc_hot=17",
            "/v/a@b:1",
        ] {
            assert!(is_path(good), "{good}");
        }
        for bad in [
            "",
            "v/x",
            "@evil.example/x",
            "@127.0.0.1:8443/x",
            ":1@127.0.0.1:8443/x",
            ":8443/x",
            ".evil.example/x",
            "//evil.example/x",
            "/\\evil.example/x",
            "\\\\evil.example/x",
            "\\evil.example/x",
            "/\t/evil.example/x",
            "\t//evil.example/x",
            "/x\r\nHost: evil.example",
            "/x y",
            "/x\0",
            "/x\u{7f}",
            "/ü",
            "/x#fragment",
            "#@evil.example/x",
            "?@evil.example/x",
            "https://evil.example/x",
            "/v\\..\\x",
            "/..//evil.example/x",
            "/.//evil.example/x",
            " /x",
        ] {
            assert!(!is_path(bad), "{bad:?}");
        }
        assert!(is_path(&format!("/{}", "x".repeat(LONGEST_PATH - 1))));
        assert!(!is_path(&format!("/{}", "x".repeat(LONGEST_PATH))));
    }

    #[test]
    fn only_what_whatsapp_named_is_asked() {
        let mut hosts = Hosts::default();
        let have = |hosts: &Hosts, url: &str| Url::parse(url).is_ok_and(|url| hosts.have(&url));
        assert!(!have(&hosts, "https://mmg.whatsapp.net/v/x"));
        hosts.learn("mmg.whatsapp.net");
        hosts.learn("127.0.0.1:4433");
        for nonsense in ["", "a@b", "a/b", "a?b", "a#b", "a b", "a:b"] {
            hosts.learn(nonsense);
        }
        assert_eq!(hosts.0.len(), 2);
        for good in [
            "https://mmg.whatsapp.net/v/x?auth=y",
            "https://MMG.whatsapp.net:443/v/x",
            "https://127.0.0.1:4433/",
        ] {
            assert!(have(&hosts, good), "{good}");
        }
        for bad in [
            "http://mmg.whatsapp.net/v/x",
            "https://mmg.whatsapp.net:4433/v/x",
            "https://mmg.whatsapp.net.evil.example/v/x",
            "https://mmg.whatsapp.net@evil.example/v/x",
            "https://user@mmg.whatsapp.net/v/x",
            "https://:secret@mmg.whatsapp.net/v/x",
            "https://127.0.0.1/",
            "https://127.0.0.1:4434/",
        ] {
            assert!(!have(&hosts, bad), "{bad}");
        }
        for n in 0..MOST_HOSTS {
            hosts.learn(&format!("m{n}.whatsapp.net"));
        }
        assert_eq!(hosts.0.len(), MOST_HOSTS);
        assert!(
            !have(&hosts, "https://mmg.whatsapp.net/v/x"),
            "the oldest is forgotten"
        );
    }

    #[test]
    fn an_encrypted_file_is_padded_and_has_a_mac() {
        for (plain, encrypted) in [
            (0, 26),
            (1, 26),
            (15, 26),
            (16, 42),
            (17, 42),
            (1_000, 1_018),
        ] {
            assert_eq!(encrypted_size(plain), encrypted, "{plain}");
        }
        assert_eq!(encrypted_size(u64::MAX), u64::MAX);
    }
}
