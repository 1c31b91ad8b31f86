//! The commands of the prompt, from one table: `:help`, completion and dispatch read it.

use super::Shell;
use super::session::Outcome;
use super::show;
use crate::error::{Error, Result, nearest};
use crate::host::scripts::{self, Source};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

/// What a command's argument is, for Tab.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Takes {
    Nothing,
    Function,
    Switch,
    File,
    Script,
    Uri,
    Code,
}

pub struct Command {
    pub name: &'static str,
    pub args: &'static str,
    pub takes: Takes,
    pub help: &'static str,
    run: fn(&mut Shell, &str) -> Result<Flow>,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flow {
    On,
    End,
}

const fn command(
    name: &'static str,
    args: &'static str,
    takes: Takes,
    help: &'static str,
    run: fn(&mut Shell, &str) -> Result<Flow>,
) -> Command {
    Command { name, args, takes, help, run }
}

pub const COMMANDS: &[Command] = &[
    command("help", "[NAME]", Takes::Function, "what there is; of a function, namespace or command", help),
    command("doc", "NAME", Takes::Function, "the documentation of a function or a namespace", doc),
    command("plan", "[on|off]", Takes::Switch, "on: each line is shown first as a plan, and asked for", plan),
    command("undo", "", Takes::Nothing, "takes back the last line that changed something", undo),
    command("history", "[N|TEXT]", Takes::Nothing, "the last N lines, or those with TEXT in them", history),
    command("run", "SCRIPT [ARGS]", Takes::Script, "runs a script in this session", run_script),
    command(
        "load",
        "FILE",
        Takes::File,
        "runs a file as if it were typed here: its functions and variables stay",
        load,
    ),
    command("edit", "[FILE]", Takes::File, "writes the next line, or a file to load, in $EDITOR", edit),
    command("time", "CODE", Takes::Code, "runs a line and says how long it took", time),
    command("save", "FILE", Takes::File, "writes the lines that were right as a script", save),
    command("vars", "", Takes::Nothing, "the variables and functions of this session", vars),
    command("connect", "URI", Takes::Uri, "goes to another hypervisor; variables stay", connect),
    command("jobs", "", Takes::Nothing, "what spawn(|| …) has begun", jobs),
    command("json", "[CODE]", Takes::Code, "the last value, or that of CODE, as JSON", json),
    command("raw", "[CODE]", Takes::Code, "the last value, or that of CODE, in full and as it is", raw),
    command("quit", "", Takes::Nothing, "ends the session, as Ctrl-D does", |_, _| Ok(Flow::End)),
];

pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name == name)
}

/// Runs the line of a command, without its colon.
pub fn dispatch(shell: &mut Shell, line: &str) -> Result<Flow> {
    let (name, args) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let Some(command) = find(name) else {
        let e = Error::invalid("there is no such command").subject(format!(":{name}"));
        return Err(match nearest(name, COMMANDS.iter().map(|c| c.name)) {
            Some(near) => e.hint(format!("did you mean `:{near}`?")),
            None => e.hint(":help lists them"),
        });
    };
    let args = args.trim();
    if args.is_empty() && !command.args.is_empty() && !command.args.starts_with('[') {
        return Err(Error::invalid(format!("takes {}", command.args)).subject(format!(":{name}")).hint(command.help));
    }
    (command.run)(shell, args)
}

fn help(shell: &mut Shell, name: &str) -> Result<Flow> {
    // `time` and `json` are namespaces, too.
    let is_command = name.starts_with(':') || !crate::helpers::NAMES.contains(&name);
    if let Some(c) = find(name.trim_start_matches(':')).filter(|_| is_command) {
        shell.say(&format!(":{} {}\n    {}", c.name, c.args, c.help));
        return Ok(Flow::On);
    }
    if !name.is_empty() {
        return doc(shell, name);
    }
    let mut text = String::from("Commands\n");
    let width = COMMANDS.iter().map(|c| c.name.len() + c.args.len() + 2).max().unwrap_or(0);
    for c in COMMANDS {
        let call = format!(":{} {}", c.name, c.args);
        text.push_str(&format!("  {call:width$}  {}\n", c.help));
    }
    text.push_str("\nNamespaces: :help NAME lists the functions of one, :help rbd.clone shows a function\n");
    text.push_str(&format!("  {}\n", crate::bindings::NAMESPACES.join(", ")));
    text.push_str(&format!("  {}\n", crate::helpers::NAMES.join(", ")));
    text.push_str(
        "\nKeys: Tab completes, Ctrl-R searches the history, Alt-Enter begins a line,\n\
         Ctrl-C clears the line or stops what runs and takes it back, Ctrl-D ends. `_` is the last value.\n",
    );
    shell.page(text.trim_end());
    Ok(Flow::On)
}

