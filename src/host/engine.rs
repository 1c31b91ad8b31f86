//! The Rhai engine as scripts meet it: strict, with the four namespaces visible everywhere.

use super::limits::Limits;
use super::rights::{Rights, names};
use super::scripts;
use super::values::{RhaiResultOf, throw};
use super::{Host, deep, gate, memory};
use crate::bindings::spec::Cancel;
use crate::bindings::{NAMESPACES, ceph, guestfs, rbd, virsh};
use crate::error::{Error, Result};
use crate::helpers;
use rhai::{AST, Dynamic, Engine, EvalAltResult, Module, ModuleResolver, OptimizationLevel, Position, Scope, Shared};
use rhai::{EvalContext, FnPtr, NativeCallContext, Token};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Debug builds use far more stack for each script call than release builds.
pub const STACK: usize = 256 << 20;

/// How the free functions find their run.
#[derive(Clone)]
pub struct Tag(pub Arc<Host>);

/// The run behind a call of a free function.
pub fn host_of(ctx: &rhai::NativeCallContext) -> super::values::RhaiResultOf<Arc<Host>> {
    match ctx.tag().and_then(|t| t.read_lock::<Tag>().map(|t| t.0.clone())) {
        Some(host) => Ok(host),
        None => Err(throw(Error::failed("this engine has no run"))),
    }
}

/// The names that are always there, as the compiler must know them under strict variables.
pub fn names() -> Scope<'static> {
    let mut scope = Scope::new();
    for name in NAMESPACES.into_iter().chain(helpers::NAMES.iter().copied()) {
        scope.push(name, ());
    }
    scope
}

pub fn build(host: &Arc<Host>) -> Engine {
    let mut engine = bare();
    let names = Names { handles: handles(host), limits: host.config.limits.clone() };
    // Asked for each use of each variable. The compiler has found the place of most, and those are the script's own.
    #[allow(deprecated)] // "volatile", not deprecated
    engine.on_var(move |name, index, ctx| {
        if index > 0 && !deep::is_time() {
            return Ok(None);
        }
        names.look_up(name, index, ctx)
    });
    refuse_denied(&mut engine, host.gate.rights());
    host.config.limits.apply(&mut engine);
    let most = memory::limit(&host.config.limits);
    memory::guard(&mut engine, most);
    let ends = Ends { cancel: host.cancel.clone(), memory: most };
    engine.on_progress(move |nth| {
        // One branch for the three of them.
        let look = deep::counts(nth) | Cancel::is_any_set() | memory::was_over();
        if look { ends.reason(nth) } else { None }
    });
    let (out, log) = (host.clone(), host.clone());
    engine.on_print(move |text| if out.events.json { out.events.log("print", text) } else { out.events.out(text) });
    engine.on_debug(move |text, source, pos| {
        // `log.debug` has had its say; debug() itself shows even empty text in quotes.
        if text.is_empty() {
            return;
        }
        log.events.log("info", &format!("{}:{pos:?}: {text}", source.unwrap_or("script")));
    });
    engine.set_default_tag(Dynamic::from(Tag(host.clone())));
    engine.set_module_resolver(Resolver { dirs: host.config.scripts.path.clone(), loaded: Mutex::default() });
    engine
}

// What runs for each step of a script is a few instructions without a stack frame, and the rest is in these.

struct Names {
    handles: HashMap<&'static str, Dynamic>,
    limits: Limits,
}

impl Names {
    #[cold]
    #[inline(never)]
    fn look_up(&self, name: &str, index: usize, ctx: EvalContext) -> RhaiResultOf<Option<Dynamic>> {
        let is_safe_point = index == 0 && deep::at_safe_point(name);
        deep::look(&ctx, &self.limits)?;
        if is_safe_point {
            return Ok(Some(Dynamic::UNIT));
        }
        if index > 0 || ctx.scope().contains(name) {
            return Ok(None);
        }
        let ours = self.handles.get(name).cloned().map(Dynamic::into_read_only);
        // Bytecode knows the functions that are compiled with it only.
        let is_function = || ctx.iter_namespaces().any(|m| m.iter_script_fn_info().any(|(.., f)| f.name == name));
        Ok(ours.or_else(|| is_function().then(|| FnPtr::new(name).ok().map(Dynamic::from)).flatten()))
    }
}

struct Ends {
    cancel: Cancel,
    memory: usize,
}

impl Ends {
    #[cold]
    #[inline(never)]
    fn reason(&self, nth: u64) -> Option<Dynamic> {
        deep::count(nth);
        let stop = if self.cancel.is_set() { Some(Error::interrupted()) } else { memory::over(self.memory) };
        stop.map(Dynamic::from)
    }
}

/// Functions that `--deny` refuses as a whole are refused before they ask anybody anything: those that change nothing, too.
fn refuse_denied(engine: &mut Engine, rights: &Rights) {
    if !rights.denies_whole() {
        return;
    }
    let found = engine.collect_fn_metadata(
        None,
        |f| {
            let m = f.metadata;
            let receiver =
                m.params_info.first()?.split_once(':')?.1.trim().trim_start_matches("&mut ").trim().to_string();
            let op = names::operation(&receiver, &m.name)?;
            let by = rights.denied_whole(&op)?.to_string();
            Some((m.name.to_string(), m.param_types.to_vec(), op, by))
        },
        false,
    );
    for (name, types, op, by) in found {
        engine.register_raw_fn(
            name,
            types,
            move |_: NativeCallContext, args: &mut [&mut Dynamic]| -> RhaiResultOf<Dynamic> {
                let subject = args.get(1).and_then(|a| a.read_lock::<rhai::ImmutableString>().map(|s| s.to_string()));
                Err(throw(
                    Error::denied(format!("refused by --deny {by}")).op(&op).subject(subject.unwrap_or_default()),
                ))
            },
        );
    }
}

