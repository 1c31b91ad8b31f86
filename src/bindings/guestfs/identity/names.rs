//! The guest's name.

use super::text::{Text, splice};
use super::{Files, cloud, net::ini, read_text, write, write_bytes};
use crate::error::{Error, Result};

pub fn check_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-');
    if name.len() <= 253 && name.bytes().all(plain) && name.split('.').all(label) {
        return Ok(());
    }
    Err(Error::invalid(format!("`{name}` is no host name"))
        .hint("letters, digits and `-`, at most 63 of them between two dots"))
}

/// The guest's name: that in /etc/hostname, else in /etc/sysconfig/network; `None` when it has none.
///
/// # Errors
/// Those of reading the guest.
pub fn hostname(f: &mut dyn Files) -> Result<Option<String>> {
    if let Some(t) = read_text(f, "/etc/hostname")? {
        let name = t.s.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'));
        if let Some(name) = name {
            return Ok(Some(name.into()));
        }
    }
    let Some(t) = settings(f, "/etc/sysconfig/network")? else { return Ok(None) };
    Ok(ini::shell(&t.s).into_iter().find(|e| e.key == "HOSTNAME").map(|e| t.s[e.value].to_string()))
}

fn settings(f: &mut dyn Files, path: &str) -> Result<Option<Text>> {
    // On SUSE /etc/sysconfig/network is a directory.
    if f.stat(path)?.is_none_or(|s| s.kind == "directory") {
        return Ok(None);
    }
    read_text(f, path)
}

/// `word` with the old host name replaced: alone or with a domain behind it.
pub fn renamed(word: &str, old: &str, new: &str) -> Option<String> {
    let head = word.get(..old.len())?;
    let rest = &word[old.len()..];
    let hit = !old.is_empty() && head.eq_ignore_ascii_case(old) && (rest.is_empty() || rest.starts_with('.'));
    // A new name with its own domain takes the place of the whole.
    hit.then(|| if new.contains('.') { new.into() } else { format!("{new}{rest}") })
}

/// Of `a.b.c` also `a`: guests are called by either.
pub fn spellings(name: &str) -> impl Iterator<Item = &str> {
    let short = name.split('.').next().filter(|s| *s != name);
    [Some(name), short].into_iter().flatten()
}

/// Files that hold a host name and nothing else.
const WHOLE: [&str; 2] = ["/etc/mailname", "/etc/salt/minion_id"];

/// Settings that hold host names, among other words.
const SETTINGS: [(&str, &[&str]); 7] = [
    ("/etc/sysconfig/network", &["HOSTNAME"]),
    ("/etc/machine-info", &["PRETTY_HOSTNAME"]),
    ("/etc/postfix/main.cf", &["myhostname", "mydestination"]),
    ("/etc/exim4/update-exim4.conf.conf", &["dc_other_hostnames", "dc_readhost"]),
    ("/etc/puppet/puppet.conf", &["certname"]),
    ("/etc/zabbix/zabbix_agentd.conf", &["Hostname"]),
    ("/etc/zabbix/zabbix_agent2.conf", &["Hostname"]),
];

/// Gives the guest a name: /etc/hostname, and the old name in the settings of mail servers and agents, where a domain
/// behind it stays. cloud-init, where there is one, is told to leave the name alone. /etc/hosts is `set_hosts_entry`'s.
///
/// # Errors
/// `invalid`: no host name (RFC 1123: letters, digits and `-`, at most 63 of them in a label).
///
/// # Example
/// `set_hostname(f, "z-k8s-m-3")` turns a mailname of `z-ubuntu20-rbd.huatai.me` into `z-k8s-m-3.huatai.me`.
pub fn set_hostname(f: &mut dyn Files, name: &str) -> Result<()> {
    check_name(name).map_err(|e| e.op("guestfs.set_hostname"))?;
    let old = hostname(f)?;
    let same = read_text(f, "/etc/hostname")?.is_some_and(|t| t.s.trim() == name);
    if !same {
        write_bytes(f, "/etc/hostname", format!("{name}\n").into_bytes(), None, None)?;
    }
    cloud::keep(f, "preserve_hostname: true")?;
    let Some(old) = old.filter(|o| o != name) else { return Ok(()) };

    for path in WHOLE {
        let Some(t) = read_text(f, path)? else { continue };
        let word = t.s.trim();
        if let Some(new) = spellings(&old).find_map(|o| renamed(word, o, name)) {
            write(f, path, &t.with(t.s.replacen(word, &new, 1)))?;
        }
    }
    for (path, keys) in SETTINGS {
        let Some(t) = settings(f, path)? else { continue };
        let new = setting(&t, keys, &old, name);
        if new != t {
            write(f, path, &new)?;
        }
    }
    Ok(())
}

