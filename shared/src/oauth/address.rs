//! Which addresses requests may go to (OWASP: server-side request forgery). Whatever is not plainly public is refused: an allow-list
//! for IPv6, the special-purpose registry of RFC 6890 for IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a connection to the address may be opened.
pub(super) fn is_allowed(address: IpAddr, allow_loopback: bool) -> bool {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => allow_loopback,
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => allow_loopback,
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    // This network, private use, loopback, link-local (instance metadata), and the shared address space of carriers (RFC 6598).
    let inside = matches!(octets, [0 | 10 | 127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..]);
    // Protocol assignments, documentation, deprecated 6to4 relays, benchmarks.
    let assigned = matches!(octets, [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _]);
    // Multicast, reserved, broadcast.
    let beyond = octets[0] >= 224;
    !(inside || assigned || beyond)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 (RFC 6052): as public as the IPv4 address it carries.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocol assignments with Teredo, documentation, 6to4: all within global unicast, none of them a provider.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002 | 0x3fff, ..] => false,
        // Global unicast is 2000::/3; the rest is loopback, mapped, link-local, unique local, multicast or unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn s76_only_public_addresses_are_allowed() {
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::8.8.8.8",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "3fff::1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!is_allowed(refused.parse().unwrap(), true), "{refused}");
        }
        for loopback in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert!(!is_allowed(loopback.parse().unwrap(), false), "{loopback}");
            assert!(is_allowed(loopback.parse().unwrap(), true), "{loopback}");
        }
        for public in
            ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::5", "64:ff9b::8.8.8.8"]
        {
            assert!(is_allowed(public.parse().unwrap(), false), "{public}");
        }
    }
}
