//! /etc/hosts.

use super::names::{check_name, spellings};
use super::text::{Text, eol, lines};
use super::{Files, cloud, read_text, write, write_bytes};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::net::IpAddr;

/// The VM's line, and by what the template's is known.
///
/// Of `old_names`, scripts may give `()` for those that they do not know.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostsEntry {
    /// A prefix behind it is not looked at.
    pub ip: String,
    pub name: String,
    /// Without one, that of the template's line.
    pub domain: Option<String>,
    pub old_ip: Option<String>,
    pub old_names: Vec<Option<String>>,
}

#[derive(Clone)]
struct Wanted {
    ip: IpAddr,
    old_ip: Option<IpAddr>,
    /// The full name first.
    names: Vec<String>,
    old_names: Vec<String>,
}

impl HostsEntry {
    fn wanted(&self) -> Result<Wanted> {
        check_name(&self.name)?;
        let parse = |s: &str| -> Result<IpAddr> {
            let plain = s.split('/').next().unwrap_or_default();
            plain.parse().map_err(|_| Error::invalid(format!("`{s}` is no IP address")))
        };
        let mut names = vec![self.name.clone()];
        let short = self.name.split('.').next().unwrap_or(&self.name).to_string();
        if short != self.name {
            names.push(short);
        } else if let Some(domain) = self.domain.as_deref().map(|d| d.trim_matches('.')).filter(|d| !d.is_empty()) {
            check_name(domain)?;
            names.insert(0, format!("{}.{domain}", self.name));
        }
        let mut old_names: Vec<String> = Vec::new();
        for name in self.old_names.iter().flatten().filter(|n| !n.is_empty() && !n.starts_with("localhost")) {
            old_names.extend(spellings(name).map(String::from));
        }
        let old_ip = self.old_ip.as_deref().map(parse).transpose()?;
        Ok(Wanted { ip: parse(&self.ip)?, old_ip, names, old_names })
    }
}

impl Wanted {
    /// Where no domain was given, the template's own is kept: `tpl.lan tpl` becomes `m3.lan m3`.
    fn in_domain_of<'a>(&self, mut lines: impl Iterator<Item = &'a Line<'a>>, old: &[String]) -> Wanted {
        let mut w = self.clone();
        let domain = lines.find_map(|l| {
            l.names.iter().find_map(|n| old.iter().find_map(|o| n.strip_prefix(o.as_str())?.strip_prefix('.')))
        });
        if let (Some(domain), [name]) = (domain.filter(|d| !d.starts_with("local")), &self.names[..]) {
            w.names.insert(0, format!("{name}.{domain}"));
        }
        w
    }
}

/// One line of the file: `address gap names gap comment`.
struct Line<'a> {
    text: &'a str,
    eol: &'a str,
    ip: Option<IpAddr>,
    names: Vec<&'a str>,
    /// With the blanks in front of it.
    comment: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str, eol: &'a str) -> Line<'a> {
        let data = text.split('#').next().unwrap_or_default().trim_end();
        let mut words = data.split_whitespace();
        // A zone, as in fe80::1%lo0, is no part of the address.
        let ip = words.next().and_then(|w| w.split('%').next()?.parse().ok());
        let comment = if text[data.len()..].contains('#') { &text[data.len()..] } else { "" };
        Line { text, eol, ip, names: words.collect(), comment }
    }
}

fn is_one_of(word: &str, names: &[String]) -> bool {
    names.iter().any(|n| {
        let head = word.get(..n.len()).is_some_and(|h| h.eq_ignore_ascii_case(n));
        head && (word.len() == n.len() || word[n.len()..].starts_with('.'))
    })
}

