//! The file in which a domain's firmware keeps its settings.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

use crate::bindings::virsh::api::{FileId, Read};
use crate::bindings::virsh::definition::{self, Doc};
use crate::error::{Kind, Result};

/// A file that a domain names.
struct Used {
    domain: String,
    path: String,
    /// `None` where there is no such file yet.
    id: Option<FileId>,
}

impl Used {
    fn is(&self, id: &FileId) -> bool {
        self.id.as_ref().is_some_and(|own| (own.dev, own.ino) == (id.dev, id.ino))
    }
}

fn used(virsh: &dyn Read) -> Result<Vec<Used>> {
    let mut all = Vec::new();
    for d in virsh.list()? {
        for inactive in [true, false] {
            let xml = match virsh.dumpxml(&d.uuid, inactive, false) {
                // Gone since the list was made.
                Err(e) if e.kind == Kind::NotFound => continue,
                xml => xml?,
            };
            if let Some(path) = definition::nvram_path(&Doc::parse(&xml)?) {
                let id = virsh.host_file(&path)?;
                all.push(Used { domain: d.name.clone(), path, id });
            }
        }
    }
    Ok(all)
}

#[derive(serde::Serialize)]
struct Unused {
    path: String,
    size: u64,
    modified: String,
}

fn unused(virsh: &dyn Read) -> Result<Vec<Unused>> {
    let used = used(virsh)?;
    let own = format!("{}/", definition::NVRAM_DIR);
    // Where the hypervisor itself keeps them, and where its domains have them; elsewhere such a file may be a model.
    let mut dirs = vec![own.as_str()];
    dirs.extend(used.iter().filter_map(|u| u.path.rfind('/').map(|at| &u.path[..=at])));
    dirs.retain(|d| d.contains("nvram"));
    dirs.sort_unstable();
    dirs.dedup();
    let (mut all, mut seen) = (Vec::new(), Vec::new());
    for dir in dirs {
        for f in virsh.host_file_ls(dir.trim_end_matches('/'))? {
            let path = format!("{dir}{}", f.name);
            if !f.name.ends_with("_VARS.fd") && !f.name.starts_with(".zs-") {
                continue;
            }
            let Some(id) = virsh.host_file(&path)? else { continue };
            if !used.iter().any(|u| u.is(&id) || u.path == path) && !seen.contains(&(id.dev, id.ino)) {
                seen.push((id.dev, id.ino));
                all.push(Unused { path, size: f.size, modified: f.modified });
            }
        }
    }
    Ok(all)
}

