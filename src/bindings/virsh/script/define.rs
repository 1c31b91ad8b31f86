//! Definitions of domains: making, changing and removing them.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::api::UndefineOpts;
    use crate::bindings::virsh::script::{
        Virsh, change, change_domain, keep_definition, keep_undefined, prepare_definition, without_passwords, xml_diff,
    };
    use crate::error::{Error, Kind};
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, size as size_of, throw, to_value};
    use rhai::{Dynamic, Map};

    #[rhai_fn(name = "define", pure, return_raw)]
    pub fn define(virsh: &mut Virsh, xml: &str) -> RhaiResultOf<Dynamic> {
        define_opts(virsh, xml, Map::new())
    }

    /// Defines a domain from XML, or gives an existing one of the same uuid a new definition.
    ///
    /// A definition without a uuid gets a random one before anything is done. The XML is held against libvirt's schema;
    /// where only that objects, it is a warning.
    /// # Options
    /// - validate: false leaves the schema out
    /// - like: the domain that a new one is made after: plans and the journal show how they differ
    /// # Returns
    /// The domain, as `virsh.dominfo`.
    /// # Errors
    /// `exists` when another domain has the name; `invalid`.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d1</name><memory>65536</memory><os><type>hvm</type></os></domain>").name
    /// ```
    /// Implements: virDomainDefineXMLFlags (virsh define --validate)
    #[rhai_fn(name = "define", pure, return_raw)]
    pub fn define_opts(virsh: &mut Virsh, xml: &str, options_: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.define";
        #[derive(serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            validate: bool,
            like: Option<String>,
        }
        impl Default for Options {
            fn default() -> Self {
                Options { validate: true, like: None }
            }
        }
        let o: Options = options(OP, options_)?;
        let (name, uuid, text) = prepare_definition(xml).raise(OP)?;
        let there = |secure| match virsh.0.virsh().dumpxml(&uuid, true, secure) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        let before = there(true).raise(OP)?;
        let undo = match &before {
            Some(before) => keep_definition(&virsh.0, &name, &uuid, before).raise(OP)?,
            None => Undo::Undefine { name: name.clone(), uuid: uuid.clone() },
        };
        let op = Op::change(OP, &name).with("uuid", &uuid);
        let model = match &o.like {
            Some(domain) if before.is_none() => Some(virsh.0.virsh().dumpxml(domain, true, true).raise(OP)?),
            _ => None,
        };
        let op = match (before.as_ref().or(model.as_ref()), o.like.as_deref()) {
            (Some(other), _) if other == &text => op,
            (Some(other), Some(like)) if before.is_none() => op.with("diff", xml_diff(other, &text, like, &name)),
            (Some(other), _) => op.with("diff", xml_diff(other, &text, "before", "after")),
            (None, _) => op.with("diff", xml_diff("", &text, "/dev/null", &name)),
        };
        let events = virsh.0.events.clone();
        let made = change(&virsh.0, op, undo, |w| {
            if let Ok(other) = w.virsh().dominfo(&name)
                && other.uuid != uuid
            {
                return Err(Error::exists(format!("there is a domain of this name, with uuid {}", other.uuid)));
            }
            match w.define(&text, o.validate) {
                // What a template carries and the schema does not know was taken before, and is taken again.
                Err(e) if o.validate && e.kind == Kind::Invalid => {
                    let made = w.define(&text, false)?;
                    events.log("warn", &format!("{name}: libvirt's schema objects: {}", e.message));
                    Ok(made)
                }
                other => other,
            }
        });
        to_value(made.raise(OP)?)
    }

    #[rhai_fn(name = "undefine", pure, return_raw)]
    pub fn undefine(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        undefine_opts(virsh, domain, Map::new())
    }

    /// Removes a domain's definition. Its disks stay.
    ///
    /// # Options
    /// - nvram: true removes the NVRAM file too; refused when another domain names the same file
    /// - keep_nvram: true leaves the NVRAM file where it is
    /// - managed_save: true removes a managed-save image too
    /// - snapshots_metadata: true removes libvirt's records of snapshots too
    /// - checkpoints_metadata: true removes libvirt's records of checkpoints too
    /// # Errors
    /// `busy` when it runs: undefining would leave a transient domain; `not_found`; `invalid` when it has NVRAM and
    /// neither `nvram` nor `keep_nvram` is given.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d2</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.undefine("d2")
    /// ```
    /// Implements: virDomainUndefineFlags (virsh undefine)
    #[rhai_fn(name = "undefine", pure, return_raw)]
    pub fn undefine_opts(virsh: &mut Virsh, domain: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "virsh.undefine";
        let o: UndefineOpts = options(OP, options_)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        if info.active() {
            let e = Error::busy(format!("is {}: undefining would leave a transient domain", info.state));
            return Err(throw(e.op(OP).subject(&info.name).hint(format!("virsh shutdown {}", info.name))));
        }
        let undo = keep_undefined(&virsh.0, &info, o.nvram).raise(OP)?;
        let op = Op::destroy(OP, &info.name).with("nvram", o.nvram.then_some(true));
        let undone = virsh.0.change(op, Undo::Nothing, |w, step| {
            // Another run may be faster: its domain is not to come back then.
            w.virsh().dominfo(&info.uuid)?;
            Ok((step.effect(undo.clone(), || w.undefine(&info.uuid, &o))?, undo))
        });
        undone.raise(OP)
    }

    #[rhai_fn(name = "autostart", pure, return_raw)]
    pub fn autostart_on(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        autostart(virsh, domain, true)
    }

    /// Switches the start with the host on, or off when `on` is false.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d9</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.autostart("d9")
    /// ```
    /// Implements: virDomainSetAutostart (virsh autostart)
    #[rhai_fn(name = "autostart", pure, return_raw)]
    pub fn autostart(virsh: &mut Virsh, domain: &str, on: bool) -> RhaiResultOf<()> {
        change_domain(
            &virsh.0,
            "virsh.autostart",
            domain,
            |op, d| {
                (op.with("on", on), Undo::Autostart { name: d.name.clone(), uuid: d.uuid.clone(), was: d.autostart })
            },
            |w, d| w.autostart(&d.uuid, on),
        )
    }

    /// Renames a domain that is off. Its NVRAM file keeps its name.
    ///
    /// # Errors
    /// `busy` when it runs; `exists`; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>e1</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.domrename("e1", "e2")
    /// ```
    /// Implements: virDomainRename (virsh domrename)
    #[rhai_fn(name = "domrename", pure, return_raw)]
    pub fn domrename(virsh: &mut Virsh, domain: &str, name: &str) -> RhaiResultOf<()> {
        change_domain(
            &virsh.0,
            "virsh.domrename",
            domain,
            |op, d| (op.with("to", name), Undo::Impossible { command: format!("virsh domrename {name} {}", d.name) }),
            |w, d| w.domrename(&d.uuid, name),
        )
    }

    /// Sets the number of virtual CPUs of the next start.
    ///
    /// # Errors
    /// `not_found`; `invalid` below 1.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>e3</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.setvcpus("e3", 1)
    /// ```
    /// Implements: virDomainSetVcpusFlags (virsh setvcpus --config --maximum)
    #[rhai_fn(name = "setvcpus", pure, return_raw)]
    pub fn setvcpus(virsh: &mut Virsh, domain: &str, count: i64) -> RhaiResultOf<()> {
        change_domain(
            &virsh.0,
            "virsh.setvcpus",
            domain,
            |op, d| {
                (
                    op.with("vcpus", count),
                    Undo::Impossible { command: format!("virsh setvcpus {} {} --config", d.name, d.cpus) },
                )
            },
            |w, d| {
                w.setvcpus(
                    &d.uuid,
                    u32::try_from(count).map_err(|_| Error::invalid(format!("{count} is no number of CPUs")))?,
                )
            },
        )
    }

    /// Sets the memory of the next start: bytes, or text such as "2G". virsh counts KiB.
    ///
    /// # Errors
    /// `invalid` below 1 MiB, which is a number of KiB; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>e4</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.setmem("e4", "128M")
    /// ```
    /// Implements: virDomainSetMemoryFlags (virsh setmaxmem, setmem --config)
    #[rhai_fn(name = "setmem", pure, return_raw)]
    pub fn setmem(virsh: &mut Virsh, domain: &str, size: Dynamic) -> RhaiResultOf<()> {
        const OP: &str = "virsh.setmem";
        let bytes = size_of(OP, &size)?;
        if bytes < 1 << 20 {
            let e = Error::invalid(format!("{bytes} bytes are less than 1 MiB")).op(OP).subject(domain);
            return Err(throw(e.hint("virsh counts KiB, zs bytes: write \"2G\"")));
        }
        change_domain(
            &virsh.0,
            OP,
            domain,
            |op, d| {
                let command = format!("virsh setmem {} {} --config", d.name, d.max_memory / 1024);
                (op.with("memory", bytes), Undo::Impossible { command })
            },
            |w, d| w.setmem(&d.uuid, bytes),
        )
    }

    /// Adds a device, in the definition and in the running domain.
    ///
    /// # Errors
    /// `not_found`; `invalid` for XML that is no device.
    /// # Example
    /// ```rhai
    /// try { virsh.attach_device("no-such-domain", "<rng model='virtio'/>") } catch (e) { e.kind }
    /// ```
    /// Implements: virDomainAttachDeviceFlags (virsh attach-device)
    #[rhai_fn(name = "attach_device", pure, return_raw)]
    pub fn attach_device(virsh: &mut Virsh, domain: &str, xml: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.attach_device";
        let before = virsh.0.virsh().dumpxml(domain, true, true).raise(OP)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let undo = keep_definition(&virsh.0, &info.name, &info.uuid, &before).raise(OP)?;
        let op = Op::change(OP, &info.name).with("device", without_passwords(xml));
        change(&virsh.0, op, undo, |w| w.attach_device(&info.uuid, xml)).raise(OP)
    }

    /// Takes a device away, in the definition and in the running domain.
    ///
    /// # Errors
    /// `not_found`; `invalid` for XML that is no device.
    /// # Example
    /// ```rhai
    /// try { virsh.detach_device("no-such-domain", "<rng model='virtio'/>") } catch (e) { e.kind }
    /// ```
    /// Implements: virDomainDetachDeviceFlags (virsh detach-device)
    #[rhai_fn(name = "detach_device", pure, return_raw)]
    pub fn detach_device(virsh: &mut Virsh, domain: &str, xml: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.detach_device";
        let before = virsh.0.virsh().dumpxml(domain, true, true).raise(OP)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let undo = keep_definition(&virsh.0, &info.name, &info.uuid, &before).raise(OP)?;
        let op = Op::change(OP, &info.name).with("device", without_passwords(xml));
        change(&virsh.0, op, undo, |w| w.detach_device(&info.uuid, xml)).raise(OP)
    }
}