fn doc(shell: &mut Shell, name: &str) -> Result<Flow> {
    let name = name.trim_end_matches(['(', ')', '.']);
    let text = show::doc(shell.completing.words(), name, shell.events.color).ok_or_else(|| {
        let names = shell.completing.words().entries.iter().map(crate::host::registry::signature);
        let names: Vec<String> = names.filter_map(|s| Some(s.split_once('(')?.0.to_string())).collect();
        let e = Error::not_found("is not documented").subject(name);
        match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => e.hint(format!("did you mean `{near}`?")),
            None => e.hint(":help lists what there is"),
        }
    })?;
    shell.page(&text);
    Ok(Flow::On)
}

fn plan(shell: &mut Shell, switch: &str) -> Result<Flow> {
    shell.planning = match switch {
        "on" => true,
        "off" => false,
        "" => !shell.planning,
        other => return Err(Error::invalid("is neither on nor off").subject(other)),
    };
    let said = match (shell.planning, shell.session.hosts.model.is_some()) {
        (true, true) => "this session is on a model: nothing outside changes anyway",
        (true, false) => "each line is planned first, and asked for",
        (false, _) => "lines are run at once",
    };
    shell.say(said);
    Ok(Flow::On)
}

fn undo(shell: &mut Shell, _: &str) -> Result<Flow> {
    let Some((line, done)) = shell.session.changed.last().cloned() else {
        return Err(Error::not_found("no line of this session has changed anything").op(":undo"));
    };
    let first = line.lines().next().unwrap_or_default();
    shell.say(&format!("{} {first}", shell.events.paint("1", "taking back:")));
    let left = shell.session.undo(done);
    if left.is_empty() {
        shell.say("left behind: nothing");
    } else {
        shell.say("not taken back:");
        left.iter().for_each(|(what, command)| shell.say(&format!("  {what}\n    {command}")));
    }
    shell.session.changed.pop();
    // Not in what `:save` writes, either.
    if let Some(at) = shell.session.good.iter().rposition(|l| *l == line) {
        shell.session.good.remove(at);
    }
    shell.completing.forget();
    Ok(Flow::On)
}

fn history(shell: &mut Shell, which: &str) -> Result<Flow> {
    let lines = match which.parse::<usize>() {
        Ok(n) => shell.input.history(n),
        Err(_) if which.is_empty() => shell.input.history(20),
        Err(_) => shell.input.history(usize::MAX).into_iter().filter(|l| l.contains(which)).collect(),
    };
    shell.page(&lines.join("\n"));
    Ok(Flow::On)
}

fn run_script(shell: &mut Shell, args: &str) -> Result<Flow> {
    let mut words = split(args)?.into_iter();
    let name = words.next().unwrap_or_default();
    let source =
        scripts::find(&name, &shell.session.host.config.scripts.path).map_err(|e| Error { usage: false, ..e })?;
    if let Some(id) = source.ceph_id().filter(|id| *id != shell.session.hosts.settings.ceph_id) {
        return Err(Error::denied(format!("acts as client.{id}, this session does not"))
            .subject(&source.name)
            .hint(format!("from the shell: zs {args}")));
    }
    let outcome = shell.session.run_script(&source, words.collect());
    shell.done(&outcome, None);
    Ok(Flow::On)
}

fn load(shell: &mut Shell, file: &str) -> Result<Flow> {
    let file = file.trim_matches('"');
    let text = std::fs::read_to_string(file).map_err(|e| Error::from(e).op(":load").subject(file))?;
    let outcome = shell.session.run(&text, file, false);
    shell.done(&outcome, Some(&text));
    Ok(Flow::On)
}

fn edit(shell: &mut Shell, file: &str) -> Result<Flow> {
    let editor = ["VISUAL", "EDITOR"].iter().filter_map(|v| std::env::var(v).ok()).find(|e| !e.trim().is_empty());
    let editor = editor.unwrap_or_else(|| "vi".into());
    let own = Source { name: file.into(), text: shell.last.clone(), dir: None };
    let path = match file {
        "" => {
            let dir = std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), std::path::PathBuf::from);
            let path = dir.join(format!("zs-edit-{}.rhai", uuid::Uuid::new_v4().simple()));
            let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            options
                .and_then(|mut f| f.write_all(own.text.as_bytes()))
                .map_err(|e| Error::from(e).subject(path.display()))?;
            path
        }
        file => file.into(),
    };
    // By the shell, for editors with options: EDITOR="emacs -nw".
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&path);
    let ended = shell.away(|| command.status());
    let text = std::fs::read_to_string(&path);
    if file.is_empty() {
        let _ = std::fs::remove_file(&path);
    }
    let ended = ended.map_err(|e| Error::from(e).op(":edit").subject(&editor))?;
    if !ended.success() {
        return Err(Error::failed(format!("ended with {ended}")).op(":edit").subject(&editor));
    }
    if !file.is_empty() {
        return load(shell, file);
    }
    // Shown once more before it is run.
    shell.next = text.map_err(|e| Error::from(e).op(":edit"))?.trim_end().to_string();
    Ok(Flow::On)
}

