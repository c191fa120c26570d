//! Whether a request can come from a web page of somebody else, sent by the browser of a user who
//! only visited it.
//!
//! Such a page can do two things: send requests to this server from its own origin, which the
//! browser names in `Origin` or `Sec-Fetch-Site`; or have its own name resolve to this server's
//! address (DNS rebinding), which leaves that name in `Host`.

use http_types::{Method, Request};

/// Endings under which a network's own resolvers know this machine, and nobody else can.
const LOCAL_ENDINGS: &[&str] = &["local", "lan", "home.arpa", "internal", "fritz.box"];

/// The names that this server goes by.
#[derive(Debug)]
pub struct Names {
    /// In lower case.
    own: Vec<String>,
    /// In lower case, from the settings.
    given: Vec<String>,
}

/// What a request says about its sender. Absent is what programs send.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    method: Option<Method>,
    /// `Host`, and the host of a target that is a whole URL.
    hosts: Vec<String>,
    origin: Option<String>,
    site: Option<String>,
    /// Whether the user goes to this address, as by a click on a link.
    navigates: bool,
}

impl Sender {
    pub fn of(request: &Request) -> Sender {
        let header = |name: &str| {
            request
                .header(name)
                .map(|values| values.last().as_str().to_owned())
        };
        // Targets without a host are given `localhost`.
        let mut hosts: Vec<String> = request
            .url()
            .host_str()
            .map(str::to_owned)
            .into_iter()
            .collect();
        hosts.extend(header("Host"));
        Sender {
            method: Some(request.method()),
            hosts,
            origin: header("Origin"),
            site: header("Sec-Fetch-Site"),
            navigates: header("Sec-Fetch-Mode").as_deref() == Some("navigate")
                && header("Sec-Fetch-Dest").as_deref() == Some("document"),
        }
    }
}

/// The name that such a file holds; one that people edit may have comments.
fn hostname(text: &str) -> &str {
    let lines = text.lines().map(str::trim);
    let mut names = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.next().unwrap_or_default()
}

impl Names {
    /// The names of this machine, and `given` ones.
    pub fn of_this_machine(given: Vec<String>) -> Names {
        // The kernel's word first. A service may not see it: `ProcSubset=pid`. Without either there are just
        // fewer names.
        let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
        let text = files
            .iter()
            .find_map(|file| std::fs::read_to_string(file).ok());
        Names::new(hostname(&text.unwrap_or_default()), given)
    }

    fn new(name: &str, given: Vec<String>) -> Names {
        let name = name.to_ascii_lowercase();
        let mut own = vec!["localhost".to_owned()];
        if !name.is_empty() && name != "(none)" {
            let short = name.split('.').next().unwrap_or(&name).to_owned();
            own.extend(LOCAL_ENDINGS.iter().map(|end| format!("{short}.{end}")));
            own.push(short);
            own.push(name);
        }
        Names {
            own,
            given: given.iter().map(|name| name.to_ascii_lowercase()).collect(),
        }
    }

    /// The name of this machine, if it has one.
    pub fn machine(&self) -> Option<&str> {
        self.own
            .last()
            .map(String::as_str)
            .filter(|name| *name != "localhost")
    }

    /// Lets what a page of somebody else can send not pass. `with_key`: the request has a right
    /// key in a header, which no such page can have put there.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, sender: &Sender, with_key: bool) -> Result<(), String> {
        for host in &sender.hosts {
            let name = name_of(host);
            // Names without a dot are a network's own: those of containers, for example.
            let is_ours = self.is_ours(&name) || (with_key && !name.contains('.'));
            if !is_ours {
                return Err(format!(
                    "This server does not go by the name {name:?}; \
                     to reach it so, add the name to server.hosts"
                ));
            }
        }
        if let Some(origin) = &sender.origin {
            return match self.is_own_origin(origin, sender.hosts.last()) {
                true => Ok(()),
                false => Err(format!(
                    "Web pages of {origin:?} may not use this server; \
                     if they should, add the host to server.hosts"
                )),
            };
        }
        let visits = sender.navigates && sender.method == Some(Method::Get);
        match sender.site.as_deref() {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) if visits => Ok(()),
            Some(_) => Err("Web pages of others may not use this server".to_owned()),
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<std::net::IpAddr>().is_ok()
            || name.ends_with(".localhost")
            || self.own.iter().chain(&self.given).any(|own| own == name)
    }

    /// Whether a page from `origin` is of the server that the request went to, or of a given host.
    fn is_own_origin(&self, origin: &str, host: Option<&String>) -> bool {
        let (scheme, rest) = match origin.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            // "null", for pages without an origin, and apps of browsers.
            _ => return false,
        };
        let usual = if scheme == "https" { "443" } else { "80" };
        let port = |text: &str| port_of(text).unwrap_or(usual).to_owned();
        if self.given.contains(&name_of(rest)) {
            return true;
        }
        host.is_some_and(|host| name_of(rest) == name_of(host) && port(rest) == port(host))
    }
}