/// The engine without a run: enough to compile, check and document.
pub fn bare() -> Engine {
    let mut engine = Engine::new();
    // The optimizer replaces loop variables that share a constant's name by the constant.
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_max_expr_depths(256, 256).set_max_call_levels(256);
    engine.set_strict_variables(true).set_fail_on_invalid_map_property(true);
    engine.disable_symbol("eval");
    #[allow(deprecated)] // "volatile", not deprecated
    engine.on_parse_token(reserved_words_as_names);
    ceph::script::register(&mut engine);
    rbd::script::register(&mut engine);
    virsh::script::register(&mut engine);
    guestfs::script::register(&mut engine);
    helpers::register(&mut engine);
    engine
}

/// The variable of a session that holds the last value. To Rhai it is the default of a `switch`.
pub const LAST_VALUE: &str = "_";

thread_local! {
    static BEFORE: RefCell<Token> = const { RefCell::new(Token::EOF) };
    /// Where `_` is that variable in what this thread compiles.
    static LAST_VALUES: RefCell<Vec<Position>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f`, which compiles a text in which `_` is the last value at these places.
pub fn with_last_values<T>(places: Vec<Position>, f: impl FnOnce() -> T) -> T {
    LAST_VALUES.replace(places);
    let r = f();
    LAST_VALUES.take();
    r
}

/// `rbd.import` and `#{default: 1}` read as in the backends' own words: after a dot, and where a map's key stands,
/// a reserved word is a name.
fn reserved_words_as_names(token: Token, pos: Position, _: &rhai::TokenizeState) -> Token {
    if token == Token::Underscore && LAST_VALUES.with_borrow(|places| places.contains(&pos)) {
        BEFORE.replace(Token::Identifier(Box::default()));
        return Token::Identifier(Box::new(LAST_VALUE.into()));
    }
    let word = match &token {
        Token::Reserved(word) => Some(word.to_string()),
        Token::Import => Some("import".into()),
        Token::Export => Some("export".into()),
        _ => None,
    };
    let is_name = |w: &str| w.starts_with(|c: char| c.is_ascii_alphabetic());
    let token = BEFORE.with_borrow(|before| match word {
        Some(w) if is_name(&w) && matches!(before, Token::Period | Token::Elvis) => {
            Token::Identifier(Box::new(w.into()))
        }
        // Background work at the prompt; a script that calls it is told that there is no such function.
        Some(w) if w == "spawn" => Token::Identifier(Box::new(w.into())),
        Some(w) if w == "default" && matches!(before, Token::MapStart | Token::Comma) => {
            Token::Identifier(Box::new(w.into()))
        }
        _ => token,
    });
    BEFORE.replace(token.clone());
    token
}

/// What the names that are always there stand for in this run.
pub fn handles(host: &Arc<Host>) -> HashMap<&'static str, Dynamic> {
    let mut handles = helpers::handles(host);
    handles.insert("ceph", Dynamic::from(ceph::script::Ceph(host.clone())));
    handles.insert("rbd", Dynamic::from(rbd::script::Rbd(host.clone())));
    handles.insert("virsh", Dynamic::from(virsh::script::Virsh(Arc::new(virsh::script::At::here(host)))));
    handles.insert("guestfs", Dynamic::from(guestfs::script::Guestfs(host.clone())));
    handles
}

/// Finds, compiles and keeps the modules that scripts import.
struct Resolver {
    dirs: Vec<PathBuf>,
    loaded: Mutex<HashMap<String, Shared<Module>>>,
}

thread_local! {
    /// The modules that this thread is about to have, each imported by the one before.
    static LOADING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A module that imports itself, by whatever way, would be loaded without end.
struct Loading;

impl Loading {
    fn begin(name: &str) -> Result<Loading> {
        LOADING.with_borrow_mut(|all| {
            if let Some(at) = all.iter().position(|n| n == name) {
                let way = [&all[at..], &[name.to_string()]].concat().join(" → ");
                return Err(Error::invalid("the module imports itself").hint(way).usage());
            }
            all.push(name.to_string());
            Ok(Loading)
        })
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        LOADING.with_borrow_mut(|all| all.pop());
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        pos: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let beside = source.map(std::path::Path::new).filter(|p| p.is_file()).and_then(|p| p.parent());
        let found = match scripts::find_module(path, beside, &self.dirs) {
            Some(found) => found.map_err(throw)?,
            None => return Err(EvalAltResult::ErrorModuleNotFound(path.into(), pos).into()),
        };
        if let Some(module) = gate::lock(&self.loaded).get(&found.name) {
            return Ok(module.clone());
        }
        let in_module = |e| Box::new(EvalAltResult::ErrorInModule(found.name.clone(), e, pos));
        let _loading = Loading::begin(&found.name).map_err(|e| throw(e.op("import").subject(path)))?;
        let mut ast = engine.compile_with_scope(&names(), &found.text).map_err(|e| in_module(Box::new(e.into())))?;
        ast.set_source(found.name.clone());
        let module: Shared<Module> = Module::eval_ast_as_new(Scope::new(), &ast, engine).map_err(in_module)?.into();
        gate::lock(&self.loaded).insert(found.name, module.clone());
        Ok(module)
    }
}

/// Compiles a script; what is wrong with it is a usage error.
pub fn compile(engine: &Engine, source: &scripts::Source) -> Result<AST, Box<EvalAltResult>> {
    let mut ast = engine.compile_with_scope(&names(), &source.text).map_err(|e| Box::new(EvalAltResult::from(e)))?;
    ast.set_source(source.name.clone());
    Ok(ast)
}
