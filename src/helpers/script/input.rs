//! What the operator gives: arguments, inventory, names.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::error::Error;
    use crate::helpers::args::{Parsed, parse as parse_args};
    use crate::host::gate::lock;
    use crate::host::values::{Raise, RhaiResultOf, throw, to_value};
    use rhai::{Array, Dynamic, Map};

    /// The script's arguments.
    pub type Args = crate::helpers::script::Args;

    /// The list of planned VMs.
    pub type Inventory = crate::helpers::script::InventoryHandle;

    /// zs' rules for names.
    pub type Names = crate::helpers::script::Names;

    /// Reads the script's arguments by its own declaration, which is its help too.
    ///
    /// # Options
    /// - about: what the script does
    /// - positional: an array of `#{name, help, many, required, default, kind, choices}`
    /// - options: an array of `#{name, help, value, short, default, kind, choices, many}`; without `value` it is a flag
    /// - examples: text below the help
    ///
    /// `kind` is text (the default), int, size (bytes), time (seconds), vm (a name), vms (a range), address (`A` or `A/PREFIX`), ip, mac, path.
    /// # Returns
    /// A map with a value for each name, `-` as `_`; `()` for what was not given.
    /// # Errors
    /// Wrong arguments end the run with exit code 2.
    /// # Example
    /// ```rhai
    /// let a = args.parse(#{ about: "Shows a VM.", options: [#{ name: "all", help: "all of them" }] });
    /// a.all
    /// ```
    #[rhai_fn(name = "parse", pure, return_raw)]
    pub fn args_parse(args: &mut Args, spec: Map) -> RhaiResultOf<Map> {
        let host = &args.0;
        match parse_args(&host.script, &spec, &host.args, host.events.color).map_err(throw)? {
            Parsed::Values(values) => Ok(values),
            Parsed::Help(text) => {
                if host.events.json {
                    host.events.result(text.into());
                } else {
                    host.events.out(text.trim_end());
                }
                *lock(&host.finished) = true;
                Err(Box::new(rhai::EvalAltResult::ErrorTerminated(Dynamic::UNIT, rhai::Position::NONE)))
            }
        }
    }

    /// Loads a list of planned VMs.
    ///
    /// Takes what people keep: a header in English or Chinese, ragged rows, blanks after names, BOM, CRLF. Memory and
    /// disk without a unit are GiB.
    /// # Returns
    /// A map: `file`, `rows` (maps: `line`, `name`, `layer`, `ip`, `prefix`, `mac`, `vcpus`, `memory` and `disk` in
    /// bytes, `numa` (a map: `nodes`, `cpus`), `note`, `unreadable` (cells by field), `raw`), `findings` (duplicates and unreadable cells, a line each).
    /// # Errors
    /// `not_found`; `invalid` when it is not UTF-8 or not CSV.
    /// # Example
    /// ```rhai
    /// inventory.load("lab/hosts.csv").rows.filter(|r| r.layer == 1).map(|r| r.name)
    /// ```
    #[rhai_fn(name = "load", pure, return_raw)]
    pub fn inventory_load(inventory: &mut Inventory, file: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "inventory.load";
        let gate = &inventory.0.gate;
        let is_of_site = inventory.0.config.site.get("inventory").and_then(|v| v.as_str()) == Some(file);
        match is_of_site {
            true => gate.may_of_site("fs.read", file).raise(OP)?,
            false => gate.may("fs.read", file).raise(OP)?,
        }
        let bytes = std::fs::read(file).map_err(|e| throw(Error::from(e).op(OP).subject(file)))?;
        to_value(crate::helpers::inventory::parse(file, &bytes).raise(OP)?)
    }

    /// Expands ranges such as `z-{1..3}` and checks each name by zs' rule for VMs.
    /// # Errors
    /// `invalid`.
    /// # Example
    /// ```rhai
    /// names.expand("z-k8s-n-{1..3}")
    /// ```
    #[rhai_fn(name = "expand", pure, return_raw)]
    pub fn names_expand(_names: &mut Names, text: &str) -> RhaiResultOf<Array> {
        Ok(crate::helpers::names::expand(text).raise("names.expand")?.into_iter().map(Dynamic::from).collect())
    }

    /// Tells whether a name matches a glob such as `z-k8s-*`.
    /// # Errors
    /// `invalid` for a pattern that is none.
    /// # Example
    /// ```rhai
    /// names.matches("z-k8s-m-3", "z-k8s-*")
    /// ```
    #[rhai_fn(name = "matches", pure, return_raw)]
    pub fn names_matches(_names: &mut Names, name: &str, text: &str) -> RhaiResultOf<bool> {
        let glob = globset::Glob::new(text)
            .map_err(|e| throw(Error::invalid(e.to_string()).op("names.matches").subject(text)))?;
        Ok(glob.compile_matcher().is_match(name))
    }
}
