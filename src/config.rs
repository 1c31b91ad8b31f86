//! `zs.toml`: where the site is, and what its scripts read as `site.…`.

use crate::error::{Error, Result, nearest};
use crate::host::journal::Rotation;
use crate::host::limits::Limits;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub ceph: Ceph,
    pub libvirt: Libvirt,
    pub guestfs: Guestfs,
    pub scripts: Scripts,
    pub rights: Rights,
    pub journal: Rotation,
    pub limits: Limits,
    /// Free: what a site's scripts need. Relative `inventory` is meant from the file's own directory.
    pub site: toml::Table,
    /// The file this was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ceph {
    pub conf: Option<PathBuf>,
    pub id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Libvirt {
    pub uri: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    #[default]
    Auto,
    Direct,
    Appliance,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guestfs {
    pub engine: EngineChoice,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scripts {
    pub path: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rights {
    pub protected: Vec<String>,
}

impl Config {
    /// `--config`, else `$ZS_CONFIG`, else `./zs.toml`, else the user's, else the host's; else all defaults.
    pub fn load(given: Option<&Path>) -> Result<Config> {
        let named = given.map(Path::to_path_buf).or_else(|| set("ZS_CONFIG"));
        if let Some(path) = named {
            return Config::read(&path);
        }
        let mut places = vec![PathBuf::from("zs.toml")];
        if let Ok(dirs) = etcetera::base_strategy::choose_base_strategy() {
            use etcetera::BaseStrategy;
            places.push(dirs.config_dir().join("zs/zs.toml"));
        }
        places.push("/etc/zs/zs.toml".into());
        match places.into_iter().find(|p| p.exists()) {
            Some(path) => Config::read(&path),
            None => Ok(Config::default()),
        }
    }

    fn read(path: &Path) -> Result<Config> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::from(e).op("config").subject(path.display()).usage())?;
        let mut config = Config::parse(&text).map_err(|e| e.op("config").subject(path.display()))?;
        let dir = path.parent().unwrap_or(Path::new(""));
        if let Some(toml::Value::String(inventory)) = config.site.get_mut("inventory")
            && Path::new(&*inventory).is_relative()
        {
            *inventory = dir.join(&*inventory).display().to_string();
        }
        config.scripts.path.iter_mut().filter(|p| p.is_relative()).for_each(|p| *p = dir.join(&*p));
        config.file = Some(path.to_path_buf());
        Ok(config)
    }

    pub fn parse(text: &str) -> Result<Config> {
        toml::from_str(text).map_err(|e| {
            let line = e.span().map(|s| text.bytes().take(s.start).filter(|b| *b == b'\n').count() + 1);
            let place = line.map(|l| format!("line {l}: ")).unwrap_or_default();
            let error = Error::invalid(format!("{place}{}", e.message())).usage();
            match unknown_field(e.message()) {
                Some((word, Some(near))) => error.hint(format!("`{word}` is not known; did you mean `{near}`?")),
                _ => error,
            }
        })
    }

    /// `$ZS_STATE_DIR`, else `$XDG_STATE_HOME/zs`.
    pub fn state_dir() -> PathBuf {
        if let Some(dir) = set("ZS_STATE_DIR") {
            return dir;
        }
        use etcetera::BaseStrategy;
        match etcetera::base_strategy::choose_base_strategy().ok().and_then(|d| d.state_dir()) {
            Some(dir) => dir.join("zs"),
            None => PathBuf::from("/var/lib/zs"),
        }
    }
}

/// A path in the environment; empty is as good as unset.
fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// serde's "unknown field `x`, expected one of `a`, `b`": the word, and the nearest of the known ones.
pub fn unknown_field(message: &str) -> Option<(String, Option<String>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let word = quoted.next()?.to_string();
    let known: Vec<&str> = quoted.collect();
    let near = nearest(&word, known).map(String::from);
    Some((word, near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_name_the_nearest() {
        let e = Config::parse("[ceph]\nid = \"libvirt\"\nconff = \"x\"\n").expect_err("a typo");
        assert!(e.hint.is_some_and(|h| h.contains("`conf`")), "{}", e.message);
        assert!(e.message.starts_with("line 3:"), "{}", e.message);
        assert_eq!(Config::parse("[cehp]\n").expect_err("a typo").exit_code(), 2);
        assert!(Config::parse("[site]\nanything = 1\n").is_ok());
    }
}