fn edit(text: &str, w: &Wanted) -> String {
    let parsed: Vec<Line> =
        lines(text).into_iter().map(|(r, n)| Line::parse(&text[r.start..r.end - n], &text[r.end - n..r.end])).collect();
    let mut known = w.old_names.clone();
    known.extend(w.names.iter().cloned());
    // What stands first at the template's own address is a name of the template, whatever its hostname says. At other
    // addresses it may be a name of others too.
    let mut old = known.clone();
    for l in parsed.iter().filter(|l| l.ip.is_some() && l.ip == w.old_ip) {
        for name in l.names.iter().take(1).filter(|n| !n.starts_with("localhost")) {
            old.extend(spellings(name).map(String::from));
        }
    }
    let ours = |l: &Line| match l.ip {
        Some(ip) if !ip.is_loopback() => {
            Some(ip) == w.old_ip || ip == w.ip || l.names.iter().any(|n| is_one_of(n, &known))
        }
        _ => false,
    };
    let place = parsed.iter().position(|l| l.ip.is_some() && l.ip == w.old_ip && ours(l));
    let place = place.or_else(|| parsed.iter().position(&ours));
    let w = &w.in_domain_of(parsed.iter().filter(|l| ours(l) || l.ip.is_some_and(|ip| ip.is_loopback())), &old);
    let mut aliases: Vec<&str> = Vec::new();
    for l in parsed.iter().filter(|l| ours(l) && (l.ip == w.old_ip || l.ip == Some(w.ip))) {
        aliases.extend(l.names.iter().filter(|n| !is_one_of(n, &old)));
    }
    if let Some(l) = place.map(|i| &parsed[i]) {
        aliases.extend(l.names.iter().filter(|n| !is_one_of(n, &old)));
    }
    let mut words = vec![w.ip.to_string()];
    words.extend(w.names.iter().cloned());
    for a in aliases {
        if !words.iter().any(|x| x == a) {
            words.push(a.into());
        }
    }
    let entry = words.join("  ");

    let mut out = String::new();
    let mut has_own = place.is_some();
    for (i, l) in parsed.iter().enumerate() {
        if Some(i) == place {
            let same = l.ip == Some(w.ip) && l.names.iter().copied().eq(words[1..].iter().map(String::as_str));
            out.push_str(&if same { l.text.to_string() } else { format!("{entry}{}", l.comment) });
        } else if ours(l) {
            let others: Vec<&str> = l.names.iter().filter(|n| !is_one_of(n, &known)).copied().collect();
            if l.ip == w.old_ip || l.ip == Some(w.ip) || others.is_empty() {
                if l.comment.is_empty() {
                    continue;
                }
                out.push_str(l.comment.trim_start());
            } else {
                out.push_str(&rewritten(l, &others));
            }
        } else if l.ip.is_some_and(|ip| ip.is_loopback()) && l.names.iter().any(|n| is_one_of(n, &old)) {
            // 127.0.0.1 keeps localhost first; Debian's 127.0.1.1 is the host's own line.
            let others: Vec<&str> = l.names.iter().filter(|n| !is_one_of(n, &old)).copied().collect();
            let mut names: Vec<&str> = w.names.iter().map(String::as_str).collect();
            let at = if others.iter().any(|n| n.starts_with("localhost")) { names.len() } else { 0 };
            if at == 0 {
                names.extend(others);
                has_own = true;
            } else {
                names.splice(0..0, others);
            }
            out.push_str(&rewritten(l, &names));
        } else {
            out.push_str(l.text);
        }
        out.push_str(l.eol);
    }
    if !has_own {
        let end = eol(text);
        if text.is_empty() || text.ends_with('\n') {
            out.push_str(&format!("{entry}{end}"));
        } else {
            out.push_str(&format!("{end}{entry}"));
        }
    } else if !text.ends_with('\n') {
        // The last line may have been one that went.
        out.truncate(out.trim_end_matches(['\r', '\n']).len());
    }
    out
}

/// The line with other names, and its address and gap as they were.
fn rewritten(l: &Line, names: &[&str]) -> String {
    if l.names == names {
        return l.text.into();
    }
    let Some(first) = l.names.first() else { return l.text.into() };
    let lead = l.text.len() - l.text.trim_start().len();
    let address = l.text[lead..].find(char::is_whitespace).map_or(l.text.len(), |i| lead + i);
    let start = l.text[address..].find(first).map_or(address, |i| address + i);
    format!("{}{}{}", &l.text[..start], names.join(" "), l.comment)
}