/// Where the port begins, with its colon.
fn port_at(host: &str) -> Option<usize> {
    let end_of_address = host.rfind(']').unwrap_or(0);
    host[end_of_address..]
        .find(':')
        .map(|at| end_of_address + at)
}

fn port_of(host: &str) -> Option<&str> {
    port_at(host)
        .map(|at| &host[at + 1..])
        .filter(|port| !port.is_empty())
}

/// A host without its port, in lower case and without the root's dot.
fn name_of(host: &str) -> String {
    let name = port_at(host).map_or(host, |at| &host[..at]);
    let name = name.trim().to_ascii_lowercase();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new("Pi.example.net", vec!["Wildcat.example.org".to_owned()])
    }

    #[test]
    fn a_hostname_is_the_first_line_that_is_no_comment() {
        assert_eq!(hostname("raspberrypi\n"), "raspberrypi");
        assert_eq!(hostname("# set by its owner\n\n pi \n"), "pi");
        assert_eq!(hostname(""), "");
    }

    fn to(host: &str) -> Sender {
        Sender {
            method: Some(Method::Post),
            hosts: vec!["localhost".to_owned(), host.to_owned()],
            ..Sender::default()
        }
    }

    fn passes(sender: &Sender) -> bool {
        names().check(sender, false).is_ok()
    }

    #[test]
    fn the_host_is_an_address_or_a_name_of_this_server() {
        for host in [
            "localhost:3000",
            "LOCALHOST",
            "localhost.",
            "app.localhost:80",
            "127.0.0.1:3000",
            "192.168.1.5",
            "[::1]:3000",
            "[fe80::1]",
            "pi:3000",
            "pi.local:3000",
            "Pi.Lan",
            "pi.fritz.box",
            "pi.example.net",
            "wildcat.example.org:8443",
        ] {
            assert!(passes(&to(host)), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "pi",
            "pi.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.local",
            "wildcat.example.org.evil.example",
            "example.net",
            "xlocalhost",
            "[::1].evil.example",
            "[::1]evil.example:80",
            "127.1.evil",
        ] {
            let sender = to(host);
            let ours = host == "pi";
            assert_eq!(passes(&sender), ours, "{host}");
        }
        // A container's name, with a key.
        assert!(names().check(&to("wildcat:3000"), true).is_ok());
        assert!(names().check(&to("evil.example"), true).is_err());
        // The target of an absolute form.
        let mut absolute = to("localhost");
        absolute.hosts[0] = "evil.example".to_owned();
        assert!(!passes(&absolute));
        assert!(passes(&Sender::default()), "HTTP/1.0 has no Host");
    }

    #[test]
    fn pages_of_this_server_may_and_others_may_not() {
        let from = |host: &str, origin: &str| {
            passes(&Sender {
                origin: Some(origin.to_owned()),
                ..to(host)
            })
        };
        assert!(from("pi:3000", "http://pi:3000"));
        assert!(from("pi", "http://pi:80"));
        assert!(from("[::1]:3000", "http://[::1]:3000"));
        // Behind a proxy that does TLS.
        assert!(from("wildcat.example.org", "https://wildcat.example.org"));
        // Behind one that puts its own idea of the host there.
        assert!(from("127.0.0.1:3000", "https://wildcat.example.org"));
        for origin in [
            "http://evil.example",
            "http://pi",
            "http://pi:3001",
            "http://pi:3000.evil.example",
            "http://pi.evil.example:3000",
            "https://pi",
            "null",
            "",
            "file://",
            "chrome-extension://pi:3000",
            "http://localhost:3000",
        ] {
            assert!(!from("pi:3000", origin), "{origin}");
        }
    }

    #[test]
    fn the_browsers_own_word_counts_where_there_is_no_origin() {
        let fetch = |site: &str, method, navigates| {
            passes(&Sender {
                method: Some(method),
                site: Some(site.to_owned()),
                navigates,
                ..to("localhost:3000")
            })
        };
        for site in ["same-origin", "none"] {
            assert!(fetch(site, Method::Get, false));
            assert!(fetch(site, Method::Post, false));
        }
        for site in ["same-site", "cross-site", "whatever"] {
            assert!(!fetch(site, Method::Get, false));
            assert!(!fetch(site, Method::Post, true));
            // A link that leads here.
            assert!(fetch(site, Method::Get, true));
        }
    }
}
