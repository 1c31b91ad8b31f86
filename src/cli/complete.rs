//! What a shell offers while somebody types `zs …`. Answers at once, or with less; never says anything else.

use super::{Cli, settings};
use crate::bindings::Live;
use crate::bindings::spec::Cancel;
use crate::check::{module_names, spec};
use crate::config::Config;
use crate::helpers::inventory;
use crate::host::journal::runs_dir;
use crate::host::{engine, registry, scripts};
use clap::{Arg, Command, CommandFactory};
use rhai::{Array, Map};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long libvirt may take to name its domains: a shell that hangs is worse than one that knows less.
const PATIENCE: Duration = Duration::from_millis(300);

/// A word, and what it is.
type Offer = (String, String);

/// Files are the shell's business.
const FILES: &str = ":files";

/// Prints what may stand for the last of `words`, which may be empty: one a line, with a tab before what is said of it.
pub fn complete(cli: &Cli, words: &[String]) -> u8 {
    // bash takes `--color=al` apart.
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| *w != "=").collect();
    let (last, before) = words.split_last().map_or(("", &[][..]), |(l, b)| (*l, b));
    let mut offers =
        Completer { cli, config: Config::load(cli.config.as_deref()).unwrap_or_default() }.offers(before, last);
    let stem =
        last.rsplit_once('=').map_or(last, |(option, value)| if option.starts_with("--") { value } else { last });
    offers.retain(|(word, _)| word == FILES || word.starts_with(stem));
    let mut seen = BTreeSet::new();
    for (word, said) in offers {
        if seen.insert(word.clone()) {
            let said = said.lines().next().unwrap_or_default();
            println!("{word}{}{said}", if said.is_empty() { "" } else { "\t" });
        }
    }
    0
}

struct Completer<'a> {
    cli: &'a Cli,
    config: Config,
}

impl Completer<'_> {
    fn offers(&mut self, before: &[&str], last: &str) -> Vec<Offer> {
        let zs = Cli::command();
        let mut at = 0;
        // zs's own options stand before the script or the sub-command.
        while let Some(word) = before.get(at) {
            let Some(option) = option(&zs, word) else { break };
            self.note(option.get_id().as_str(), word, before.get(at + 1));
            at += 1;
            if takes_value(option) && !word.contains('=') {
                if at == before.len() {
                    return self.value_of(option, last);
                }
                at += 1;
            }
        }
        if let Some((name, _)) = last.split_once('=')
            && at == before.len()
            && let Some(option) = option(&zs, name)
        {
            return self.value_of(option, last);
        }
        let Some(first) = before.get(at) else {
            return if last.starts_with('-') { options(&zs) } else { self.first(&zs, last) };
        };
        let rest = &before[at + 1..];
        match zs.get_subcommands().find(|c| c.get_name() == *first) {
            Some(command) => self.sub_command(command, rest, last),
            None => self.script(first, rest, last),
        }
    }

    /// `--config` and `--connect` say which inventory and which hypervisor the names are of.
    fn note(&mut self, id: &str, word: &str, next: Option<&&str>) {
        let Some(value) = word.split_once('=').map(|(_, v)| v).or(next.copied()) else { return };
        match id {
            "config" => self.config = Config::load(Some(value.as_ref())).unwrap_or_default(),
            "connect" => self.config.libvirt.uri = Some(value.into()),
            _ => {}
        }
    }

    fn value_of(&self, arg: &Arg, last: &str) -> Vec<Offer> {
        let choices = arg.get_possible_values();
        if !choices.is_empty() {
            return choices.iter().map(|c| (c.get_name().to_string(), String::new())).collect();
        }
        match arg.get_id().as_str() {
            "config" | "ceph_conf" | "markdown" | "dir" => vec![files()],
            "allow" | "deny" => functions().into_iter().filter(|(f, _)| f.contains('.')).collect(),
            "files" | "paths" => [self.scripts(), vec![files()]].concat(),
            "name" => {
                let modules = module_names(None, &self.config.scripts.path);
                let spaces = registry_spaces().into_iter().chain(modules).map(|n| (n, String::new()));
                [functions(), spaces.collect(), self.scripts()].concat()
            }
            "run" => runs(),
            _ if last.contains('/') => vec![files()],
            _ => vec![],
        }
    }

    fn first(&self, zs: &Command, last: &str) -> Vec<Offer> {
        let commands = zs.get_subcommands().filter(|c| !c.is_hide_set());
        let commands =
            commands.map(|c| (c.get_name().to_string(), c.get_about().map(ToString::to_string).unwrap_or_default()));
        let mut all: Vec<Offer> = self.scripts();
        all.extend(commands);
        // A path is a script too.
        if last.contains(['/', '.']) && !all.iter().any(|(w, _)| w.starts_with(last)) {
            all.push(files());
        }
        all
    }

    fn scripts(&self) -> Vec<Offer> {
        scripts::list(&self.config.scripts.path).into_iter().map(|s| (s.name, s.about)).collect()
    }

    fn sub_command(&self, command: &Command, rest: &[&str], last: &str) -> Vec<Offer> {
        if let Some(option) = rest.last().and_then(|w| option(command, w)).filter(|o| takes_value(o)) {
            return self.value_of(option, last);
        }
        if last.starts_with('-') {
            return options(command);
        }
        command.get_positionals().next().map(|p| self.value_of(p, last)).unwrap_or_default()
    }

    fn script(&self, name: &str, rest: &[&str], last: &str) -> Vec<Offer> {
        let declared = || {
            let source = scripts::find(name, &self.config.scripts.path).ok()?;
            let mut engine = engine::bare();
            engine.set_strict_variables(false);
            spec::of_source(&engine, &source)
        };
        let Some(spec) = declared() else { return vec![files()] };
        let (positional, options) = (maps(&spec, "positional"), maps(&spec, "options"));
        let find = |word: &str| {
            let long = word.strip_prefix("--").map(|w| w.split('=').next().unwrap_or(w));
            let short = word.strip_prefix('-').filter(|w| w.len() == 1);
            options
                .iter()
                .find(|o| long.is_some_and(|l| text(o, "name") == l) || short.is_some_and(|s| text(o, "short") == s))
        };
        let mut words = rest.iter();
        let mut count = 0;
        while let Some(word) = words.next() {
            match find(word) {
                Some(o) if o.contains_key("value") && !word.contains('=') => {
                    if words.next().is_none() {
                        return self.value(o, rest);
                    }
                }
                Some(_) => {}
                None => count += usize::from(!word.starts_with('-')),
            }
        }
        if let Some(o) = last.contains('=').then(|| find(last)).flatten() {
            return self.value(o, rest);
        }
        if last.starts_with('-') {
            let given = |o: &&Map| !rest.contains(&format!("--{}", text(o, "name")).as_str()) || o.contains_key("many");
            let own = options.iter().filter(given).map(|o| (format!("--{}", text(o, "name")), text(o, "help")));
            return own.chain([("--help".to_string(), "shows the arguments".to_string())]).collect();
        }
        let many = positional.last().filter(|p| p.get("many").is_some_and(|m| m.as_bool() == Ok(true)));
        positional.get(count).or(many).map(|p| self.value(p, rest)).unwrap_or_default()
    }

    /// What an argument of a script may be.
    fn value(&self, declared: &Map, given: &[&str]) -> Vec<Offer> {
        if let Some(choices) = declared.get("choices").and_then(|c| c.read_lock::<Array>()) {
            return choices.iter().map(|c| (c.to_string(), String::new())).collect();
        }
        match text(declared, "kind").as_str() {
            "vm" | "vms" => self.vms().into_iter().filter(|(name, _)| !given.contains(&name.as_str())).collect(),
            "path" => vec![files()],
            // Nobody has said what it is: a file, if anything.
            "" if ["FILE", "F", "DIR"].contains(&text(declared, "value").as_str()) => vec![files()],
            _ => vec![],
        }
    }

    /// The domains that are there, and those that the inventory plans.
    fn vms(&self) -> Vec<Offer> {
        let mut all = Vec::new();
        if let Some(file) = self.config.site.get("inventory").and_then(|v| v.as_str())
            && let Ok(bytes) = std::fs::read(file)
            && let Ok(list) = inventory::parse(file, &bytes)
        {
            all.extend(list.rows.into_iter().filter(|r| !r.name.is_empty()).map(|r| (r.name, "planned".to_string())));
        }
        let (tell, answer) = channel();
        let settings = settings(self.cli, &self.config);
        let uri = self.config.libvirt.uri.clone();
        let settings =
            crate::bindings::live::Settings { libvirt_uri: uri.or(settings.libvirt_uri.clone()), ..settings };
        std::thread::spawn(move || {
            let live = Live::new(settings, Cancel::default(), Arc::new(|_: &str| {}));
            let found = crate::bindings::World::virsh(&live).list();
            let _ = tell.send(found.unwrap_or_default());
        });
        if let Ok(domains) = answer.recv_timeout(PATIENCE) {
            for d in domains {
                let state = d.state.to_string();
                match all.iter_mut().find(|(name, _)| *name == d.name) {
                    Some((_, said)) => *said = state,
                    None => all.push((d.name, state)),
                }
            }
        }
        all
    }
}

