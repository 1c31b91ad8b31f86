//! Changing text without disturbing the rest of it.

use std::net::IpAddr;
use std::ops::Range;

/// A file's text. Bytes that are not UTF-8 go through one to one, as Latin-1.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub s: String,
    latin1: bool,
}

impl Text {
    pub fn decode(bytes: &[u8]) -> Text {
        match std::str::from_utf8(bytes) {
            Ok(s) => Text { s: s.into(), latin1: false },
            Err(_) => Text { s: bytes.iter().map(|&b| char::from(b)).collect(), latin1: true },
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        if self.latin1 {
            self.s.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
        } else {
            self.s.clone().into_bytes()
        }
    }

    pub fn with(&self, s: String) -> Text {
        Text { s, latin1: self.latin1 }
    }
}

pub type Splice = (Range<usize>, String);

/// Does the splices; of two that overlap, the first in the text wins.
pub fn splice(text: &str, splices: &[Splice]) -> String {
    let mut sorted: Vec<&Splice> = splices.iter().collect();
    sorted.sort_by_key(|(r, _)| (r.start, r.end));
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (r, new) in sorted {
        if r.start < at {
            continue;
        }
        out.push_str(&text[at..r.start]);
        out.push_str(new);
        at = r.end;
    }
    out.push_str(&text[at..]);
    out
}

/// The ranges of the lines: the whole with its end, and the end's length (0, 1 or 2).
pub fn lines(text: &str) -> Vec<(Range<usize>, usize)> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|l| {
            let r = at..at + l.len();
            at = r.end;
            (r, if l.ends_with("\r\n") { 2 } else { usize::from(l.ends_with('\n')) })
        })
        .collect()
}

pub fn eol(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// New lines behind position `at`, the end of a line. A last line without its end stays one.
pub fn insert_at(text: &str, at: usize, new: &[String]) -> Splice {
    let end = eol(text);
    let joined = new.join(end);
    let whole = at == 0 || text[..at].ends_with('\n');
    (at..at, if whole { joined + end } else { format!("{end}{joined}") })
}

/// An address, with its prefix length where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Addr {
    pub ip: IpAddr,
    pub prefix: Option<u32>,
}

impl Addr {
    pub fn parse(s: &str) -> Option<Addr> {
        let (a, p) = match s.split_once('/') {
            Some((a, p)) => (a, Some(p)),
            None => (s, None),
        };
        let ip: IpAddr = a.parse().ok()?;
        let prefix = match p {
            Some(p) if p.bytes().all(|b| b.is_ascii_digit()) => Some(p.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        (prefix.is_none_or(|p| p <= bits(ip))).then_some(Addr { ip, prefix })
    }
}

pub fn bits(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn in_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b'.' | b':' | b'_' | b'-' | b'%')
}

/// An address that stands for itself in a text.
#[derive(Clone, Debug)]
pub struct Token {
    pub addr: Addr,
    pub ip: Range<usize>,
    /// The digits behind the slash.
    pub prefix: Option<Range<usize>>,
}

/// All addresses in `text[within]` that are not part of a longer word.
pub fn addresses(text: &str, within: Range<usize>) -> Vec<Token> {
    let b = text.as_bytes();
    let (mut i, end) = (within.start, within.end);
    let mut found = Vec::new();
    while i < end {
        if !in_word(b[i]) {
            i += 1;
            continue;
        }
        let start = i;
        while i < end && in_word(b[i]) {
            i += 1;
        }
        let Ok(ip) = text[start..i].parse::<IpAddr>() else { continue };
        if start > within.start && b[start - 1] == b'/' {
            continue;
        }
        let stop = i;
        let mut prefix = None;
        if i < end && b[i] == b'/' {
            let digits = i + 1;
            let mut j = digits;
            while j < end && b[j].is_ascii_digit() {
                j += 1;
            }
            // What else would follow the slash is a path or a dotted mask: no address of ours.
            if j == digits || (j < end && in_word(b[j]) && b[j] != b':') {
                continue;
            }
            prefix = Some(digits..j);
            i = j;
        }
        let length = prefix.clone().and_then(|r| text[r].parse().ok());
        found.push(Token { addr: Addr { ip, prefix: length }, ip: start..stop, prefix });
    }
    found
}

/// The splices that put `new` in the place of `old` in `text[within]`.
pub fn swap_address(text: &str, within: Range<usize>, old: IpAddr, new: Addr) -> Vec<Splice> {
    let mut splices = Vec::new();
    for t in addresses(text, within) {
        if t.addr.ip != old {
            continue;
        }
        splices.push((t.ip, new.ip.to_string()));
        if let (Some(r), Some(p)) = (t.prefix, new.prefix) {
            splices.push((r, p.to_string()));
        }
    }
    splices
}

pub fn mask_of(prefix: u32) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from(u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0))
}