/// The words of some settings renamed.
fn setting(t: &Text, keys: &[&str], old: &str, name: &str) -> Text {
    let mut splices = Vec::new();
    for e in ini::sections(&t.s).into_iter().filter(|e| keys.contains(&e.key.as_str())) {
        let mut at = e.value.start;
        let value = t.s[e.value].split(" #").next().unwrap_or_default();
        for part in value.split_inclusive(SEPARATORS) {
            let word = part.trim_end_matches(SEPARATORS);
            if let Some(new) = spellings(old).find_map(|o| renamed(word, o, name)) {
                splices.push((at..at + word.len(), new));
            }
            at += part.len();
        }
    }
    t.with(splice(&t.s, &splices))
}

const SEPARATORS: [char; 7] = [' ', '\t', ',', ';', ':', '"', '\''];

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everywhere() {
        let mut m = Mem::of(&[
            ("/etc/hostname", "z-ubuntu20-rbd\n"),
            ("/etc/mailname", "z-ubuntu20-rbd.huatai.me\n"),
            ("/etc/sysconfig/network", "NETWORKING=yes\r\nHOSTNAME=\"z-ubuntu20-rbd.huatai.me\" # z-ubuntu20-rbd\r\n"),
        ]);
        set_hostname(&mut m, "z-k8s-m-3").expect("set");
        assert_eq!(m.text("/etc/hostname"), "z-k8s-m-3\n");
        assert_eq!(m.text("/etc/mailname"), "z-k8s-m-3.huatai.me\n");
        assert_eq!(
            m.text("/etc/sysconfig/network"),
            "NETWORKING=yes\r\nHOSTNAME=\"z-k8s-m-3.huatai.me\" # z-ubuntu20-rbd\r\n"
        );
        m.edits.clear();
        set_hostname(&mut m, "z-k8s-m-3").expect("again");
        assert!(m.edits.is_empty());
    }

    #[test]
    fn settings() {
        let postfix = "myhostname = tpl.huatai.me\n# tpl\nmydestination = $myhostname, tpl.huatai.me, tpl, localhost, tpl2\nx = tpl\n";
        let mut m = Mem::of(&[
            ("/etc/hostname", "tpl  \n"),
            ("/etc/postfix/main.cf", postfix),
            ("/etc/salt/minion_id", "tpl"),
            ("/etc/zabbix/zabbix_agentd.conf", "# Hostname=\nHostname=TPL\nServer=tpl\n"),
            ("/etc/sysconfig/network/ifcfg-eth0", ""),
            ("/etc/exim4/update-exim4.conf.conf", "dc_other_hostnames='tpl;tpl.lan'\n"),
        ]);
        set_hostname(&mut m, "b").expect("set");
        assert_eq!(m.text("/etc/hostname"), "b\n");
        assert_eq!(
            m.text("/etc/postfix/main.cf"),
            "myhostname = b.huatai.me\n# tpl\nmydestination = $myhostname, b.huatai.me, b, localhost, tpl2\nx = tpl\n"
        );
        assert_eq!(m.text("/etc/salt/minion_id"), "b");
        assert_eq!(m.text("/etc/zabbix/zabbix_agentd.conf"), "# Hostname=\nHostname=b\nServer=tpl\n");
        assert_eq!(m.text("/etc/exim4/update-exim4.conf.conf"), "dc_other_hostnames='b;b.lan'\n");
        m.edits.clear();
        set_hostname(&mut m, "b").expect("again");
        assert!(m.edits.is_empty());
    }

    #[test]
    fn others_mail_stays() {
        let mut m = Mem::of(&[("/etc/hostname", "a\n"), ("/etc/mailname", "mail.example.org\n")]);
        set_hostname(&mut m, "b").expect("set");
        assert_eq!(m.text("/etc/mailname"), "mail.example.org\n");
        set_hostname(&mut Mem::default(), "b").expect("a guest without a name");
        set_hostname(&mut Mem::of(&[("/etc/sysconfig/network/config", "")]), "b").expect("SUSE");
    }

    #[test]
    fn cloud_init_keeps_it() {
        let mut m =
            Mem::of(&[("/etc/hostname", "a\n"), ("/etc/cloud/cloud.cfg", ""), ("/etc/cloud/cloud.cfg.d/x", "")]);
        set_hostname(&mut m, "b").expect("set");
        assert!(m.text("/etc/cloud/cloud.cfg.d/99-zs.cfg").ends_with("\npreserve_hostname: true\n"));
    }

    #[test]
    fn bad_names() {
        for bad in ["", "a b", "a\nb", "-a", "a-", "a..b", "a_b", &"x".repeat(64), "名前", "a/b"] {
            assert!(set_hostname(&mut Mem::default(), bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(s in ".{0,40}", old in ".{0,5}") {
            setting(&Text::decode(format!("HOSTNAME={s}").as_bytes()), &["HOSTNAME"], &old, "new");
            renamed(&s, &old, "new");
        }
    }
}