#[rhai::plugin::export_module]
pub mod functions {
    use super::{unused, used};
    use crate::bindings::virsh::definition::{self, Doc};
    use crate::bindings::virsh::script::Virsh;
    use crate::error::Error;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, to_array};
    use rhai::{Array, Blob, Dynamic};

    /// Gives the NVRAM file of a domain by its XML, or `()` where the domain has none.
    ///
    /// With `<os firmware='efi'>` the XML of a stopped domain does not name the file that libvirt uses for it.
    /// # Errors
    /// `invalid` for XML that is none.
    /// # Example
    /// ```rhai
    /// virsh.nvram_path("<domain><name>a</name><os firmware='efi'/></domain>").ends_with("/a_VARS.fd")
    /// ```
    /// Implements: virDomainGetXMLDesc (virsh dumpxml)
    #[rhai_fn(name = "nvram_path", pure, return_raw)]
    pub fn nvram_path(_virsh: &mut Virsh, xml: &str) -> RhaiResultOf<Dynamic> {
        let path = definition::nvram_path(&Doc::parse(xml).raise("virsh.nvram_path")?);
        Ok(path.map_or(Dynamic::UNIT, Into::into))
    }

    /// Reads an NVRAM file of the hypervisor as a blob, at most 64 MiB.
    ///
    /// # Errors
    /// `not_found`; `unsupported` for a hypervisor that is another host.
    /// # Example
    /// ```rhai
    /// try { virsh.nvram_read("/no/such/file") } catch (e) { e.kind }
    /// ```
    /// Implements: read (cat, on the hypervisor)
    #[rhai_fn(name = "nvram_read", pure, return_raw)]
    pub fn nvram_read(virsh: &mut Virsh, path: &str) -> RhaiResultOf<Blob> {
        virsh.0.gate.may("virsh.nvram_read", path).raise("virsh.nvram_read")?;
        virsh.0.virsh().host_file_read(path).raise("virsh.nvram_read")
    }

    /// Writes a blob to an NVRAM file of the hypervisor that must not exist. libvirt gives it to qemu at the start.
    ///
    /// # Errors
    /// `exists`; `not_found` without its directory; `unsupported` for a hypervisor that is another host.
    /// # Example
    /// ```rhai
    /// virsh.nvram_write("/var/lib/libvirt/qemu/nvram/x_VARS.fd", blob(3, 0x41))
    /// ```
    /// Implements: link (install -m 600)
    #[rhai_fn(name = "nvram_write", pure, return_raw)]
    pub fn nvram_write(virsh: &mut Virsh, path: &str, value: Blob) -> RhaiResultOf<()> {
        const OP: &str = "virsh.nvram_write";
        let (dir, _) = path.rsplit_once('/').unwrap_or((".", path));
        // The first name is one that only this run can have: what lies there is its own, and goes with the operation.
        let first = format!("{dir}/.zs-{}", virsh.0.gate.unique());
        let temp = format!("{dir}/.zs-{}", virsh.0.gate.unique());
        let undo = |temp: &str, id| Undo::RemoveHostFile { path: path.into(), temp: temp.into(), id };
        let op = Op::change(OP, path).with("bytes", value.len());
        let written = virsh.0.change(op, undo(&first, None), |w, step| {
            let own = w.host_file_restore(&first, &value)?;
            let copied = w.host_file_copy(&first, &temp, path, &mut |id| step.learned(undo(&first, Some(id))));
            w.host_file_remove(&first, &own)?;
            Ok(((), undo(&first, Some(copied?))))
        });
        written.raise(OP)
    }

    /// Lists the NVRAM files of the hypervisor that no domain names, and temporary ones of zs.
    ///
    /// Files are told apart by what they are, not by their paths, of which one may have several.
    /// # Returns
    /// An array of maps: `path`, `size` (bytes), `modified`.
    /// # Errors
    /// `unsupported` for a hypervisor that is another host; `denied`.
    /// # Example
    /// ```rhai
    /// virsh.nvram_unused().map(|f| f.path)
    /// ```
    /// Implements: readdir (ls, on the hypervisor)
    #[rhai_fn(name = "nvram_unused", pure, return_raw)]
    pub fn nvram_unused(virsh: &mut Virsh) -> RhaiResultOf<Array> {
        to_array(unused(virsh.0.virsh()).raise("virsh.nvram_unused")?)
    }

    /// Removes an NVRAM file that no domain names.
    ///
    /// # Errors
    /// `busy` when a domain names it; `not_found`; `unsupported` for a hypervisor that is another host.
    /// # Example
    /// ```rhai
    /// try { virsh.nvram_remove("/no/such/file") } catch (e) { e.kind }
    /// ```
    /// Implements: unlink (rm, on the hypervisor)
    #[rhai_fn(name = "nvram_remove", pure, return_raw)]
    pub fn nvram_remove(virsh: &mut Virsh, path: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.nvram_remove";
        let about = |e: Error| e.subject(path);
        let at = virsh.0.clone();
        let id = at.virsh().host_file(path).raise(OP)?;
        let id = id.ok_or_else(|| about(Error::not_found("there is no such file"))).raise(OP)?;
        let free = || match used(at.virsh())?.into_iter().find(|u| u.is(&id)) {
            Some(u) => Err(about(Error::busy(format!("is the NVRAM file of domain {}", u.domain)))
                .hint("`virsh undefine --nvram` removes both")),
            None => Ok(()),
        };
        free().raise(OP)?;
        let content = at.virsh().host_file_read(path).raise(OP)?;
        let before = at.gate.keep("nvram.fd", &content).raise(OP)?;
        let undo = Undo::RestoreHostFile { path: path.into(), before };
        let removed = at.change(Op::destroy(OP, path), Undo::Nothing, |w, step| {
            free()?;
            step.effect(undo.clone(), || match w.host_file_remove(path, &id)? {
                true => Ok(()),
                false => Err(Error::not_found("is another file by now")),
            })?;
            Ok(((), undo))
        });
        removed.raise(OP)
    }
}