/// The prefix length of a dotted mask, or of a number.
pub fn prefix_of(mask: &str) -> Option<u32> {
    match mask.parse::<std::net::Ipv4Addr>() {
        Ok(m) => {
            let n = u32::from(m).leading_ones();
            (mask_of(n) == m).then_some(n)
        }
        Err(_) => mask.parse().ok().filter(|p| *p <= 128),
    }
}

pub fn is_mac(s: &str) -> bool {
    let mut bytes = 0;
    s.split([':', '-']).all(|b| {
        bytes += 1;
        b.len() == 2 && b.bytes().all(|c| c.is_ascii_hexdigit())
    }) && bytes == 6
}

pub fn same_mac(a: &str, b: &str) -> bool {
    let plain = |s: &str| s.trim().replace('-', ":").to_ascii_lowercase();
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn swap(s: &str) -> String {
        let new = Addr::parse("10.0.0.9/16").expect("address");
        splice(s, &swap_address(s, 0..s.len(), "192.168.6.247".parse().expect("ip"), new))
    }

    #[test]
    fn tokens() {
        for (from, to) in [
            ("192.168.6.247", "10.0.0.9"),
            ("192.168.6.247/24", "10.0.0.9/16"),
            ("[192.168.6.247/24,192.168.6.248/24]", "[10.0.0.9/16,192.168.6.248/24]"),
            ("\"192.168.6.247/24\":", "\"10.0.0.9/16\":"),
            ("192.168.6.2471", "192.168.6.2471"),
            ("1192.168.6.247", "1192.168.6.247"),
            ("192.168.6.247.1", "192.168.6.247.1"),
            ("1.192.168.6.247", "1.192.168.6.247"),
            ("a-192.168.6.247", "a-192.168.6.247"),
            ("192.168.6.247-old", "192.168.6.247-old"),
            ("/192.168.6.247", "/192.168.6.247"),
            ("http://192.168.6.247/x", "http://192.168.6.247/x"),
            ("", ""),
        ] {
            assert_eq!(swap(from), to, "{from}");
        }
    }

    #[test]
    fn masks() {
        assert_eq!(mask_of(24).to_string(), "255.255.255.0");
        assert_eq!(mask_of(0).to_string(), "0.0.0.0");
        assert_eq!(mask_of(32).to_string(), "255.255.255.255");
        assert_eq!(prefix_of("255.255.252.0"), Some(22));
        assert_eq!(prefix_of("255.0.255.0"), None);
        assert_eq!(prefix_of("24"), Some(24));
    }

    #[test]
    fn bytes_survive() {
        for b in [&b"caf\xe9\r\n\xff"[..], "héllo".as_bytes(), b""] {
            assert_eq!(Text::decode(b).encode(), b);
        }
    }

    proptest! {
        #[test]
        fn never_panics(s in ".{0,60}") {
            swap(&s);
            insert_at(&s, s.len(), &["x".into()]);
        }
    }
}