/// The runs in the journal, and the newest by its own word.
fn runs() -> Vec<Offer> {
    let dir = runs_dir(&Config::state_dir());
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
    let ids = names.filter_map(|n| n.to_str()?.strip_suffix(".jsonl").map(String::from));
    ids.chain(["last".to_string()]).map(|id| (id, String::new())).collect()
}

fn files() -> Offer {
    (FILES.into(), String::new())
}

fn text(map: &Map, key: &str) -> String {
    map.get(key).filter(|v| !v.is_unit()).map(ToString::to_string).unwrap_or_default()
}

fn maps(spec: &Map, key: &str) -> Vec<Map> {
    let list = spec.get(key).and_then(|l| l.read_lock::<Array>().map(|l| l.clone())).unwrap_or_default();
    list.into_iter().filter_map(|m| m.try_cast::<Map>()).collect()
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// The option that a word names.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or(word);
    let short = name.strip_prefix('-').filter(|n| n.chars().count() == 1).and_then(|n| n.chars().next());
    let mut all = command.get_arguments().filter(|a| !a.is_positional());
    all.find(|a| {
        name.strip_prefix("--").is_some_and(|n| a.get_long() == Some(n)) || short.is_some() && a.get_short() == short
    })
}

fn options(command: &Command) -> Vec<Offer> {
    let shown = command.get_arguments().filter(|a| !a.is_positional() && !a.is_hide_set());
    let long = shown.filter_map(|a| {
        Some((format!("--{}", a.get_long()?), a.get_help().map(ToString::to_string).unwrap_or_default()))
    });
    long.chain([("--help".to_string(), "shows the options".to_string())]).collect()
}

fn functions() -> Vec<Offer> {
    let entries = registry::entries(&engine::bare());
    let full = |e: &registry::Entry| registry::signature(e).split('(').next().unwrap_or_default().to_string();
    entries.iter().map(|e| (full(e), e.summary().to_string())).collect()
}

fn registry_spaces() -> Vec<String> {
    let spaces: BTreeSet<String> =
        functions().into_iter().filter_map(|(f, _)| f.rsplit_once('.').map(|(space, _)| space.to_string())).collect();
    spaces.into_iter().collect()
}