/// Makes the template's line of /etc/hosts the VM's: `IP  NAME.DOMAIN  NAME`.
///
/// The template's line is that of its address or of one of its names, whichever there is; Debian's `127.0.1.1` line is
/// renamed. There is one line afterwards. Aliases, comments, line ends and the lines of others stay. cloud-init, where
/// there is one, is told to leave the file alone.
///
/// # Errors
/// `invalid`: no address, no name.
///
/// # Example
/// `192.168.6.247 z-ubuntu-rbd # mine` becomes `192.168.6.103  z-k8s-m-3.huatai.me  z-k8s-m-3 # mine`.
pub fn set_hosts_entry(f: &mut dyn Files, entry: &HostsEntry) -> Result<()> {
    let w = entry.wanted().map_err(|e| e.op("guestfs.set_hosts_entry"))?;
    cloud::keep(f, "manage_etc_hosts: false")?;
    match read_text(f, "/etc/hosts")? {
        Some(t) => {
            let new: Text = t.with(edit(&t.s, &w));
            if new != t { write(f, "/etc/hosts", &new) } else { Ok(()) }
        }
        None => {
            let new = edit("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n", &w);
            write_bytes(f, "/etc/hosts", new.into_bytes(), Some(0o644), Some((0, 0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;
    use proptest::prelude::*;

    fn entry(domain: Option<&str>) -> HostsEntry {
        HostsEntry {
            ip: "192.168.6.103".into(),
            name: "m3".into(),
            domain: domain.map(String::from),
            old_ip: Some("192.168.6.247".into()),
            old_names: vec![Some("z-ubuntu20-rbd".into()), Some("tpl".into())],
        }
    }

    fn done(text: &str, domain: Option<&str>) -> String {
        let w = entry(domain).wanted().expect("wanted");
        let new = edit(text, &w);
        assert_eq!(edit(&new, &w), new, "twice");
        new
    }

    const HUATAI: Option<&str> = Some("huatai.me");
    const LO: &str = "127.0.0.1 localhost\n";

    #[test]
    fn with_domain() {
        let want = "192.168.6.103  m3.huatai.me  m3";
        for (from, to) in [
            ("192.168.6.247 z-ubuntu20-rbd.huatai.me z-ubuntu20-rbd\n", format!("{want}\n")),
            ("192.168.6.247 z-ubuntu-rbd\n", format!("{want}\n")),
            ("192.168.6.247 z-ubuntu-rbd", want.into()),
            ("192.168.6.247\tz-ubuntu-rbd db # own\r\n# x\r\n", format!("{want}  db # own\r\n# x\r\n")),
            ("192.168.6.99 z-ubuntu20-rbd\n", format!("{want}\n")),
            ("192.168.6.2471 x\n192.168.6.248 y\n", format!("192.168.6.2471 x\n192.168.6.248 y\n{want}\n")),
            ("127.0.1.1\ttpl.lan tpl\n", "127.0.1.1\tm3.huatai.me m3\n".into()),
            ("127.0.1.1 tpl\n192.168.6.247 tpl\n", format!("127.0.1.1 m3.huatai.me m3\n{want}\n")),
            ("192.168.6.247 tpl\n\n192.168.6.103 m3 nfs\n# e", format!("{want}  nfs\n\n# e")),
            ("10.0.0.5 tpl storage\n192.168.6.247 tpl\n", format!("10.0.0.5 storage\n{want}\n")),
            ("192.168.6.247 tpl\n192.168.6.247 tpl2", want.into()),
            ("192.168.6.247 tpl\n192.168.6.103 m3 # was m2\n", format!("{want}\n# was m2\n")),
            ("192.168.6.5 db\n192.168.6.247 db\n", format!("192.168.6.5 db\n{want}\n")),
            ("192.168.6.247 a.lan tpl\n", format!("{want}\n")),
            ("# 192.168.6.247 tpl\n", format!("# 192.168.6.247 tpl\n{want}\n")),
            ("", format!("{want}\n")),
            ("# end", format!("# end\n{want}")),
        ] {
            assert_eq!(done(from, HUATAI), to, "{from}");
            assert_eq!(done(&format!("{LO}{from}"), HUATAI), format!("{LO}{to}"), "{from}");
        }
    }

    #[test]
    fn without_domain() {
        assert_eq!(done("192.168.6.247 z-ubuntu-rbd\n", None), "192.168.6.103  m3\n");
        assert_eq!(done("127.0.0.1 localhost tpl\n", None), "127.0.0.1 localhost m3\n192.168.6.103  m3\n");
        assert_eq!(done("127.0.1.1 tpl\n", Some("")), "127.0.1.1 m3\n");
        assert_eq!(done("127.0.1.1 tpl.lan tpl\n", None), "127.0.1.1 m3.lan m3\n");
        let own = "192.168.6.247 z-ubuntu20-rbd.huatai.me z-ubuntu20-rbd\n";
        assert_eq!(done(own, None), "192.168.6.103  m3.huatai.me  m3\n");
        assert_eq!(done("::1 localhost\n", None), "::1 localhost\n192.168.6.103  m3\n");
    }

    #[test]
    fn localhost_is_nobodys() {
        let mut e = entry(None);
        e.old_names = vec![Some("localhost.localdomain".into()), Some(String::new()), None];
        let text = "127.0.0.1 localhost.localdomain localhost\n::1 localhost\n";
        assert_eq!(edit(text, &e.wanted().expect("wanted")), format!("{text}192.168.6.103  m3\n"));
    }

    #[test]
    fn missing_file() {
        let mut m = Mem::of(&[("/etc/fstab", "")]);
        set_hosts_entry(&mut m, &entry(HUATAI)).expect("made");
        let text = m.text("/etc/hosts");
        assert!(text.starts_with("127.0.0.1 localhost\n::1 ") && text.ends_with("\n192.168.6.103  m3.huatai.me  m3\n"));
        m.edits.clear();
        set_hosts_entry(&mut m, &entry(HUATAI)).expect("again");
        assert!(m.edits.is_empty());
    }

    #[test]
    fn latin1_comment_survives() {
        let mut m = Mem::default();
        m.put("/etc/hosts", b"# caf\xe9\n192.168.6.247 tpl\n");
        set_hosts_entry(&mut m, &entry(None)).expect("set");
        assert_eq!(m.read("/etc/hosts").expect("read").expect("there"), b"# caf\xe9\n192.168.6.103  m3\n");
    }

    fn any_line() -> impl Strategy<Value = String> {
        let ip = proptest::sample::select(vec![
            "192.168.6.247",
            "192.168.6.103",
            "192.168.6.5",
            "10.0.0.5",
            "127.0.0.1",
            "127.0.1.1",
            "::1",
            "#",
            "",
        ]);
        let name = proptest::sample::select(vec!["tpl", "tpl.lan", "m3", "m3.huatai.me", "db", "localhost", "# c"]);
        (ip, proptest::collection::vec(name, 0..4)).prop_map(|(ip, names)| format!("{ip} {}", names.join(" ")))
    }

    proptest! {
        #[test]
        fn twice_is_once_and_others_stay(lines in proptest::collection::vec(any_line(), 0..8), crlf: bool, domain: bool) {
            let text = lines.join(if crlf { "\r\n" } else { "\n" });
            let w = entry(domain.then_some("huatai.me")).wanted().expect("wanted");
            let new = edit(&text, &w);
            prop_assert_eq!(&edit(&new, &w), &new);
            for l in lines.iter().filter(|l| !["247", "103", "127.0", "::1", "tpl", "m3"].iter().any(|w| l.contains(w)) && !l.trim().is_empty()) {
                prop_assert!(new.lines().any(|n| n == l), "{} is gone from {}", l, new);
            }
            prop_assert!(!new.lines().any(|l| l.split('#').next().is_some_and(|l| l.contains("192.168.6.247"))));
        }

        #[test]
        fn never_panics(s in "([ \t\r\n#.:a-c]|tpl|m3|é|192.168.6.247|192.168.6.103|127.0.1.1|::1|localhost){0,30}") {
            edit(&s, &entry(HUATAI).wanted().expect("wanted"));
        }
    }
}
