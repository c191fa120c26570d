//! Which addresses a connection may go to: a request with a key of one account must not reach services
//! on this machine through the server (SSRF).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Which addresses connections may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    Everywhere,
    /// Other hosts, also on the local network. Not: any address of this machine, link-local, multicast
    /// and reserved addresses, the metadata services of clouds.
    OtherHosts,
    /// Of these, only addresses of the internet: nothing on the local network.
    Public,
}

impl Reach {
    /// Whether a connection may go to `address`, by the addresses that this machine has now.
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Reach::Everywhere => true,
            Reach::OtherHosts => !spellings(address).any(|ip| is_never_another(ip) || is_own(ip)),
            Reach::Public if is_of_test(address) => true,
            Reach::Public => Reach::OtherHosts.allows(address) && !spellings(address).any(is_local),
        }
    }
}

/// Metadata services of clouds outside of the link-local range: Alibaba, Tailscale, Azure; AWS, Google,
/// Oracle, Scaleway.
const SERVICES_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(100, 100, 100, 100),
    Ipv4Addr::new(168, 63, 129, 16),
];
const SERVICES_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// The address, and the IPv4 addresses embedded in an IPv6 one. Pure.
fn spellings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let embedded = match address {
        IpAddr::V4(_) => [None; 2],
        IpAddr::V6(v6) => embedded(v6),
    };
    let embedded = embedded.into_iter().flatten().map(IpAddr::V4);
    std::iter::once(address).chain(embedded)
}

fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // Mapped, translated (RFC 2765), compatible, and translated by a NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff | 0, a, b]
        | [0, 0, 0, 0, 0xffff, 0, a, b]
        | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => [Some(v4(a, b)), None],
        // 6to4.
        [0x2002, a, b, ..] => [Some(v4(a, b)), None],
        // Teredo: its server, and the client with inverted bits.
        [0x2001, 0, a, b, _, _, c, d] => [Some(v4(a, b)), Some(v4(!c, !d))],
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, a, b] => [Some(v4(a, b)), None],
        _ => [None, None],
    }
}

/// Whether an address can never be that of a single other host. Pure.
fn is_never_another(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            // "This network"; multicast, reserved, broadcast.
            a == 0
                || a >= 224
                || v4.is_loopback()
                || v4.is_link_local()
                || (a, b, c) == (192, 0, 0)
                || SERVICES_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || first & 0xffc0 == 0xfe80
                // A local NAT64 (RFC 8215): only it knows where its addresses embed IPv4.
                || v6.segments()[..3] == [0x64, 0xff9b, 1]
                || SERVICES_V6.contains(&v6)
        }
    }
}

/// Whether an address is for use within networks (RFC 1918, 6598, 2544, 4193). Pure.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18)
        }
        // Unique local, and the site-local ones before them.
        IpAddr::V6(v6) => matches!(v6.segments()[0] & 0xffc0, 0xfc00..=0xfdc0 | 0xfec0),
    }
}

/// Whether a test has set up a server of the internet there.
fn is_of_test(address: IpAddr) -> bool {
    cfg!(feature = "sandbox")
        && std::env::var("WILDCAT_TEST_PUBLIC").is_ok_and(|of| of == address.to_string())
}

/// Whether this machine has that address: only then can a socket be bound to it. Errors count as yes.
fn is_own(address: IpAddr) -> bool {
    let binds = |address: IpAddr| match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::AddrNotAvailable,
    };
    if !binds(address) {
        return false;
    }
    // No machine has an address for documentation. Where one can be bound, every address can
    // (`ip_nonlocal_bind`); then the route decides: to itself, source and destination are the same.
    let example: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    !binds(example) || is_own_source(address).unwrap_or(true)
}

/// Whether packets to `address` would have it as their source.
fn is_own_source(address: IpAddr) -> io::Result<bool> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Sends nothing.
    match socket.connect((address, 9)) {
        Ok(()) => Ok(socket.local_addr()?.ip() == address),
        // No route.
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> bool {
        Reach::OtherHosts.allows(text.parse().unwrap())
    }

    #[test]
    fn this_machine_and_its_link_are_refused_in_every_notation() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.8.9.1",
            "169.254.169.254",
            "192.0.0.192",
            "224.0.0.251",
            "240.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            // 127.0.0.1 and 169.254.169.254 in IPv6.
            "::ffff:127.0.0.1",
            "::ffff:0:127.0.0.1",
            "::127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "2001:0:7f00:1::1",
            "2001:0:1:1::80ff:fffe",
            "2001:db8::5efe:7f00:1",
            "fd00::200:5efe:169.254.169.254",
        ] {
            assert!(!allowed(address), "{address}");
            assert!(Reach::Everywhere.allows(address.parse().unwrap()));
        }
    }

    #[test]
    fn other_hosts_are_allowed_also_on_the_local_network() {
        for address in [
            "1.1.1.1",
            "192.0.2.7",
            "198.51.100.200",
            "10.255.0.77",
            "172.31.255.7",
            "192.168.254.77",
            "100.64.0.9",
            "2606:4700::1111",
            "2001:db8::7",
            "fd12:3456::7",
            "::ffff:192.0.2.7",
            "64:ff9b::192.0.2.7",
            "2002:c000:207::1",
        ] {
            assert!(allowed(address), "{address}");
        }
    }

    #[test]
    fn the_local_network_is_not_public() {
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.9",
            "198.18.0.1",
            "fc00::1",
            "fd12:3456::7",
            "fec0::1",
            "::ffff:192.168.1.1",
            "64:ff9b::10.0.0.1",
            "127.0.0.1",
            "::1",
        ] {
            assert!(!Reach::Public.allows(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "2606:4700::1111"] {
            assert!(Reach::Public.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn every_address_of_this_machine_is_its_own() {
        assert!(is_own(IpAddr::from([127, 0, 0, 1])));
        assert!(is_own(IpAddr::from([127, 1, 2, 3])));
        assert!(!is_own(IpAddr::from([192, 0, 2, 1])));
        assert!(is_own_source(IpAddr::from([127, 0, 0, 1])).unwrap());
        // The source address of the default route, where there is one.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(is_own(own) && !Reach::OtherHosts.allows(own), "{own}");
            assert!(is_own_source(own).unwrap());
        }
    }
}