fn time(shell: &mut Shell, code: &str) -> Result<Flow> {
    let begun = Instant::now();
    shell.run_line(code);
    shell.say(&format!("{:.3} s", begun.elapsed().as_secs_f64()));
    Ok(Flow::On)
}

fn save(shell: &mut Shell, file: &str) -> Result<Flow> {
    let wrong = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::exists("there is a file of this name").hint("choose another name"),
        _ => Error::from(e),
    };
    let mut text = format!("// A session of zs {}.\n", env!("CARGO_PKG_VERSION"));
    for line in &shell.session.good {
        let line = line.trim_end();
        text.push_str(line);
        text.push_str(if line.ends_with(['}', ';']) { "\n" } else { ";\n" });
    }
    let file = file.trim_matches('"');
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(file);
    made.and_then(|mut f| f.write_all(text.as_bytes())).map_err(|e| wrong(e).op(":save").subject(file))?;
    shell.say(&format!("{} lines in {file}", shell.session.good.len()));
    Ok(Flow::On)
}

fn vars(shell: &mut Shell, _: &str) -> Result<Flow> {
    let text = show::variables(&shell.session, shell.look().width);
    shell.page(&text);
    Ok(Flow::On)
}

fn connect(shell: &mut Shell, uri: &str) -> Result<Flow> {
    shell.session.connect(uri.trim_matches('"'), &shell.events.clone(), &shell.watch.cancel)?;
    shell.watch.acts_on(&shell.session.host);
    let host = shell.session.host.clone();
    shell.say(&format!("{} ({})", host.virsh().uri()?, host.virsh().hostname()?));
    Ok(Flow::On)
}

fn jobs(shell: &mut Shell, _: &str) -> Result<Flow> {
    let text = shell.jobs.table(shell.look());
    shell.say(&text);
    Ok(Flow::On)
}

fn json(shell: &mut Shell, code: &str) -> Result<Flow> {
    as_is(shell, code, |v| {
        serde_json::to_string_pretty(&crate::host::values::to_json(v)).unwrap_or_else(|_| v.to_string())
    })
}

fn raw(shell: &mut Shell, code: &str) -> Result<Flow> {
    as_is(shell, code, crate::render::raw)
}

/// Shows a value in a way of its own.
fn as_is(shell: &mut Shell, code: &str, write: impl Fn(&rhai::Dynamic) -> String) -> Result<Flow> {
    if !code.is_empty() {
        match shell.evaluate(code) {
            Some(Outcome::Value(_)) => {}
            _ => return Ok(Flow::On),
        }
    }
    match shell.session.last() {
        Some(value) => shell.page(&write(&value)),
        None => return Err(Error::not_found("there is no value yet")),
    }
    Ok(Flow::On)
}

/// The words of a line as a shell would see them: quotes of both kinds, and `{1..3}` left to the script.
fn split(text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(Error::invalid("a quote is not closed").op(":run"));
    }
    words.extend(word);
    Ok(words)
}

/// What is said at the end, when there is still work going on.
pub fn leaving(shell: &mut Shell) -> Flow {
    let running = shell.jobs.running();
    if running == 0 || std::mem::replace(&mut shell.warned, true) {
        return Flow::End;
    }
    let s = if running == 1 { "job is" } else { "jobs are" };
    shell.say(&format!(
        "{running} {s} still running: wait(…) for it, or once more to stop it and take back what it did"
    ));
    Flow::On
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for (n, c) in COMMANDS.iter().enumerate() {
            assert!(COMMANDS[..n].iter().all(|d| d.name != c.name), "{} twice", c.name);
            assert!(!c.help.is_empty() && !c.help.ends_with('.'), "{}", c.name);
            assert_eq!(c.args.is_empty(), c.takes == Takes::Nothing && c.name != "history", "{}", c.name);
        }
        // What the brief promises.
        for name in [
            "help", "doc", "plan", "undo", "history", "run", "load", "edit", "time", "save", "vars", "connect", "json",
            "raw", "quit", "jobs",
        ] {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn words_of_a_line() {
        assert_eq!(
            split("clone.rhai 'a b' --x=\"c d\" {1..3}").ok(),
            Some(vec!["clone.rhai".into(), "a b".into(), "--x=c d".into(), "{1..3}".into()])
        );
        assert_eq!(split("a ''").ok(), Some(vec!["a".into(), String::new()]));
        assert!(split("a 'b").is_err());
    }
}
