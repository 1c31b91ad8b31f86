//! The Rhai engine as scripts meet it: strict, with the four namespaces visible everywhere.

use super::scripts;
use super::values::throw;
use super::{Host, gate};
use crate::bindings::{NAMESPACES, ceph, guestfs, rbd, virsh};
use crate::error::{Error, Result};
use crate::helpers;
use rhai::Token;
use rhai::{AST, Dynamic, Engine, EvalAltResult, Module, ModuleResolver, OptimizationLevel, Position, Scope, Shared};
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
    let handles = handles(host);
    #[allow(deprecated)] // "volatile", not deprecated
    engine.on_var(move |name, index, ctx| {
        // Asked for each use of each variable. The compiler has found the place of most, and those are the script's own.
        if index > 0 {
            return Ok(None);
        }
        let ours = handles.get(name).filter(|_| !ctx.scope().contains(name));
        Ok(ours.cloned().map(Dynamic::into_read_only))
    });
    let cancel = host.cancel.clone();
    engine.on_progress(move |_| cancel.is_set().then(|| Dynamic::from(Error::interrupted())));
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

/// `rbd.import` and `#{default: 1}` read as in the backends' own words: after a dot, and where a map's key stands,
/// a reserved word is a name.
fn reserved_words_as_names(token: Token, _: Position, _: &rhai::TokenizeState) -> Token {
    thread_local! {
        static BEFORE: RefCell<Token> = const { RefCell::new(Token::EOF) };
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
        Some(w) if w == "default" && matches!(before, Token::MapStart | Token::Comma) => {
            Token::Identifier(Box::new(w.into()))
        }
        _ => token,
    });
    BEFORE.replace(token.clone());
    token
}

fn handles(host: &Arc<Host>) -> HashMap<&'static str, Dynamic> {
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
